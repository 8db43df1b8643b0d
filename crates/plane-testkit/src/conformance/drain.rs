//! Ending in order: in-flight calls finish, new ones are refused as safe to send elsewhere.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use plane_core::{AbortReason, Delivery, DrainReport, ErrorKind, Health, Request, handler_fn};
use tokio::sync::Semaphore;

use super::payload::Nonce;
use super::plane::Plane;
use super::probe::{Probe, Seen};
use super::world::{World, echo, endpoint, instance, poll_once, soon};

const SHORT: Duration = Duration::from_millis(250);

pub async fn a_draining_server_finishes_its_calls_and_takes_no_new_ones<P: Plane>() {
    let mut world = World::<P>::start().await;
    let (mut probe, gate) = (Probe::new(), Arc::new(Semaphore::new(0)));
    let gated = world.serve("gated", probe.gated(&gate)).await;
    let nonce = Nonce::fresh();
    let in_flight = world.spawn_read(Request::new(gated.clone(), nonce.message(0, 64)));
    assert_eq!(probe.seen().await, Seen::Started);

    let server = world.server.clone();
    let mut drain = pin!(server.drain(soon()));
    assert!(poll_once(drain.as_mut()).await.is_pending());
    assert_ne!(world.server.health(), Health::Ready);
    for _ in 0..20 {
        let error = world.error(Request::new(gated.clone(), "late")).await;
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.delivery().is_retry_safe(), "{error:?}");
    }

    gate.add_permits(100);
    in_flight.await.unwrap().assert_complete(&nonce.messages(1, 64));
    assert_eq!(drain.await, DrainReport::new(1, 0));
    let (client, server) = (world.client.stats(), world.server.stats());
    assert_eq!((client.completed, client.failed, server.completed, server.in_flight), (1, 20, 1, 0));
}

pub async fn a_drained_server_takes_no_calls<P: Plane>() {
    let mut world = World::<P>::start().await;
    let echo = world.serve("echo", echo()).await;
    world.still_answers(&echo).await;
    assert_eq!(world.server.drain(soon()).await, DrainReport::new(0, 0));
    let error = world.error(Request::new(echo, "late")).await;
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.delivery().is_retry_safe(), "{error:?}");
}

pub async fn a_drain_that_runs_out_of_time_aborts_the_rest<P: Plane>() {
    let mut world = World::<P>::start().await;
    let mut probe = Probe::new();
    let hang = world.serve("hang", probe.hang()).await;
    let call = world.spawn_read(Request::new(hang, "go"));
    assert_eq!(probe.seen().await, Seen::Started);
    assert_eq!(world.server.drain(Instant::now() + SHORT).await, DrainReport::new(0, 1));
    let reason = AbortReason::Shutdown;
    assert_eq!(probe.seen().await, Seen::Aborted(reason));
    assert_eq!(probe.seen().await, Seen::Dropped(Some(reason)));
    let error = call.await.unwrap().error.unwrap();
    assert!(matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Disconnected), "{error:?}");
    assert!(!error.delivery().is_retry_safe(), "its handler ran: {error:?}");
}

pub async fn a_draining_server_registers_nothing<P: Plane>() {
    let world = World::<P>::start().await;
    world.server.drain(soon()).await;
    let registered = world.server.register(endpoint("late"), instance(1), Arc::new(echo())).await;
    assert_eq!(registered.unwrap_err().kind(), ErrorKind::Unavailable);
}

/// Case A10: after a restart at the same address calls succeed without intervention.
pub async fn a_server_that_comes_back_is_found_again<P: Plane>() {
    let mut world = World::<P>::start().await;
    let echo_endpoint = world.serve("echo", echo()).await;
    world.still_answers(&echo_endpoint).await;
    let address = world.server.address();
    for _ in 0..3 {
        world.server.drain(soon()).await;
        world.settle().await;
        let limits = world.limits;
        // The old server is gone before the new one takes its address.
        world.server = world.plane.serve(limits).await;
        world.server = world.plane.serve_again(&address, limits).await;
        assert_eq!(world.server.address(), address);
        world.serve("echo", echo()).await;
        world.still_answers(&echo_endpoint).await;
    }
}

pub async fn a_closing_client_finishes_its_calls<P: Plane>() {
    let mut world = World::<P>::start().await;
    let (mut probe, gate) = (Probe::new(), Arc::new(Semaphore::new(0)));
    let gated = world.serve("gated", probe.gated(&gate)).await;
    let in_flight = world.spawn_read(Request::new(gated.clone(), "in flight"));
    assert_eq!(probe.seen().await, Seen::Started);
    let client = world.client.clone();
    let mut close = pin!(client.close(soon()));
    assert!(poll_once(close.as_mut()).await.is_pending());
    let error = world.error(Request::new(gated, "late")).await;
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Cancelled, Delivery::NotSent));
    gate.add_permits(1);
    in_flight.await.unwrap().assert_complete(&["in flight".into()]);
    assert_eq!(close.await, DrainReport::new(1, 0));
    assert_ne!(world.client.health(), Health::Ready);
}

pub async fn a_client_that_closes_at_once_ends_its_calls<P: Plane>() {
    let mut world = World::<P>::start().await;
    let mut probe = Probe::new();
    let hang = world.serve("hang", probe.hang()).await;
    let call = world.spawn_read(Request::new(hang, "go"));
    assert_eq!(probe.seen().await, Seen::Started);
    assert_eq!(world.client.close(Instant::now()).await, DrainReport::new(0, 1));
    let error = call.await.unwrap().error.unwrap();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Cancelled, Delivery::Unknown));
    assert!(matches!(probe.seen().await, Seen::Aborted(_)));
    let (client, server) = world.settle().await;
    assert_eq!((client.failed, client.in_flight, server.cancelled, server.in_flight), (1, 0, 1, 0));
}

/// Streams that are under way when the drain begins finish too.
pub async fn a_drain_waits_for_streams<P: Plane>() {
    let mut world = World::<P>::start().await;
    let nonce = Nonce::fresh();
    let handler = handler_fn(move |_, _| async move { Ok(plane_core::Response::new(nonce.stream(2_000, 4_096))) });
    let many = world.serve("many", handler).await;
    let mut response = world.call(Request::new(many, "go")).await.unwrap();
    assert_eq!(response.next().await.unwrap().unwrap(), nonce.message(0, 4_096));
    let server = world.server.clone();
    let mut drain = pin!(server.drain(soon()));
    assert!(poll_once(drain.as_mut()).await.is_pending());
    for index in 1..2_000 {
        assert_eq!(response.next().await.unwrap().unwrap(), nonce.message(index, 4_096));
    }
    assert!(response.next().await.is_none());
    assert_eq!(drain.await, DrainReport::new(1, 0));
}
