//! Sizes at the limits and one over, and how many calls a server takes on.

use std::sync::Arc;

use plane_core::{AdmissionLimits, Body, Delivery, ErrorKind, Request, Response, Status, handler_fn};
use tokio::sync::Semaphore;

use super::payload::Nonce;
use super::plane::{Limits, Plane};
use super::probe::{Probe, Seen};
use super::world::{World, echo, until};

const LIMIT: usize = 100_000;

fn small() -> Limits {
    Limits { max_message: LIMIT, window: 65_536, ..Limits::default() }
}

/// Case A2.
pub async fn a_message_at_the_limit_passes<P: Plane>() {
    let mut world = World::<P>::with(small()).await;
    let echo = world.serve("echo", echo()).await;
    let nonce = Nonce::fresh();
    let answer = world.read(Request::new(echo, nonce.message(0, LIMIT))).await;
    answer.assert_complete(&nonce.messages(1, LIMIT));
}

/// Case A2: refused before a byte is sent, naming the limit.
pub async fn a_request_over_the_limit_is_not_sent<P: Plane>() {
    let mut world = World::<P>::with(small()).await;
    let echo = world.serve("echo", echo()).await;
    let error = world.error(Request::new(echo.clone(), Nonce::fresh().message(0, LIMIT + 1))).await;
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::MessageTooLarge, Delivery::NotSent));
    assert!(error.message().contains("100000"), "{error}");
    world.still_answers(&echo).await;
}

pub async fn an_answer_over_the_limit_is_a_typed_error<P: Plane>() {
    let mut world = World::<P>::with(small()).await;
    let echo = world.serve("echo", echo()).await;
    let nonce = Nonce::fresh();
    let handler = handler_fn(move |_, _| async move { Ok(Response::new(nonce.message(0, LIMIT + 1))) });
    let large = world.serve("large", handler).await;
    let error = world.error(Request::new(large, "go")).await;
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::MessageTooLarge, Delivery::Executed));
    assert!(error.message().contains("100000"), "{error}");
    world.still_answers(&echo).await;
}

pub async fn a_stream_ends_at_a_message_over_the_limit<P: Plane>() {
    let mut world = World::<P>::with(small()).await;
    let nonce = Nonce::fresh();
    let handler = handler_fn(move |_, _| async move {
        let sizes = [LIMIT, 10, LIMIT + 1, 10].into_iter().enumerate();
        let messages = sizes.map(move |(index, size)| Ok::<_, Status>(nonce.message(index as u64, size)));
        Ok(Response::new(Body::stream(futures_util::stream::iter(messages))))
    });
    let mixed = world.serve("mixed", handler).await;
    let ended = world.read(Request::new(mixed, "go")).await;
    ended.assert_messages(&[nonce.message(0, LIMIT), nonce.message(1, 10)]);
    assert_eq!(ended.error.unwrap().kind(), ErrorKind::MessageTooLarge);
}

pub async fn a_request_stream_ends_at_a_message_over_the_limit<P: Plane>() {
    let mut world = World::<P>::with(small()).await;
    let echo = world.serve("echo", echo()).await;
    let nonce = Nonce::fresh();
    let sizes = [10, LIMIT + 1].into_iter().enumerate();
    let messages = sizes.map(move |(index, size)| Ok::<_, Status>(nonce.message(index as u64, size)));
    let request = Request::new(echo.clone(), Body::stream(futures_util::stream::iter(messages)));
    let error = world.read(request).await.error.unwrap();
    assert_eq!(error.kind(), ErrorKind::MessageTooLarge);
    assert!(!error.delivery().is_retry_safe(), "the first message was sent: {error:?}");
    world.still_answers(&echo).await;
}

/// Case A20: sizes around the window flow both ways.
pub async fn sizes_around_the_window_flow<P: Plane>() {
    let window = 65_536;
    let mut world = World::<P>::with(Limits { window: 65_536, ..Limits::default() }).await;
    let echo = world.serve("echo", echo()).await;
    for size in [0, 1, window - 1, window, window + 1, 2 * window + 1] {
        let nonce = Nonce::fresh();
        let one = world.read(Request::new(echo.clone(), nonce.message(0, size))).await;
        one.assert_complete(&nonce.messages(1, size));
        let several = world.read(Request::new(echo.clone(), nonce.stream(5, size))).await;
        several.assert_complete(&nonce.messages(5, size));
    }
}

pub async fn a_large_message_arrives_whole<P: Plane>() {
    let mut world = World::<P>::start().await;
    let echo = world.serve("echo", echo()).await;
    let nonce = Nonce::fresh();
    let size = 32 * 1024 * 1024;
    let answer = world.read(Request::new(echo, nonce.message(0, size))).await;
    answer.assert_complete(&nonce.messages(1, size));
}

/// Case A15: N running and Q queued; call N+Q+1 is refused, the others are answered.
pub async fn a_full_server_refuses_and_recovers<P: Plane>() {
    let admission = AdmissionLimits { running: 2, queued: 1 };
    let mut world = World::<P>::with(Limits { admission, ..Limits::default() }).await;
    let (mut probe, gate) = (Probe::new(), Arc::new(Semaphore::new(0)));
    let gated = world.serve("gated", probe.gated(&gate)).await;
    let nonce = Nonce::fresh();
    let mut taken = Vec::new();
    for index in 0..2 {
        taken.push(world.spawn_read(Request::new(gated.clone(), nonce.message(index, 64))));
        assert_eq!(probe.seen().await, Seen::Started);
    }
    taken.push(world.spawn_read(Request::new(gated.clone(), nonce.message(2, 64))));
    until(|| world.server.stats().queued == 1).await;

    let error = world.error(Request::new(gated.clone(), "one too many")).await;
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::ResourceExhausted, Delivery::NotExecuted));
    assert!(error.retry_after().is_some());

    gate.add_permits(4);
    for (index, call) in taken.into_iter().enumerate() {
        call.await.unwrap().assert_complete(&[nonce.message(index as u64, 64)]);
    }
    world.still_answers(&gated).await;
    let (_, server) = world.settle().await;
    assert_eq!((server.started, server.completed, server.refused, server.queued), (4, 4, 1, 0));
}

/// Case A10: more callers than the connections and their queues hold.
pub async fn fifty_callers_share_one_connection<P: Plane>() {
    let mut world = World::<P>::with(Limits { connections: 1, queue: 1, ..Limits::default() }).await;
    let echo = world.serve("echo", echo()).await;
    let mut calls = Vec::new();
    for _ in 0..50 {
        let nonce = Nonce::fresh();
        calls.push((nonce, world.spawn_read(Request::new(echo.clone(), nonce.message(0, 1_000)))));
    }
    for (nonce, call) in calls {
        call.await.unwrap().assert_complete(&nonce.messages(1, 1_000));
    }
}
