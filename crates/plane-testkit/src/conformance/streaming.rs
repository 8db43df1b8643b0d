//! Requests that stream: client streaming and bidirectional calls.

use bytes::Bytes;
use plane_core::{Body, Delivery, Error, ErrorKind, Handler, Request, Response, Status, handler_fn};
use tokio::sync::mpsc;

use super::payload::Nonce;
use super::plane::Plane;
use super::world::{World, echo, read_on};

/// Answers with the number of messages and bytes that it was sent.
fn counts() -> impl Handler {
    handler_fn(|mut request: Request, _| async move {
        let (mut messages, mut bytes) = (0, 0);
        while let Some(message) = request.body.next().await {
            messages += 1;
            bytes += message?.len();
        }
        Ok(Response::new(format!("{messages} {bytes}")))
    })
}

pub async fn a_streamed_request_arrives_whole<P: Plane>() {
    let mut world = World::<P>::start().await;
    let counts = world.serve("counts", counts()).await;
    for (messages, size) in [(0, 0), (1, 10), (1_000, 100), (40, 100_000)] {
        let response = world.call(Request::new(counts.clone(), Nonce::fresh().stream(messages, size))).await.unwrap();
        assert_eq!(response.message().await.unwrap(), format!("{messages} {}", messages * size as u64));
    }
}

/// Neither side knows the next message before the other's has come.
pub async fn both_directions_take_turns<P: Plane>() {
    let mut world = World::<P>::start().await;
    let echo = world.serve("echo", echo()).await;
    let nonce = Nonce::fresh();
    let (sender, body) = Body::channel(1);
    sender.send(nonce.message(0, 64)).await.unwrap();
    let mut response = world.call(Request::new(echo, body)).await.unwrap();
    for index in 0..200 {
        assert_eq!(response.next().await.unwrap().unwrap(), nonce.message(index, 64));
        sender.send(nonce.message(index + 1, 64)).await.unwrap();
    }
    assert_eq!(response.next().await.unwrap().unwrap(), nonce.message(200, 64));
    sender.finish().await.unwrap();
    assert!(response.next().await.is_none());
}

/// The answer goes on after the request has ended.
pub async fn an_answer_outlives_its_request<P: Plane>() {
    let mut world = World::<P>::start().await;
    let nonce = Nonce::fresh();
    let handler = handler_fn(move |mut request: Request, _| async move {
        let mut messages: Vec<Bytes> = Vec::new();
        while let Some(message) = request.body.next().await {
            messages.push(message?);
        }
        let twice = messages.clone().into_iter().chain(messages).map(Ok::<_, Status>);
        Ok(Response::new(Body::stream(futures_util::stream::iter(twice))))
    });
    let twice = world.serve("twice", handler).await;
    let expected = [nonce.messages(50, 64), nonce.messages(50, 64)].concat();
    world.read(Request::new(twice, nonce.stream(50, 64))).await.assert_complete(&expected);
}

/// The answer ends while the caller still has messages: the call is complete.
pub async fn an_answer_may_end_before_its_request<P: Plane>() {
    let mut world = World::<P>::start().await;
    let handler = handler_fn(|mut request: Request, _| async move {
        let first = request.body.next().await.ok_or_else(|| Status::invalid_argument("no message"))??;
        Ok(Response::new(first))
    });
    let first = world.serve("first", handler).await;
    let (sender, body) = Body::channel(1);
    sender.send("first").await.unwrap();
    let response = world.call(Request::new(first, body)).await.unwrap();
    assert_eq!(response.message().await.unwrap(), "first");
    // Whoever produces the rest is told.
    sender.closed().await;
    let (client, server) = world.settle().await;
    assert_eq!((client.completed, server.completed), (1, 1));
}

/// A caller whose own stream breaks gets that error; its handler never takes the rest for an end.
pub async fn a_request_that_breaks_off_is_never_an_end<P: Plane>() {
    let mut world = World::<P>::start().await;
    let (told, mut heard) = mpsc::channel(4);
    let handler = handler_fn(move |mut request: Request, _| {
        let told = told.clone();
        async move {
            while let Some(message) = request.body.next().await {
                // A handler may be aborted before it reads the error; an end it must never read.
                message?;
            }
            // The test fails on hearing this, and a full channel has heard it.
            let _ = told.try_send("end");
            Ok(Response::new("end"))
        }
    });
    let reads = world.serve("reads", handler).await;
    let (sender, body) = Body::channel(4);
    sender.send("first").await.unwrap();
    drop(sender);
    let error = world.error(Request::new(reads, body)).await;
    assert_eq!(error.kind(), ErrorKind::Truncated);
    assert!(!error.delivery().is_retry_safe(), "{error:?}");
    let (client, server) = world.settle().await;
    assert_eq!((client.failed, server.completed, server.in_flight), (1, 0, 0));
    assert!(heard.try_recv().is_err());
}

/// What a caller's stream fails with is what its caller sees.
pub async fn a_request_stream_fails_its_call<P: Plane>() {
    let mut world = World::<P>::start().await;
    let counts = world.serve("counts", counts()).await;
    let messages = [
        Ok(Bytes::from("first")),
        Err(Error::new(ErrorKind::Codec, Delivery::NotSent, "cannot encode the second message")),
    ];
    let error = world.error(Request::new(counts, Body::stream(futures_util::stream::iter(messages)))).await;
    assert_eq!(error.kind(), ErrorKind::Codec);
    assert!(!error.delivery().is_retry_safe(), "{error:?}");
}

/// A middle hop passes both bodies on as they are.
pub async fn bodies_pass_through_a_hop<P: Plane>() {
    let mut world = World::<P>::start().await;
    let leaf = world.serve("leaf", echo()).await;
    let (client, address) = (world.client.clone(), world.server.address());
    let middle = handler_fn(move |request: Request, _| {
        let onward = super::world::call(&client, address.clone(), Request::new(leaf.clone(), request.body));
        async move { Ok(onward.await?) }
    });
    let middle = world.serve("middle", middle).await;
    let nonce = Nonce::fresh();
    let response = world.call(Request::new(middle, nonce.stream(300, 1_000))).await.unwrap();
    read_on(response).await.assert_complete(&nonce.messages(300, 1_000));
}
