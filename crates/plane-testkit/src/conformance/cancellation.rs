//! Dropping aborts, stopping asks; neither disturbs neighbours, and nothing is left behind.

use std::future::pending;
use std::pin::pin;
use std::sync::Arc;

use plane_core::{AbortReason, AdmissionLimits, Body, Context, Handler, Request, Response, Status, handler_fn};
use tokio::sync::Semaphore;

use super::payload::Nonce;
use super::plane::{Limits, Plane};
use super::probe::{Probe, Seen};
use super::world::{World, call, echo, poll_once, read_on, until};

const CANCELLED: AbortReason = AbortReason::Cancelled;

/// Cases A22, C5.
pub async fn dropping_a_call_aborts_its_handler<P: Plane>() {
    let mut world = World::<P>::start().await;
    let mut probe = Probe::new();
    let hang = world.serve("hang", probe.hang()).await;
    let call = world.spawn(Request::new(hang, "go"));
    assert_eq!(probe.seen().await, Seen::Started);
    call.abort();
    assert_eq!(probe.seen().await, Seen::Aborted(CANCELLED));
    assert_eq!(probe.seen().await, Seen::Dropped(Some(CANCELLED)));
    let (client, server) = world.settle().await;
    assert_eq!((client.cancelled, client.failed, client.in_flight), (1, 0, 0));
    assert_eq!((server.cancelled, server.failed, server.in_flight), (1, 0, 0));
}

/// Case C4: an abort ends a handler that waits for something else.
pub async fn an_abort_ends_a_handler_that_does_not_listen<P: Plane>() {
    let mut world = World::<P>::start().await;
    let mut probe = Probe::new();
    let ignore = world.serve("ignore", probe.ignore()).await;
    let call = world.spawn(Request::new(ignore, "go"));
    assert_eq!(probe.seen().await, Seen::Started);
    call.abort();
    assert_eq!(probe.seen().await, Seen::Dropped(Some(CANCELLED)));
}

/// Endless messages, watched; the watch goes with the body.
fn endless(probe: &Probe) -> impl Handler {
    let watcher = probe.watcher();
    handler_fn(move |_, context| {
        let watch = watcher(&context);
        let stream = futures_util::stream::repeat_with(move || {
            let _watch = &watch;
            Ok::<_, Status>(vec![7; 4_096])
        });
        async { Ok(Response::new(Body::stream(stream))) }
    })
}

/// Case A22: in the middle of a stream.
pub async fn dropping_a_response_aborts_its_handler<P: Plane>() {
    let mut world = World::<P>::start().await;
    let mut probe = Probe::new();
    let echo = world.serve("echo", echo()).await;
    let endless = world.serve("endless", endless(&probe)).await;
    let mut response = world.call(Request::new(endless, "go")).await.unwrap();
    assert_eq!(probe.seen().await, Seen::Started);
    for _ in 0..10 {
        response.next().await.unwrap().unwrap();
    }
    drop(response);
    assert_eq!(probe.seen().await, Seen::Dropped(Some(CANCELLED)));
    world.still_answers(&echo).await;
    let (client, server) = world.settle().await;
    assert_eq!((client.cancelled, server.cancelled, server.failed), (1, 1, 0));
}

/// Case C4: an abort reaches a handler that is blocked sending, while its caller reads nothing.
pub async fn an_abort_reaches_a_handler_that_is_blocked_sending<P: Plane>() {
    let mut world = World::<P>::start().await;
    let mut probe = Probe::new();
    let watcher = probe.watcher();
    let handler = handler_fn(move |_, context: Context| {
        let watch = watcher(&context);
        async move {
            let (sender, body) = Body::channel(1);
            tokio::spawn(async move {
                while sender.send(vec![7; 65_536]).await.is_ok() {}
                watch.tell(Seen::Aborted(context.aborted().await));
            });
            Ok(Response::new(body))
        }
    });
    let floods = world.serve("floods", handler).await;
    let response = world.call(Request::new(floods, "go")).await.unwrap();
    assert_eq!(probe.seen().await, Seen::Started);
    drop(response);
    assert_eq!(probe.seen().await, Seen::Aborted(CANCELLED));
    assert_eq!(probe.seen().await, Seen::Dropped(Some(CANCELLED)));
}

/// Case A22: after the end there is nothing to cancel.
pub async fn dropping_after_the_end_counts_as_complete<P: Plane>() {
    let mut world = World::<P>::start().await;
    let nonce = Nonce::fresh();
    let many = world.serve("many", handler_fn(move |_, _| async move { Ok(Response::new(nonce.stream(3, 64))) })).await;
    let mut response = world.call(Request::new(many, "go")).await.unwrap();
    while response.next().await.transpose().unwrap().is_some() {}
    drop(response);
    let (client, server) = world.settle().await;
    assert_eq!((client.completed, client.cancelled), (1, 0));
    assert_eq!((server.completed, server.cancelled), (1, 0));
}

/// Case C7: a caller that knows how many messages there are drops right after the last one.
pub async fn dropping_right_after_the_last_message_is_no_error<P: Plane>() {
    let mut world = World::<P>::start().await;
    let nonce = Nonce::fresh();
    let three =
        world.serve("three", handler_fn(move |_, _| async move { Ok(Response::new(nonce.stream(3, 16))) })).await;
    for _ in 0..10_000 {
        let mut response = world.call(Request::new(three.clone(), "go")).await.unwrap();
        for index in 0..3 {
            assert_eq!(response.next().await.unwrap().unwrap(), nonce.message(index, 16));
        }
    }
    let (client, server) = world.settle().await;
    assert_eq!((client.failed, server.failed), (0, 0));
    assert_eq!((client.in_flight, server.in_flight), (0, 0));
    assert_eq!(client.completed + client.cancelled, 10_000);
}

pub async fn a_call_that_was_never_polled_does_nothing<P: Plane>() {
    let mut world = World::<P>::start().await;
    let mut probe = Probe::new();
    let hang = world.serve("hang", probe.hang()).await;
    drop(world.call(Request::new(hang, "go")));
    let (client, server) = world.settle().await;
    assert_eq!((client.in_flight, client.failed, server.started), (0, 0, 0));
    probe.assert_quiet();
}

/// Case A22: in the server's queue.
pub async fn dropping_a_queued_call_frees_its_place<P: Plane>() {
    let admission = AdmissionLimits { running: 1, queued: 1 };
    let mut world = World::<P>::with(Limits { admission, ..Limits::default() }).await;
    let (mut probe, gate) = (Probe::new(), Arc::new(Semaphore::new(0)));
    let gated = world.serve("gated", probe.gated(&gate)).await;
    let first = world.spawn_read(Request::new(gated.clone(), "first"));
    assert_eq!(probe.seen().await, Seen::Started);
    for _ in 0..10 {
        let queued = world.spawn(Request::new(gated.clone(), "gives up"));
        until(|| world.server.stats().queued == 1).await;
        queued.abort();
        until(|| world.server.stats().queued == 0).await;
    }
    gate.add_permits(1);
    first.await.unwrap().assert_complete(&["first".into()]);
    assert_eq!(probe.seen().await, Seen::Dropped(None));
    let (_, server) = world.settle().await;
    assert_eq!((server.completed, server.cancelled, server.refused), (1, 10, 0));
    probe.assert_quiet();
}

/// A handler that counts until it is asked to end, then says goodbye.
fn until_stopped() -> impl Handler {
    handler_fn(|_, context: Context| async move {
        let (sender, body) = Body::channel(1);
        tokio::spawn(async move {
            while !context.is_stopped() {
                tokio::select! {
                    sent = sender.send("more") => if sent.is_err() { return },
                    () = context.stopped() => {}
                }
            }
            // Nobody may be reading any more; then there is nobody to tell.
            let _ = sender.send("goodbye").await;
            let _ = sender.finish().await;
        });
        Ok(Response::new(body))
    })
}

/// Case C4: after a stop the handler's closing messages arrive, and the end is in order.
pub async fn a_stopped_handler_says_goodbye<P: Plane>() {
    let mut world = World::<P>::start().await;
    let counts = world.serve("counts", until_stopped()).await;
    let mut response = world.call(Request::new(counts, "go")).await.unwrap();
    assert_eq!(response.next().await.unwrap().unwrap(), "more");
    response.stop();
    let ended = read_on(response).await;
    assert!(ended.error.is_none(), "{:?}", ended.error);
    assert_eq!(ended.messages.last().unwrap(), "goodbye");
    let (client, server) = world.settle().await;
    assert_eq!((client.completed, server.completed), (1, 1));
}

/// Case C4: stop, then abort, upgrades.
pub async fn an_abort_after_a_stop_ends_the_handler<P: Plane>() {
    let mut world = World::<P>::start().await;
    let mut probe = Probe::new();
    let watcher = probe.watcher();
    let handler = handler_fn(move |_, context: Context| {
        let watch = watcher(&context);
        async move {
            let (sender, body) = Body::channel(1);
            sender.send("first").await?;
            tokio::spawn(async move {
                context.stopped().await;
                sender.send("stopping, slowly").await?;
                watch.tell(Seen::Aborted(context.aborted().await));
                Ok::<_, plane_core::Error>(())
            });
            Ok(Response::new(body))
        }
    });
    let slow = world.serve("slow", handler).await;
    let mut response = world.call(Request::new(slow, "go")).await.unwrap();
    assert_eq!(probe.seen().await, Seen::Started);
    assert_eq!(response.next().await.unwrap().unwrap(), "first");
    response.stop();
    assert_eq!(response.next().await.unwrap().unwrap(), "stopping, slowly");
    drop(response);
    assert_eq!(probe.seen().await, Seen::Aborted(CANCELLED));
}

pub async fn a_cancelled_call_leaves_neighbours_alone<P: Plane>() {
    let mut world = World::<P>::start().await;
    let nonce = Nonce::fresh();
    let probe = Probe::new();
    let many =
        world.serve("many", handler_fn(move |_, _| async move { Ok(Response::new(nonce.stream(200, 512))) })).await;
    let endless = world.serve("endless", endless(&probe)).await;
    let mut neighbour = world.call(Request::new(many, "go")).await.unwrap();
    for index in 0..200 {
        let response = world.call(Request::new(endless.clone(), "go")).await.unwrap();
        drop(response);
        assert_eq!(neighbour.next().await.unwrap().unwrap(), nonce.message(index, 512));
    }
    assert!(neighbour.next().await.is_none());
}

/// Dropping the first hop's caller ends the last hop's handler.
pub async fn a_cancellation_passes_through_a_hop<P: Plane>() {
    let mut world = World::<P>::start().await;
    let mut probe = Probe::new();
    let leaf = world.serve("leaf", probe.hang()).await;
    let (client, address) = (world.client.clone(), world.server.address());
    let middle = handler_fn(move |_, _| {
        let onward = call(&client, address.clone(), Request::new(leaf.clone(), "go"));
        async move { Ok(onward.await?) }
    });
    let middle = world.serve("middle", middle).await;
    let call = world.spawn(Request::new(middle, "go"));
    assert_eq!(probe.seen().await, Seen::Started);
    call.abort();
    assert_eq!(probe.seen().await, Seen::Aborted(CANCELLED));
    assert_eq!(probe.seen().await, Seen::Dropped(Some(CANCELLED)));
}

/// Case A22: while the connection may still be on its way up.
pub async fn dropping_a_call_after_one_poll_leaves_nothing_behind<P: Plane>() {
    let mut world = World::<P>::start().await;
    let blocked = world.serve("blocked", handler_fn(|_, _| pending::<Result<Response, Status>>())).await;
    for _ in 0..50 {
        let mut call = pin!(world.call(Request::new(blocked.clone(), "go")));
        assert!(poll_once(call.as_mut()).await.is_pending());
    }
    // The drops happen at the end of each round; none of them may keep a handler.
    let echo = world.serve("echo", echo()).await;
    world.still_answers(&echo).await;
    let (client, server) = world.settle().await;
    assert_eq!((client.cancelled, client.in_flight, server.in_flight), (50, 0, 0));
}
