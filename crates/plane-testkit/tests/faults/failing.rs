//! Handlers that panic, block, or do not listen.

use std::time::{Duration, Instant};

use plane_core::{Delivery, ErrorKind, Request};
use plane_testkit::fault::{Ended, Scene};

use crate::handlers::{Seen, endpoint, ticks};
use crate::world::{Route, Setup, World};

pub(crate) async fn panics_reach_their_callers_alone(scene: Scene) {
    let world = World::with(&scene, Setup::patient()).await;
    let neighbour = world.neighbour().await;
    let panics = scene.size(300, 5_000);
    scene.expect_panics(2 * panics);
    for _ in 0..panics {
        let (client, address) = (&*world.behind.client, &world.behind.address);
        let before = scene.call(client, address, Request::new(endpoint("panic"), "before")).await;
        before.assert_failed(ErrorKind::Internal, Delivery::Executed);
        let during = scene.call(client, address, Request::new(endpoint("panic"), "during")).await;
        during.assert_failed(ErrorKind::Internal, Delivery::Executed);
        assert_eq!(during.messages.len(), 3);
    }
    scene.assert_unhurt(neighbour).await;
    let stats = world.server.stats();
    assert_eq!((stats.failed, stats.in_flight), (2 * panics as u64, 0), "{stats:?}");
}

pub(crate) async fn messages_after_an_abort_are_dropped(scene: Scene) {
    let mut world = World::with(&scene, Setup::patient()).await;
    let neighbour = world.neighbour().await;
    for _ in 0..scene.size(10, 500) {
        let late = Request::new(endpoint("late"), "go");
        let stream = scene.open(&*world.behind.client, &world.behind.address, late).await.unwrap();
        drop(stream);
        // Each send came back at once.
        assert_eq!(world.seen().await, Seen::SentAfterAbort);
    }
    world.until_quiet().await;
    scene.assert_unhurt(neighbour).await;
    assert_eq!(world.server.stats().failed, 0);
}

pub(crate) async fn a_drain_ends_at_its_limit(scene: Scene) {
    const LIMIT: Duration = Duration::from_millis(500);
    let mut world = World::with(&scene, Setup::patient()).await;
    let Route { client, address } = world.behind.clone();
    let unary = scene.start(&client, &address, Request::new(endpoint("hang"), "go"));
    assert_eq!(world.seen().await, Seen::Started);
    let stream = scene.read(scene.open(&*client, &address, ticks(100)).await.unwrap());
    let began = Instant::now();
    let report = world.server.drain(began + LIMIT).await;
    assert_eq!(report.aborted, 2, "{report:?}");
    scene.assert_within(began.elapsed(), LIMIT + Duration::from_secs(1), "the drain");
    for (call, delivery) in [(unary, Delivery::Executed), (stream, Delivery::Executed)] {
        let ended: Ended = call.ended().await;
        ended.assert_failed(ErrorKind::Unavailable, delivery);
        scene.assert_within(ended.at - began, LIMIT + Duration::from_secs(1), "a call that was aborted");
    }
    let after = world.direct.echo(&scene).await;
    assert!(after.verdict().is_some_and(|(_, delivery)| delivery.is_retry_safe()), "{after:?}");
}

/// With the default settings a thread that is kept may be the one that looks after the sockets. What must not happen is that
/// somebody is taken for dead because of it. Handlers on a runtime of their own hold up nobody; the manager has that.
pub(crate) async fn a_handler_that_blocks_its_thread_loses_no_call(scene: Scene) {
    const KEPT: Duration = Duration::from_secs(3);
    let world = World::with(&scene, Setup::patient()).await;
    let (client, address) = (world.behind.client.clone(), world.behind.address.clone());
    // On the same connection as a stream.
    let mut stream = scene.open(&*client, &address, ticks(100)).await.unwrap();
    // Connected before: all of this is one process, and who dials while its thread is kept runs out of time for that.
    assert!(world.direct.echo(&scene).await.is_complete());
    for _ in 0..scene.size(1, 10) {
        let request = Request::new(endpoint("block"), KEPT.as_millis().to_string());
        let blocked = scene.start(&client, &address, request);
        let beside = scene.start(&world.direct.client, &world.direct.address, Request::new(endpoint("echo"), "beside"));
        let mut longest = Duration::ZERO;
        while !blocked.is_over() {
            let asked = Instant::now();
            stream.next().await.unwrap().unwrap();
            longest = longest.max(asked.elapsed());
        }
        println!("the longest pause of a stream beside it: {longest:?}");
        blocked.ended().await.assert_complete(&["done".into()]);
        beside.ended().await.assert_complete(&["beside".into()]);
        scene.assert_within(longest, KEPT, "a pause of a stream");
    }
    drop(stream);
    world.until_quiet().await;
}
