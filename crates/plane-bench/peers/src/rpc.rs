//! tarpc: unary calls on one connection, with its own TCP transport and bincode. It has no streams.

use std::net::SocketAddr;
use std::time::Instant;

use anyhow::Result;
use bytes::Bytes;
use futures_util::StreamExt;
use plane_bench::{Caller, DriveError, Ended, Exchange, Shape, Way};
use tarpc::client;
use tarpc::context::Context;
use tarpc::server::{BaseChannel, Channel};
use tarpc::tokio_serde::formats::Bincode;

/// The largest frame, as large as the plane's largest message.
const MAX_FRAME: usize = 32 << 20;

#[tarpc::service]
pub(crate) trait Echo {
    async fn echo(message: Bytes) -> Bytes;
}

#[derive(Debug, Clone)]
struct Server;

impl Echo for Server {
    async fn echo(self, _: Context, message: Bytes) -> Bytes {
        message
    }
}

/// Where it listens, and what serves for ever.
pub(crate) async fn serve(at: SocketAddr) -> Result<(SocketAddr, impl Future<Output = Result<()>>)> {
    let mut incoming = tarpc::serde_transport::tcp::listen(at, Bincode::default).await?;
    incoming.config_mut().max_frame_length(MAX_FRAME);
    let address = incoming.local_addr();
    Ok((address, async move {
        while let Some(transport) = incoming.next().await {
            let transport = transport?;
            transport.get_ref().set_nodelay(true)?;
            let calls = BaseChannel::with_defaults(transport).execute(Server.serve());
            // One task for each call, as its documentation has it.
            tokio::spawn(calls.for_each(|call| async move { drop(tokio::spawn(call)) }));
        }
        Ok(())
    }))
}

pub(crate) async fn connect(address: SocketAddr) -> Result<EchoClient> {
    let mut connect = tarpc::serde_transport::tcp::connect(address, Bincode::default);
    connect.config_mut().max_frame_length(MAX_FRAME);
    let transport = connect.await?;
    transport.get_ref().set_nodelay(true)?;
    Ok(EchoClient::new(client::Config::default(), transport).spawn())
}

/// Unary calls.
#[derive(Debug)]
pub(crate) struct TarpcCaller {
    client: EchoClient,
    exchange: Exchange,
}

impl TarpcCaller {
    pub(crate) fn new(client: EchoClient, shape: Shape) -> Self {
        Self { client, exchange: Exchange::new(shape) }
    }
}

impl Caller for TarpcCaller {
    const WAY: Way = Way::Bare;

    async fn call(&self, began: Instant) -> Result<Ended, DriveError> {
        let mut seen = self.exchange.begin(began);
        let answered = self.client.echo(tarpc::context::current(), self.exchange.message().clone()).await;
        seen.item(answered.map_err(|error| DriveError::Bare(error.into()))?.len());
        seen.end()
    }
}
