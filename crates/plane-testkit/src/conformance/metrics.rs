//! Every call is counted once, in exactly one outcome, and the gauges return to zero.

use std::sync::Arc;

use plane_core::{AdmissionLimits, ClientStats, Request, ServerStats, Status, handler_fn};
use tokio::sync::Semaphore;

use super::payload::Nonce;
use super::plane::{Limits, Plane};
use super::probe::{Probe, Seen};
use super::world::{World, echo, endpoint};

fn assert_adds_up(client: ClientStats, server: ServerStats) {
    assert_eq!(client.started, client.completed + client.failed + client.cancelled, "{client:?}");
    assert_eq!(server.started, server.completed + server.failed + server.cancelled, "{server:?}");
    assert_eq!((client.in_flight, server.in_flight, server.queued), (0, 0, 0));
}

/// Case C11.
pub async fn every_call_is_counted_once<P: Plane>() {
    let admission = AdmissionLimits { running: 1, queued: 0 };
    let mut world = World::<P>::with(Limits { admission, ..Limits::default() }).await;
    let (mut probe, gate) = (Probe::new(), Arc::new(Semaphore::new(0)));
    let gated = world.serve("gated", probe.gated(&gate)).await;
    let refuse = world.serve("refuse", handler_fn(|_, _| async { Err(Status::not_found("nothing here")) })).await;

    // One in flight, so that the next is refused; then it completes.
    let first = world.spawn_read(Request::new(gated.clone(), "first"));
    assert_eq!(probe.seen().await, Seen::Started);
    let stats = (world.client.stats(), world.server.stats());
    assert_eq!((stats.0.in_flight, stats.1.in_flight), (1, 1));
    world.error(Request::new(gated.clone(), "refused")).await;
    gate.add_permits(1);
    first.await.unwrap().assert_complete(&["first".into()]);
    assert_eq!(probe.seen().await, Seen::Dropped(None));

    // One fails, one is unknown, one is cancelled.
    super::world::until(|| world.server.stats().in_flight == 0).await;
    world.error(Request::new(refuse, "fails")).await;
    world.error(Request::new(endpoint("unknown"), "refused")).await;
    super::world::until(|| world.server.stats().in_flight == 0).await;
    let cancelled = world.spawn(Request::new(gated, "cancelled"));
    assert_eq!(probe.seen().await, Seen::Started);
    cancelled.abort();
    assert!(matches!(probe.seen().await, Seen::Dropped(_)));

    let (client, server) = world.settle().await;
    assert_adds_up(client, server);
    assert_eq!((client.started, client.completed, client.failed, client.cancelled), (5, 1, 3, 1));
    assert_eq!((server.started, server.completed, server.failed, server.cancelled, server.refused), (3, 1, 1, 1, 2));
}

pub async fn counts_add_up_after_many_calls_at_once<P: Plane>() {
    let mut world = World::<P>::start().await;
    let echo = world.serve("echo", echo()).await;
    let nonce = Nonce::fresh();
    let calls: Vec<_> = (0..200)
        .map(|index| {
            let call = world.spawn_read(Request::new(echo.clone(), nonce.stream(20, 64)));
            // Every third caller goes away, at whatever point its call has reached by then.
            if index % 3 == 0 {
                call.abort();
            }
            call
        })
        .collect();
    let mut complete = 0;
    for call in calls {
        if let Ok(ended) = call.await {
            ended.assert_complete(&nonce.messages(20, 64));
            complete += 1;
        }
    }
    let (client, server) = world.settle().await;
    assert_adds_up(client, server);
    assert!(complete >= 133);
    assert_eq!((client.completed, client.failed, server.failed), (complete, 0, 0));
}
