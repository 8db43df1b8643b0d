//! Floods of what is cheap to send, and the honest traffic that looks like one.

use std::time::{Duration, Instant};

use bytes::{BufMut, BytesMut};
use plane_core::frame::{
    Cancel, Flags, OpenFields, encode_cancel, encode_end, encode_message_head, encode_open, encode_ping,
};
use plane_core::{Body, Code, ErrorKind, Headers, Refusal, Request, RequestPlaneClient, RequestPlaneServer};
use plane_tcp::{AbuseLimits, ClientConfig, ConnectionConfig, Rate, ServerConfig};
use plane_testkit::peer::{Peer, PeerListener, Seen};

use crate::world::{Event, World, client, echo, endpoint, loopback, soon, until};

/// The messages of no byte and of one that fill a window of 1 MiB.
const WINDOWFULS: [(usize, u64); 2] = [(0, 16_384), (1, 16_131)];

fn messages(out: &mut BytesMut, call: u64, length: usize, count: u64) {
    for _ in 0..count {
        encode_message_head(out, call, Flags::NONE, length);
        out.put_bytes(b'x', length);
    }
}

/// Threats A7 and A8: empty messages and messages of a byte cost credit. Nobody reads them: a windowful is held, one more
/// ends the connection, which is told the limit; and a neighbour is served.
#[tokio::test]
async fn small_messages_beyond_the_window_are_closed() {
    let world = World::start().await;
    for (length, count) in WINDOWFULS {
        let mut peer = Peer::dial(&world.address).await;
        peer.open(1, &endpoint("hang"), Flags::NO_MESSAGE, b"").await;
        let mut out = BytesMut::new();
        messages(&mut out, 1, length, count);
        peer.send_bytes(&out).await;
        // Within the window: the connection is well.
        peer.open(3, &endpoint("echo"), Flags::END, b"hi").await;
        assert_eq!(peer.expect_message(3).await.1, "hi");
        out.clear();
        messages(&mut out, 1, length, 1);
        peer.send_bytes(&out).await;
        let go_away = peer.expect_go_away().await;
        assert_eq!(go_away.code, Code::FLOW_CONTROL);
        assert!(go_away.text.contains("1048576"), "{}", go_away.text);
        peer.expect_closed().await;
        world.still_answers().await;
    }
    assert_eq!(world.server.stats().refusals.of(Refusal::FlowControl), 2);
    until(|| world.server.stats().in_flight == 0).await;
}

/// Threats A7 and A8, the other way round: streams of tiny and empty messages that somebody reads are what this is for. Tens
/// of thousands on one connection, in both directions, are held against nobody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn token_streams_are_no_abuse() {
    const CALLS: usize = 32;
    const TOKENS: usize = 2_000;
    let world = World::start().await;
    let client = client(ClientConfig::default().pool_size(1).expect("in range"));
    let stream = async || {
        let (sender, body) = Body::channel(16);
        let send = async {
            for token in 0..TOKENS {
                sender.send(if token % 5 == 0 { &b""[..] } else { b"t" }).await.expect("a reader");
            }
            sender.finish().await.expect("a reader");
        };
        let read = async {
            let mut answer =
                client.call(&world.address, Request::new(endpoint("echo"), body)).await.expect("an answer");
            let mut count = 0;
            while let Some(token) = answer.next().await {
                assert_eq!(token.expect("no error").len(), usize::from(count % 5 != 0));
                count += 1;
            }
            assert_eq!(count, TOKENS);
        };
        tokio::join!(send, read);
    };
    let mut streams: Vec<_> = (0..CALLS).map(|_| Box::pin(stream())).collect();
    soon(std::future::poll_fn(|cx| {
        streams.retain_mut(|stream| stream.as_mut().poll(cx).is_pending());
        if streams.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    }))
    .await;
    assert_eq!((world.server.stats().refusals.total(), client.stats().refusals.total()), (0, 0));
}

/// Threat A17: 100,000 calls that are opened and aborted. The connection is told why and closed within the budget, no more
/// handlers were started than it allows, and nothing of them is left.
#[tokio::test]
async fn a_rapid_reset_ends_within_its_budget() {
    let world = World::start().await;
    let began = Instant::now();
    let mut peer = Peer::dial(&world.address).await;
    let hang = endpoint("hang");
    let mut call = 1;
    while call < 200_000 {
        let mut out = BytesMut::new();
        for _ in 0..1_000 {
            Peer::write_open(&mut out, call, &hang, Flags::END, b"");
            encode_cancel(&mut out, call, Cancel::Abort(Code::CANCELLED));
            call += 2;
        }
        if !peer.try_send_bytes(&out).await {
            break;
        }
    }
    assert_eq!(peer.expect_go_away().await.code, Code::ENHANCE_YOUR_CALM);
    peer.expect_closed().await;
    until(|| world.server.stats().in_flight == 0).await;
    let stats = world.server.stats();
    // Twice the calls that may be in flight, and 100 more for each second that it took.
    let budget = 2 * 512 + 100 * (began.elapsed().as_secs() + 1);
    assert!(stats.cancelled <= budget + 512, "{stats:?}");
    assert_eq!(stats.refusals.of(Refusal::Aborts), 1);
    world.still_answers().await;
}

/// Threat A19: what is owed to a peer that pings and does not read stays within its budget.
#[tokio::test]
async fn pings_are_answered_up_to_a_budget() {
    let world = World::start().await;
    let mut peer = Peer::dial(&world.address).await;
    let mut out = BytesMut::new();
    (0..100_000).for_each(|_| encode_ping(&mut out, *b"12345678"));
    peer.try_send_bytes(&out).await;
    let mut pongs = 0;
    loop {
        match soon(peer.next()).await.expect("a GOAWAY before the end") {
            Seen::GoAway(go_away) => break assert_eq!(go_away.code, Code::ENHANCE_YOUR_CALM),
            _ => pongs += 1,
        }
    }
    assert!(pongs <= 1_000 + 100 * 10, "{pongs} pings were answered");
    assert_eq!(world.server.stats().refusals.of(Refusal::Pings), 1);
    world.still_answers().await;
}

/// Every budget is a setting: a peer that goes over one of a few is told at once.
#[tokio::test]
async fn budgets_are_settings() {
    let few = Rate { at_once: 5, per_second: 1 };
    let mut limits = AbuseLimits::default();
    (limits.pings, limits.idle_frames) = (few, few);
    let world = World::with_connection(ConnectionConfig::default().abuse(limits).expect("in range")).await;
    let mut peer = Peer::dial(&world.address).await;
    peer.send(|out| (0..20).for_each(|_| encode_ping(out, *b"12345678"))).await;
    assert!(peer.expect_go_away().await.text.contains("5 and 1 more each second"));
    let mut peer = Peer::dial(&world.address).await;
    let skipped = plane_core::frame::Head::new(plane_core::frame::Kind(0x90), Flags::NONE, 0, 0);
    peer.send(|out| (0..20).for_each(|_| skipped.encode(out))).await;
    assert_eq!(peer.expect_go_away().await.code, Code::ENHANCE_YOUR_CALM);
    let none = Rate { at_once: 0, per_second: 1 };
    let refused = |change: fn(&mut AbuseLimits, Rate)| {
        let mut limits = AbuseLimits::default();
        change(&mut limits, none);
        ConnectionConfig::default().abuse(limits).expect_err("it cannot work").setting()
    };
    assert_eq!(refused(|limits, rate| limits.pings = rate), "pings");
    assert_eq!(refused(|limits, rate| limits.idle_frames = rate), "idle_frames");
    assert_eq!(refused(|limits, _| limits.frame_timeout = Duration::ZERO), "frame_timeout");
    assert_eq!(refused(|limits, _| limits.write_timeout = Duration::ZERO), "write_timeout");
}

/// One connection more than may be open is closed, and counted; those that are open go on, and there is room again once
/// one has ended.
#[tokio::test]
async fn one_connection_too_many_is_closed_alone() {
    let world = World::with(ServerConfig::new(loopback(0)).max_connections(2).expect("in range")).await;
    let mut first = Peer::dial(&world.address).await;
    let second = Peer::dial(&world.address).await;
    Peer::connect(&world.address).await.expect_closed_without_a_word().await;
    assert_eq!(world.server.stats().refusals.of(Refusal::Connections), 1);
    first.open(1, &endpoint("echo"), Flags::END, b"hi").await;
    assert_eq!(first.expect_message(1).await.1, "hi");
    drop(second);
    until(|| world.server.stats().connections == 1).await;
    // The connection leaves the table a moment before its task has ended.
    let client = client(ClientConfig::default());
    soon(async {
        while let Err(error) = echo(&client, &world.address, "again").await {
            assert!(matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Disconnected), "{error}");
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// A connection without calls ends in order after its time, whichever side's comes first, and not while there is a call.
#[tokio::test]
async fn an_idle_connection_is_closed_in_order() {
    let soon_idle = Duration::from_millis(200);
    let world = World::with(ServerConfig::new(loopback(0)).idle_timeout(soon_idle).expect("in range")).await;
    let mut busy = Peer::dial(&world.address).await;
    busy.open(1, &endpoint("hang"), Flags::END, b"").await;
    let mut idle = Peer::dial(&world.address).await;
    assert_eq!(idle.expect_go_away().await.code, Code::OK);
    idle.expect_closed().await;
    busy.open(3, &endpoint("echo"), Flags::END, b"hi").await;
    assert_eq!(busy.expect_message(3).await.1, "hi");

    let listener = PeerListener::bind().await;
    let (client, address) =
        (client(ClientConfig::default().idle_timeout(soon_idle).expect("in range")), listener.address());
    let call = echo(&client, &address, "hi");
    let serve = async {
        let mut peer = listener.accept().await;
        let (id, _, _) = peer.expect_open().await;
        peer.message(id, Flags::END, b"hi").await;
        peer
    };
    let (answer, mut peer) = soon(async { tokio::join!(call, serve) }).await;
    assert_eq!(answer.expect("an answer"), "hi");
    assert_eq!(peer.expect_go_away().await.code, Code::OK);
    peer.expect_closed().await;
    assert_eq!((world.server.stats().refusals.total(), client.stats().refusals.total()), (0, 0));
}

/// Threat A35: calls whose headers break off, whose deadlines pass at once, whose messages stop half-way and which are
/// aborted, in pieces of any size, again and again. A connection may be closed for it; nothing else happens.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_timing_leaves_nothing_behind() {
    let mut world = World::start().await;
    let seed = fastrand::u64(..);
    eprintln!("seed {seed:#x}");
    let mut random = fastrand::Rng::with_seed(seed);
    for _ in 0..20 {
        let mut peer = Peer::dial(&world.address).await;
        let mut out = BytesMut::new();
        for call in (1..2_000).step_by(2) {
            hostile_call(&mut out, call, &mut random);
        }
        let mut rest = &out[..];
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(random.usize(1..=rest.len().min(5_000)));
            rest = after;
            if !peer.try_send_bytes(piece).await {
                break;
            }
        }
        drop(peer);
        while world.events.try_recv().is_ok_and(|event| matches!(event, Event::Started | Event::Dropped)) {}
    }
    until(|| world.server.stats().connections == 0 && world.server.stats().in_flight == 0).await;
    world.still_answers().await;
    let stats = world.server.stats();
    assert_eq!(stats.started, stats.completed + stats.failed + stats.cancelled);
    assert_eq!(stats.refused, stats.refusals.of(Refusal::InvalidCall) + stats.refusals.of(Refusal::Calls));
    assert_eq!((stats.in_flight, stats.queued), (0, 0));
}

fn hostile_call(out: &mut BytesMut, call: u64, random: &mut fastrand::Rng) {
    let name = endpoint(["hang", "count", "deaf"][random.usize(..3)]);
    let headers = Headers::new();
    match random.u8(..4) {
        0 => crate::ends::raw_open(out, call, name.as_str().as_bytes(), b"\x05\x00\x05x-ha"),
        1 => {
            let timeout = Some(Duration::from_micros(random.u64(1..2_000)));
            let fields = OpenFields { endpoint: &name, instance: None, timeout, headers: &headers };
            encode_open(out, call, Flags::END, &fields, 0);
        }
        2 => {
            Peer::write_open(out, call, &name, Flags::MORE, &[1; 300]);
            if random.bool() {
                messages(out, call, 10, 1);
                encode_end(out, call, Flags::NONE, 1, None, None);
            }
        }
        _ => Peer::write_open(out, call, &name, Flags::NO_MESSAGE, b""),
    }
    if random.u8(..4) > 0 {
        encode_cancel(out, call, Cancel::Abort(Code::CANCELLED));
    }
}
