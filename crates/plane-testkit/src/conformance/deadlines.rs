//! A deadline bounds the whole call; the time to be accepted bounds only the wait for the server.

use std::sync::Arc;
use std::time::{Duration, Instant};

use plane_core::{AbortReason, AdmissionLimits, Context, Delivery, ErrorKind, Request, Response, handler_fn};
use tokio::sync::Semaphore;

use super::payload::Nonce;
use super::plane::{Limits, Plane};
use super::probe::{Probe, Seen};
use super::world::{World, echo, read_on, until};

/// Long enough to get a call to its handler on a busy machine, short enough to wait for.
const SHORT: Duration = Duration::from_millis(250);

pub async fn an_expired_request_never_starts<P: Plane>() {
    let mut world = World::<P>::start().await;
    let mut probe = Probe::new();
    let hang = world.serve("hang", probe.hang()).await;
    let mut request = Request::new(hang, "go");
    request.deadline = Some(Instant::now());
    let error = world.error(request).await;
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
    assert!(error.delivery().is_retry_safe(), "{error:?}");
    let (client, server) = world.settle().await;
    assert_eq!((client.failed, server.started), (1, 0));
    probe.assert_quiet();
}

/// Case C6: a deadline is a deadline to both sides, not a cancellation.
pub async fn a_deadline_ends_the_call_and_its_handler<P: Plane>() {
    let mut world = World::<P>::start().await;
    let mut probe = Probe::new();
    let hang = world.serve("hang", probe.hang()).await;
    let began = Instant::now();
    let error = world.error(Request::new(hang, "go").with_timeout(SHORT)).await;
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
    assert!(!error.delivery().is_retry_safe(), "its handler ran: {error:?}");
    assert!(began.elapsed() >= SHORT);
    let reason = AbortReason::DeadlineExceeded;
    for seen in [Seen::Started, Seen::Aborted(reason), Seen::Dropped(Some(reason))] {
        assert_eq!(probe.seen().await, seen);
    }
}

pub async fn a_deadline_ends_a_stream<P: Plane>() {
    let mut world = World::<P>::start().await;
    let nonce = Nonce::fresh();
    let handler = handler_fn(move |_, context: Context| async move {
        let (sender, body) = plane_core::Body::channel(4);
        sender.send(nonce.message(0, 64)).await?;
        // The task outlives the handler's future, as an engine does; only the context tells it to stop.
        tokio::spawn(async move {
            context.aborted().await;
            drop(sender);
        });
        Ok(Response::new(body))
    });
    let stalls = world.serve("stalls", handler).await;
    let response = world.call(Request::new(stalls, "go").with_timeout(SHORT)).await.unwrap();
    let ended = read_on(response).await;
    ended.assert_messages(&nonce.messages(1, 64));
    assert_eq!(ended.error.unwrap().kind(), ErrorKind::DeadlineExceeded);
}

pub async fn the_remaining_time_travels<P: Plane>() {
    let mut world = World::<P>::start().await;
    let handler = handler_fn(|_, context: Context| async move {
        let remaining = context.remaining().map(|remaining| remaining.as_millis().to_string());
        Ok(Response::new(remaining.unwrap_or_else(|| "none".to_owned())))
    });
    let tells = world.serve("tells", handler).await;
    let timed = Request::new(tells.clone(), "go").with_timeout(Duration::from_secs(60));
    let told = world.call(timed).await.unwrap().message().await.unwrap();
    let millis: u64 = std::str::from_utf8(&told).unwrap().parse().unwrap();
    assert!((30_000..=60_000).contains(&millis), "{millis} ms");
    let told = world.call(Request::new(tells, "go")).await.unwrap().message().await.unwrap();
    assert_eq!(told, "none");
}

fn one_at_a_time() -> Limits {
    Limits { admission: AdmissionLimits { running: 1, queued: 8 }, request_timeout: SHORT, ..Limits::default() }
}

/// Case C6: a deadline that passes in the queue never starts the handler.
pub async fn a_deadline_in_the_queue_never_starts_the_handler<P: Plane>() {
    let mut world = World::<P>::with(Limits { request_timeout: Duration::from_secs(30), ..one_at_a_time() }).await;
    let (mut probe, gate) = (Probe::new(), Arc::new(Semaphore::new(0)));
    let gated = world.serve("gated", probe.gated(&gate)).await;
    let first = world.spawn_read(Request::new(gated.clone(), "first"));
    assert_eq!(probe.seen().await, Seen::Started);
    let error = world.error(Request::new(gated.clone(), "late").with_timeout(SHORT)).await;
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
    until(|| world.server.stats().queued == 0).await;
    gate.add_permits(8);
    first.await.unwrap().assert_complete(&["first".into()]);
    assert_eq!(probe.seen().await, Seen::Dropped(None));
    let (_, server) = world.settle().await;
    assert_eq!((server.completed, server.in_flight), (1, 0));
    probe.assert_quiet();
}

pub async fn the_wait_to_be_accepted_is_bounded<P: Plane>() {
    let mut world = World::<P>::with(one_at_a_time()).await;
    let (mut probe, gate) = (Probe::new(), Arc::new(Semaphore::new(0)));
    let gated = world.serve("gated", probe.gated(&gate)).await;
    let first = world.spawn_read(Request::new(gated.clone(), "first"));
    assert_eq!(probe.seen().await, Seen::Started);
    let error = world.error(Request::new(gated.clone(), "never accepted")).await;
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
    assert_ne!(error.delivery(), Delivery::Executed);
    until(|| world.server.stats().queued == 0).await;
    gate.add_permits(8);
    first.await.unwrap().assert_complete(&["first".into()]);
    assert_eq!(probe.seen().await, Seen::Dropped(None));
    probe.assert_quiet();
}

/// A handler that was accepted may take far longer than the time to be accepted.
pub async fn an_accepted_call_may_take_longer<P: Plane>() {
    let mut world = World::<P>::with(one_at_a_time()).await;
    let handler = handler_fn(|request: Request, _| async move {
        // The work itself; nothing waits for it by the clock.
        tokio::time::sleep(SHORT * 3).await;
        Ok(Response::new(request.body))
    });
    let slow = world.serve("slow", handler).await;
    world.read(Request::new(slow, "patience")).await.assert_complete(&["patience".into()]);
}

pub async fn a_deadline_leaves_neighbours_alone<P: Plane>() {
    let mut world = World::<P>::start().await;
    let (mut probe, gate) = (Probe::new(), Arc::new(Semaphore::new(0)));
    let echo = world.serve("echo", echo()).await;
    let gated = world.serve("gated", probe.gated(&gate)).await;
    let hang = world.serve("hang", Probe::new().hang()).await;
    let neighbour = world.spawn_read(Request::new(gated, "neighbour"));
    assert_eq!(probe.seen().await, Seen::Started);
    assert_eq!(world.error(Request::new(hang, "go").with_timeout(SHORT)).await.kind(), ErrorKind::DeadlineExceeded);
    gate.add_permits(1);
    neighbour.await.unwrap().assert_complete(&["neighbour".into()]);
    world.still_answers(&echo).await;
}
