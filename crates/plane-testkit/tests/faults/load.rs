//! Callers and messages that are greedy.

use std::time::{Duration, Instant};

use plane_core::{AdmissionLimits, Delivery, ErrorKind, Request};
use plane_testkit::conformance::Nonce;
use plane_testkit::fault::{Ended, Scene};

use crate::handlers::{Seen, TOKENS, endpoint, ticks, tokens};
use crate::world::{Setup, World};

pub(crate) async fn a_greedy_caller_leaves_room_for_others(scene: Scene) {
    let world = World::with(&scene, Setup::patient()).await;
    let neighbour = world.neighbour().await;
    let calls = scene.size(10_000, 200_000);
    let mut callers = Vec::new();
    for caller in 0..100 {
        let (scene, route) = (scene.clone(), world.behind.clone());
        callers.push(tokio::spawn(async move {
            for _ in (caller..calls).step_by(100) {
                assert!(route.echo(&scene).await.is_complete());
            }
        }));
    }
    for caller in callers {
        caller.await.unwrap();
    }
    scene.assert_unhurt(neighbour).await;
}

pub(crate) async fn a_large_message_leaves_room_for_small_ones(scene: Scene) {
    let setup = Setup { pool_size: 1, ..Setup::patient() };
    let world = World::with(&scene, setup).await;
    // The same client, and so the same connection.
    let neighbour = world.neighbour().await;
    let size = if scene.nats_url().is_some() { 15 << 20 } else { 32 << 20 };
    let message = Nonce::fresh().message(0, size);
    for _ in 0..scene.size(2, 50) {
        let request = Request::new(endpoint("echo"), message.clone());
        let ended = scene.call(&*world.direct.client, &world.direct.address, request).await;
        ended.assert_complete(std::slice::from_ref(&message));
    }
    assert_eq!(world.direct.client.stats().connections, 1);
    scene.assert_unhurt(neighbour).await;
}

pub(crate) async fn a_full_server_refuses_at_once(scene: Scene) {
    let setup = Setup { admission: AdmissionLimits { running: 2, queued: 2 }, ..Setup::patient() };
    let mut world = World::with(&scene, setup).await;
    let hang = || Request::new(endpoint("hang"), "go");
    let (client, address) = (world.direct.client.clone(), world.direct.address.clone());
    let running = [scene.start(&client, &address, hang()), scene.start(&client, &address, hang())];
    assert_eq!((world.seen().await, world.seen().await), (Seen::Started, Seen::Started));
    let queued = [scene.start(&client, &address, hang()), scene.start(&client, &address, hang())];
    while world.server.stats().queued < 2 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let mut refused: Vec<Ended> = Vec::new();
    for _ in 0..scene.size(100, 10_000) {
        refused.push(scene.call(&*client, &address, hang()).await);
    }
    for ended in &refused {
        ended.assert_failed(ErrorKind::ResourceExhausted, Delivery::NotExecuted);
    }
    refused.sort_unstable_by_key(|ended| ended.took);
    scene.assert_within(refused[refused.len() / 2].took, Duration::from_millis(10), "a refusal");
    running.into_iter().chain(queued).for_each(plane_testkit::fault::Started::abandon);
    world.until_quiet().await;
}

/// What one unread stream may hold: its window at the caller, what waits at the server, and what sockets hold.
const UNREAD: u64 = 12 << 20;

pub(crate) async fn a_stream_that_nobody_reads_holds_up_nobody(scene: Scene) {
    const READ: usize = 100;
    let world = World::with(&scene, Setup { pool_size: 1, ..Setup::patient() }).await;
    let (client, address) = (world.direct.client.clone(), world.direct.address.clone());
    let read_all = async || {
        let began = Instant::now();
        let reading: Vec<_> = (0..READ).map(|_| scene.start(&client, &address, tokens(200, 1_000))).collect();
        for stream in reading {
            stream.ended().await.assert_complete(&TOKENS.messages(200, 1_000));
        }
        began.elapsed()
    };
    // The first is for what is made once.
    read_all().await;
    let alone = read_all().await.min(read_all().await);
    let memory = scene.memory();
    let unread = client.call(&address, tokens(0, 1_000)).await.unwrap();
    // Until its producer waits: it would be done with a thousand windows by then.
    tokio::time::sleep(Duration::from_millis(300)).await;
    memory.assert_within(UNREAD, "a stream that nobody reads");
    let beside = read_all().await.min(read_all().await);
    println!("{READ} streams took {alone:?} alone and {beside:?} beside one that nobody reads");
    assert!(beside <= 3 * alone + Duration::from_millis(200), "{beside:?} beside it, {alone:?} alone");
    drop(unread);
    world.until_quiet().await;
}

pub(crate) async fn streams_that_nobody_reads_hold_what_is_promised(scene: Scene) {
    const STREAMS: u64 = 20;
    let world = World::with(&scene, Setup::patient()).await;
    let neighbour = world.neighbour().await;
    let memory = scene.memory();
    let mut unread = Vec::new();
    for _ in 0..STREAMS {
        unread.push(world.behind.client.call(&world.behind.address, tokens(0, 10_000)).await.unwrap());
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    // A window each, and for all of them what the connection may hold unwritten.
    memory.assert_within((STREAMS << 21) + UNREAD, "streams that nobody reads");
    scene.assert_unhurt(neighbour).await;
    drop(unread);
    world.until_quiet().await;
}

pub(crate) async fn callers_that_leave_in_the_middle_of_a_write_break_nothing(scene: Scene) {
    let world = World::with(&scene, Setup { pool_size: 1, ..Setup::patient() }).await;
    let message = Nonce::fresh().message(0, 2 << 20);
    for _ in 0..scene.size(60, 5_000) {
        let request = Request::new(endpoint("echo"), message.clone());
        let call = scene.start(&world.behind.client, &world.behind.address, request);
        tokio::time::sleep(Duration::from_micros(fastrand::u64(0..3_000))).await;
        call.abandon();
        if fastrand::u8(0..8) == 0 {
            assert!(world.behind.echo(&scene).await.is_complete());
        }
    }
    assert!(world.behind.echo(&scene).await.is_complete());
    assert_eq!(scene.proxy().connections().len(), 1, "the connection was lost");
    world.until_quiet().await;
}

pub(crate) async fn a_caller_that_leaves_is_noticed_soon(scene: Scene) {
    let mut world = World::with(&scene, Setup::patient()).await;
    let neighbour = world.neighbour().await;
    let mut noticed = Vec::new();
    for _ in 0..scene.size(100, 5_000) {
        let drip = Request::new(endpoint("drip"), "go");
        let stream = scene.open(&*world.direct.client, &world.direct.address, drip).await.unwrap();
        assert_eq!(world.seen().await, Seen::Started);
        let left = Instant::now();
        drop(stream);
        assert!(matches!(world.seen().await, Seen::Aborted(_)));
        noticed.push(left.elapsed());
    }
    noticed.sort_unstable();
    scene.assert_within(noticed[noticed.len() * 99 / 100], Duration::from_millis(100), "an abort");
    world.until_quiet().await;
    scene.assert_unhurt(neighbour).await;
    // Streams in the middle of their messages as well.
    for _ in 0..20 {
        drop(scene.open(&*world.direct.client, &world.direct.address, ticks(100)).await.unwrap());
    }
    world.until_quiet().await;
}
