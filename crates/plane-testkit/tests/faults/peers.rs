//! A peer that vanishes, closes or is reset.

use std::time::{Duration, Instant};

use plane_core::frame::Flags;
use plane_core::{AbortReason, Delivery, ErrorKind, Request};
use plane_testkit::fault::{Scene, Transport};
use plane_testkit::peer::PeerListener;
use plane_testkit::{Ending, Faults};

use crate::handlers::{Seen, endpoint, ticks, tokens};
use crate::world::{FOUND, World};

/// What calls end with while nobody can be reached.
pub(crate) const AWAY: [ErrorKind; 3] = [ErrorKind::Disconnected, ErrorKind::Unavailable, ErrorKind::DeadlineExceeded];

pub(crate) async fn a_vanished_caller_aborts_its_handler(scene: Scene) {
    let mut world = World::start(&scene).await;
    let drip = Request::new(endpoint("drip"), "go");
    let stream = scene.open(&*world.behind.client, &world.behind.address, drip).await.unwrap();
    assert_eq!(world.seen().await, Seen::Started);
    let neighbour = world.neighbour().await;
    let vanished = Instant::now();
    scene.proxy().set_both(Faults::black_hole());
    let caller = scene.read(stream);
    // The caller is told from its own side.
    let ended = caller.ended().await;
    ended.assert_failed(ErrorKind::Disconnected, Delivery::Executed);
    scene.assert_within(ended.at - vanished, FOUND, "the caller was told");
    assert_eq!(world.seen().await, Seen::Aborted(AbortReason::Disconnected));
    let missed = match scene.transport() {
        Transport::Tcp => FOUND,
        // However short the keepalive is, a caller may be silent for 2 s, and that is looked at four times.
        Transport::Nats => Duration::from_millis(2_500),
    };
    scene.assert_within(vanished.elapsed(), missed, "the handler was aborted");
    scene.assert_unhurt(neighbour).await;
    scene.proxy().set_both(Faults::none());
    world.behind.until_served(&scene, &AWAY).await;
}

pub(crate) async fn an_idle_connection_that_died_is_replaced(scene: Scene) {
    let world = World::start(&scene).await;
    assert!(world.behind.echo(&scene).await.is_complete());
    let neighbour = world.neighbour().await;
    let died = Instant::now();
    // Only the connection that is there; those to come are fine.
    scene.proxy().connection(0).await.set_both(Faults::black_hole());
    // Made before anybody can know. It may have run, so nobody sends it again.
    let early = world.behind.echo(&scene).await;
    assert!(
        matches!(early.verdict(), Some((ErrorKind::Disconnected | ErrorKind::DeadlineExceeded, Delivery::Unknown))),
        "{early:?}"
    );
    scene.assert_within(early.took, FOUND, "a call on the dead connection ended");
    world.behind.until_served(&scene, &AWAY).await;
    scene.assert_within(died.elapsed(), 2 * FOUND, "calls were answered again");
    scene.assert_unhurt(neighbour).await;
    assert!(scene.proxy().connections().len() <= 3, "{} connections", scene.proxy().connections().len());
}

pub(crate) async fn a_server_that_closes_its_half_ends_its_calls(scene: Scene) {
    let listener = PeerListener::bind().await;
    let setup = crate::world::Setup::default();
    let client = setup.tcp_client();
    scene.watch_client(&client);
    let address = listener.address();
    let first = scene.start(&client, &address, Request::new(endpoint("echo"), "first"));
    let mut server = listener.accept().await;
    server.expect_open().await;
    let closed = Instant::now();
    server.half_close().await;
    let ended = first.ended().await;
    ended.assert_failed(ErrorKind::Disconnected, Delivery::Unknown);
    scene.assert_within(ended.at - closed, Duration::from_millis(100), "the call ended");
    // The connection is not picked again, although its other half is open.
    let second = scene.start(&client, &address, Request::new(endpoint("echo"), "second"));
    let mut server = listener.accept().await;
    let (call, ..) = server.expect_open().await;
    server.message(call, Flags::END, b"second").await;
    second.ended().await.assert_complete(&["second".into()]);
    assert_eq!(client.stats().connections, 1);
}

pub(crate) async fn a_reset_ends_every_call_at_once(scene: Scene) {
    const STREAMS: usize = 50;
    let world = World::start(&scene).await;
    let neighbour = world.neighbour().await;
    for _ in 0..scene.size(3, 50) {
        let mut streams = Vec::new();
        for _ in 0..STREAMS {
            let request = ticks(2_000);
            let stream = scene.open(&*world.behind.client, &world.behind.address, request).await.unwrap();
            streams.push(scene.read(stream));
        }
        // Frames are on their way all the time: it is the middle of one.
        let reset = Instant::now();
        scene.proxy().end_all(Ending::Reset);
        for stream in streams {
            let ended = stream.ended().await;
            ended.assert_failed(ErrorKind::Disconnected, Delivery::Executed);
            scene.assert_within(ended.at - reset, Duration::from_millis(100), "a stream ended");
        }
        world.behind.until_served(&scene, &AWAY).await;
    }
    scene.assert_unhurt(neighbour).await;
}

pub(crate) async fn a_lost_connection_never_looks_like_an_end(scene: Scene) {
    let world = World::start(&scene).await;
    let offsets = match scene.transport() {
        Transport::Tcp => scene.size(40, 400),
        // Each time the client library waits before it connects again.
        Transport::Nats => scene.size(6, 60),
    };
    for number in 0..offsets {
        // Anywhere in a stream of 200 messages of 40 bytes.
        let ending = if number % 2 == 0 { Ending::Close } else { Ending::Reset };
        world.behind.until_served(&scene, &AWAY).await;
        let connection = scene.proxy().connections().pop().expect("it was served");
        let passed = connection.bytes(plane_testkit::Direction::ToClient);
        let at = passed + fastrand::u64(0..4_000);
        connection.set(plane_testkit::Direction::ToClient, Faults::ending_after(at, ending));
        let ended = scene.call(&*world.behind.client, &world.behind.address, tokens(200, 40)).await;
        let expected = crate::handlers::TOKENS.messages(200, 40);
        // What came is the beginning of what was sent, and an end in order is the whole of it.
        assert!(ended.messages[..] == expected[..ended.messages.len()], "cut at {at}");
        if ended.is_complete() {
            assert_eq!(ended.messages.len(), expected.len(), "cut at {at}");
        } else {
            assert!(AWAY.contains(&ended.verdict().unwrap().0), "cut at {at}: {ended:?}");
        }
        scene.proxy().set_both(Faults::none());
    }
}
