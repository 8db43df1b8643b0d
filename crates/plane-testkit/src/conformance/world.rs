//! One server and one client, and how cases talk to them.

use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;
use plane_core::{
    Address, BoxFuture, ClientStats, EndpointId, Error, Handler, InstanceId, Registration, Request, RequestPlaneClient,
    RequestPlaneServer, Response, ServerStats, handler_fn,
};
use tokio::task::JoinHandle;

use super::plane::{Limits, Plane};

/// One server and one client of a plane of their own.
pub(super) struct World<P> {
    pub(super) plane: P,
    pub(super) limits: Limits,
    pub(super) server: Arc<dyn RequestPlaneServer>,
    pub(super) client: Arc<dyn RequestPlaneClient>,
    registrations: Vec<Registration>,
}

impl<P: Plane> World<P> {
    pub(super) async fn start() -> Self {
        Self::with(Limits::default()).await
    }

    pub(super) async fn with(limits: Limits) -> Self {
        let plane = P::new();
        let server = plane.serve(limits).await;
        let client = plane.client(limits);
        Self { plane, limits, server, client, registrations: Vec::new() }
    }

    /// Serves `demo.test.<name>` for as long as the world lasts.
    pub(super) async fn serve(&mut self, name: &str, handler: impl Handler) -> EndpointId {
        let registration = register(&*self.server, name, 1, handler).await;
        let endpoint = registration.instance().endpoint.clone();
        self.registrations.push(registration);
        endpoint
    }

    /// A call that owns all it needs.
    pub(super) fn call(&self, request: Request) -> BoxFuture<'static, Result<Response, Error>> {
        call(&self.client, self.server.address(), request)
    }

    /// A call in a task of its own.
    pub(super) fn spawn(&self, request: Request) -> JoinHandle<Result<Response, Error>> {
        tokio::spawn(self.call(request))
    }

    /// A call whose answer is read to its end in a task of its own.
    pub(super) fn spawn_read(&self, request: Request) -> JoinHandle<Ended> {
        tokio::spawn(read(self.call(request)))
    }

    /// The messages of an answer and how it ended.
    pub(super) async fn read(&self, request: Request) -> Ended {
        read(self.call(request)).await
    }

    /// The error of a call that must not succeed before its first message.
    pub(super) async fn error(&self, request: Request) -> Error {
        let Ended { messages, error, .. } = self.read(request).await;
        assert_eq!(messages.len(), 0, "the call must fail before its first message");
        error.expect("the call must fail")
    }

    /// A call to an `echo` endpoint still gets its own answer.
    pub(super) async fn still_answers(&self, echo: &EndpointId) {
        let nonce = super::payload::Nonce::fresh();
        let answer = self.read(Request::new(echo.clone(), nonce.message(0, 256))).await;
        answer.assert_complete(&nonce.messages(1, 256));
    }

    /// Waits until no call is in flight on either side, then tells what both counted.
    pub(super) async fn settle(&mut self) -> (ClientStats, ServerStats) {
        for registration in self.registrations.drain(..) {
            let report = registration.unregister(soon()).await;
            assert_eq!(report.aborted, 0, "a handler is still in flight");
        }
        until(|| self.client.stats().in_flight == 0 && self.server.stats().in_flight == 0).await;
        (self.client.stats(), self.server.stats())
    }
}

pub(super) fn endpoint(name: &str) -> EndpointId {
    EndpointId::new("demo", "test", name).expect("a valid name")
}

pub(super) fn instance(id: u64) -> InstanceId {
    InstanceId::new(id).expect("not zero")
}

/// Serves `demo.test.<name>` as this instance.
pub(super) async fn register(
    server: &dyn RequestPlaneServer,
    name: &str,
    id: u64,
    handler: impl Handler,
) -> Registration {
    server.register(endpoint(name), instance(id), Arc::new(handler)).await.expect("the name is free")
}

pub(super) fn call(
    client: &Arc<dyn RequestPlaneClient>,
    address: Address,
    request: Request,
) -> BoxFuture<'static, Result<Response, Error>> {
    let client = client.clone();
    Box::pin(async move { client.call(&address, request).await })
}

/// What was read of an answer, and how it ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) messages: Vec<Bytes>,
    pub(super) error: Option<Error>,
}

impl Ended {
    /// The answer has exactly these messages and an orderly end.
    pub(super) fn assert_complete(&self, expected: &[Bytes]) {
        self.assert_messages(expected);
        assert!(self.error.is_none(), "{:?}", self.error);
    }

    /// The answer has exactly these messages, whatever came after them.
    pub(super) fn assert_messages(&self, expected: &[Bytes]) {
        let lengths = |messages: &[Bytes]| messages.iter().map(Bytes::len).collect::<Vec<_>>();
        assert_eq!(lengths(&self.messages), lengths(expected), "{:?}", self.error);
        // Not assert_eq: a difference may be megabytes.
        assert!(self.messages == expected, "a message has other bytes than were sent");
    }
}

/// Reads an answer to its end. Whether an error comes before or after the answer has begun makes no difference here.
pub(super) async fn read(call: impl Future<Output = Result<Response, Error>>) -> Ended {
    match call.await {
        Ok(response) => read_on(response).await,
        Err(error) => Ended { messages: Vec::new(), error: Some(error) },
    }
}

/// Reads the rest of an answer.
pub(super) async fn read_on(mut response: Response) -> Ended {
    let mut messages = Vec::new();
    let error = loop {
        match response.next().await {
            None => break None,
            Some(Ok(message)) => messages.push(message),
            Some(Err(error)) => break Some(error),
        }
    };
    assert!(response.next().await.is_none(), "nothing comes after the end");
    Ended { messages, error }
}

/// Answers with what it was sent, headers included, message by message.
pub(super) fn echo() -> impl Handler {
    handler_fn(|request, _| async move { Ok(Response { headers: request.headers, body: request.body }) })
}

/// A deadline that is only reached by what hangs.
pub(super) fn soon() -> Instant {
    Instant::now() + Duration::from_secs(30)
}

/// Polls once, for a future whose first poll has an effect.
pub(super) async fn poll_once<T>(mut future: Pin<&mut impl Future<Output = T>>) -> Poll<T> {
    std::future::poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await
}

/// Waits for what a gauge shows: it has no event. The time limit of the case bounds it.
pub(super) async fn until(reached: impl Fn() -> bool) {
    while !reached() {
        tokio::task::yield_now().await;
    }
}
