//! What the serving side answers.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll, ready};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures_util::{Stream, StreamExt, stream};
use pin_project_lite::pin_project;
use plane_core::{
    Body, Context, EndpointId, Error, Handler, InstanceId, InvalidName, Registration, Request, RequestPlaneServer,
    Response, Status, handler_fn,
};

/// Answers with the message that it was sent.
pub const ECHO: &str = "bench.load.echo";
/// Answers with items that are there at once.
pub const READY: &str = "bench.load.ready";
/// Answers with items, yielding before each.
pub const PACED: &str = "bench.load.paced";

/// The request of a stream: how many items of how many bytes.
pub(crate) fn stream_request(items: u32, bytes: u32) -> Bytes {
    let mut request = BytesMut::with_capacity(8);
    request.put_u32(items);
    request.put_u32(bytes);
    request.freeze()
}

/// The largest stream that is answered, in bytes; a request is not trusted with more.
const LARGEST: u64 = 1 << 30;

async fn items_of(request: Request) -> Result<(u32, Bytes), Status> {
    items_asked(request.body.message().await.map_err(Status::from)?)
}

/// How many items of what are asked for.
///
/// # Errors
/// `INVALID_ARGUMENT` if the message is not two numbers, `RESOURCE_EXHAUSTED` beyond a gigabyte.
pub fn items_asked(mut message: Bytes) -> Result<(u32, Bytes), Status> {
    if message.len() != 8 {
        return Err(Status::invalid_argument("expected two numbers of four bytes: items, and bytes of each"));
    }
    let (items, bytes) = (message.get_u32(), message.get_u32());
    if u64::from(items) * u64::from(bytes) > LARGEST {
        return Err(Status::resource_exhausted(format!("a stream is at most {LARGEST} bytes")));
    }
    // Every item is a slice of one buffer: what is measured is the plane, not the allocator.
    Ok((items, vec![b'x'; bytes as usize].into()))
}

/// So many of these items, with a yield before each.
pub fn paced_items(items: u32, item: Bytes) -> impl Stream<Item = Bytes> + Send {
    Paced { left: items, item, give_way: tokio::task::yield_now, turn: None }
}

pin_project! {
    /// By hand, because adapters of streams would be a part of what is measured.
    struct Paced<F, T> {
        left: u32,
        item: Bytes,
        give_way: F,
        #[pin]
        turn: Option<T>,
    }
}

impl<F: FnMut() -> T, T: Future<Output = ()>> Stream for Paced<F, T> {
    type Item = Bytes;

    fn poll_next(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Option<Bytes>> {
        let mut this = self.project();
        if *this.left == 0 {
            return Poll::Ready(None);
        }
        if this.turn.is_none() {
            this.turn.set(Some((this.give_way)()));
        }
        if let Some(turn) = this.turn.as_mut().as_pin_mut() {
            ready!(turn.poll(cx));
        }
        this.turn.set(None);
        *this.left -= 1;
        Poll::Ready(Some(this.item.clone()))
    }
}

fn echo() -> impl Handler {
    handler_fn(|request: Request, _: Context| async move { Ok(Response::new(request.body)) })
}

fn ready() -> impl Handler {
    handler_fn(|request: Request, _: Context| async move {
        let (items, item) = items_of(request).await?;
        Ok(Response::new(Body::stream(stream::iter((0..items).map(move |_| Ok::<_, Error>(item.clone()))))))
    })
}

fn paced() -> impl Handler {
    handler_fn(|request: Request, _: Context| async move {
        let (items, item) = items_of(request).await?;
        Ok(Response::new(Body::stream(paced_items(items, item).map(Ok::<_, Error>))))
    })
}

/// The handlers of a server; unregistered when dropped.
#[derive(Debug)]
pub struct Served {
    _registrations: Vec<Registration>,
}

/// Registers every handler of the load run.
///
/// # Errors
/// What [`RequestPlaneServer::register`] says.
///
/// # Panics
/// Never: the names are constants that a test looks at.
pub async fn serve_all(server: &dyn RequestPlaneServer) -> Result<Served, Error> {
    let handlers: [(&str, Arc<dyn Handler>); 3] =
        [(ECHO, Arc::new(echo())), (READY, Arc::new(ready())), (PACED, Arc::new(paced()))];
    let mut registrations = Vec::new();
    for (name, handler) in handlers {
        let instance = InstanceId::new(1).expect("one is not zero");
        let endpoint = endpoint(name).expect("a valid constant");
        registrations.push(server.register(endpoint, instance, handler).await?);
    }
    Ok(Served { _registrations: registrations })
}

/// An endpoint of the load run.
pub(crate) fn endpoint(name: &str) -> Result<EndpointId, InvalidName> {
    name.parse()
}
