//! tonic: gRPC over HTTP/2 on one connection. Messages are plain bytes, so that no other encoding is in the numbers.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use anyhow::Result;
use bytes::{Buf, BufMut, Bytes};
use futures_util::{Stream, StreamExt, stream};
use http::uri::PathAndQuery;
use plane_bench::{Caller, DriveError, Ended, Exchange, Pace, Shape, Way, items_asked, paced_items};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::body::Body;
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::server::{self, NamedService, ServerStreamingService, UnaryService};
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Request, Response, Status};

const ECHO: &str = "/bench.Load/echo";
const READY: &str = "/bench.Load/ready";
const PACED: &str = "/bench.Load/paced";

/// The largest message, as that of the plane.
const MAX_MESSAGE: usize = 32 << 20;

#[derive(Debug, Clone, Copy, Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

type Future<T> = Pin<Box<dyn std::future::Future<Output = T> + Send>>;
type Items = Pin<Box<dyn Stream<Item = Result<Bytes, Status>> + Send>>;

#[derive(Debug, Clone)]
struct Load;

impl NamedService for Load {
    const NAME: &'static str = "bench.Load";
}

impl UnaryService<Bytes> for Load {
    type Response = Bytes;
    type Future = Future<Result<Response<Bytes>, Status>>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        Box::pin(async move { Ok(Response::new(request.into_inner())) })
    }
}

#[derive(Debug, Clone, Copy)]
struct Streams(Pace);

impl ServerStreamingService<Bytes> for Streams {
    type Response = Bytes;
    type ResponseStream = Items;
    type Future = Future<Result<Response<Items>, Status>>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        let pace = self.0;
        Box::pin(async move {
            let asked = items_asked(request.into_inner());
            let (items, item) = asked.map_err(|status| Status::invalid_argument(status.to_string()))?;
            let items: Items = match pace {
                Pace::Ready => Box::pin(stream::iter((0..items).map(move |_| Ok(item.clone())))),
                Pace::Yielding => Box::pin(paced_items(items, item).map(Ok)),
            };
            Ok(Response::new(items))
        })
    }
}

impl tower_service::Service<http::Request<Body>> for Load {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Future<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let mut grpc = server::Grpc::new(Raw).max_decoding_message_size(MAX_MESSAGE);
        Box::pin(async move {
            Ok(match request.uri().path() {
                ECHO => grpc.unary(Self, request).await,
                READY => grpc.server_streaming(Streams(Pace::Ready), request).await,
                PACED => grpc.server_streaming(Streams(Pace::Yielding), request).await,
                other => Status::unimplemented(format!("nothing is at {other}")).into_http(),
            })
        })
    }
}

/// Serves for ever.
pub(crate) async fn serve(listener: TcpListener) -> Result<()> {
    let incoming = TcpListenerStream::new(listener);
    Server::builder().tcp_nodelay(true).add_service(Load).serve_with_incoming(incoming).await?;
    Ok(())
}

pub(crate) async fn connect(address: SocketAddr) -> Result<Channel> {
    Ok(Endpoint::from_shared(format!("http://{address}"))?.tcp_nodelay(true).connect().await?)
}

/// Calls of one shape.
#[derive(Debug)]
pub(crate) struct TonicCaller {
    channel: Channel,
    exchange: Exchange,
    path: PathAndQuery,
    streams: bool,
}

impl TonicCaller {
    pub(crate) fn new(channel: Channel, shape: Shape) -> Self {
        let (path, streams) = match shape {
            Shape::Unary { .. } => (ECHO, false),
            Shape::Stream { pace: Pace::Ready, .. } => (READY, true),
            Shape::Stream { pace: Pace::Yielding, .. } => (PACED, true),
        };
        Self { channel, exchange: Exchange::new(shape), path: PathAndQuery::from_static(path), streams }
    }
}

impl Caller for TonicCaller {
    const WAY: Way = Way::Bare;

    async fn call(&self, began: Instant) -> Result<Ended, DriveError> {
        let failed = |error: Box<dyn std::error::Error + Send + Sync>| DriveError::Bare(error);
        let mut seen = self.exchange.begin(began);
        let mut grpc = Grpc::new(self.channel.clone()).max_decoding_message_size(MAX_MESSAGE);
        grpc.ready().await.map_err(|error| failed(error.into()))?;
        let request = Request::new(self.exchange.message().clone());
        if self.streams {
            let answer = grpc.server_streaming(request, self.path.clone(), Raw).await;
            let mut items = answer.map_err(|status| failed(status.into()))?.into_inner();
            while let Some(item) = items.message().await.map_err(|status| failed(status.into()))? {
                seen.item(item.len());
            }
        } else {
            let answer = grpc.unary(request, self.path.clone(), Raw).await;
            seen.item(answer.map_err(|status| failed(status.into()))?.into_inner().len());
        }
        seen.end()
    }
}
