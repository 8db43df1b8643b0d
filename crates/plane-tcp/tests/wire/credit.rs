//! Flow control: what both sides count.

use bytes::BytesMut;
use plane_core::frame::{Flags, Hello, encode_credit, encode_message_head};
use plane_core::{Body, Request, RequestPlaneClient, RequestPlaneServer};
use plane_tcp::{ClientConfig, ConnectionConfig};
use plane_testkit::peer::{Peer, Seen};

use crate::world::{World, client, echo, endpoint, soon, until};

/// The window of these tests, and what a frame costs beside its bytes.
const WINDOW: usize = 4096;
const COST: usize = 64;

fn windowed() -> ConnectionConfig {
    ConnectionConfig::default().credit(4096).expect("in range")
}

/// The message in OPEN costs like any other: with it the window can be filled exactly, and not by a byte more.
#[tokio::test]
async fn the_message_in_open_is_charged() {
    let world = World::with_connection(windowed()).await;
    for (second, closed) in [(WINDOW - 1000 - 2 * COST, false), (WINDOW - 1000 - 2 * COST + 1, true)] {
        let mut peer = Peer::dial(&world.address).await;
        peer.open(1, &endpoint("hang"), Flags::NONE, &[1; 1000]).await;
        peer.message(1, Flags::NONE, &vec![2; second]).await;
        peer.open(3, &endpoint("deaf"), Flags::END, b"").await;
        match peer.expect().await {
            Seen::GoAway(_) => assert!(closed, "{second} bytes fit the window"),
            Seen::Message { call: 3, .. } => assert!(!closed, "{second} bytes do not fit the window"),
            other => panic!("{other:?}"),
        }
    }
    let mut peer = Peer::dial(&world.address).await;
    peer.open(1, &endpoint("echo"), Flags::END, &[1; WINDOW - COST]).await;
    assert_eq!(peer.expect_message(1).await.1.len(), WINDOW - COST);
    peer.open(3, &endpoint("echo"), Flags::END, &[1; WINDOW - COST + 1]).await;
    peer.expect_go_away().await;
}

/// The server stops at the window it was given, to the byte, and goes on with what it is granted.
#[tokio::test]
async fn a_server_stays_within_the_credit_of_its_peer() {
    let world = World::start().await;
    let hello = Hello { credit: 1024, ..Hello::default() };
    let mut peer = Peer::dial_with(&world.address, &hello).await;
    let message: Vec<u8> = (0..=255).cycle().take(10_000).collect();
    peer.open(1, &endpoint("echo"), Flags::END, &message).await;
    let (mut credit, mut answer) = (1024, Vec::new());
    loop {
        let (flags, chunk) = peer.expect_message(1).await;
        credit = usize::checked_sub(credit, chunk.len() + COST).expect("within the credit");
        answer.extend_from_slice(&chunk);
        if flags == Flags::END {
            break;
        }
        assert!(flags == Flags::MORE && chunk.len() >= 256, "{} bytes, {flags:?}", chunk.len());
        if credit < 256 + COST {
            peer.send(|out| encode_credit(out, 1, 700)).await;
            credit += 700;
        }
    }
    assert_eq!(answer, message);
}

/// Credit comes back once half the window was read, and not before anything was.
#[tokio::test]
async fn credit_comes_back_in_steps_of_half_the_window() {
    let world = World::with_connection(windowed()).await;
    let mut peer = Peer::dial(&world.address).await;
    peer.open(1, &endpoint("count"), Flags::NO_MESSAGE, b"").await;
    for _ in 0..4 {
        peer.message(1, Flags::NONE, &[1; 512 - COST]).await;
    }
    let credit = loop {
        match peer.next().await.expect("a frame") {
            Seen::Credit { call: 1, bytes } => break bytes as usize,
            Seen::Accept { .. } => {}
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(credit, WINDOW / 2);
    peer.end(1, 4).await;
    assert_eq!(peer.expect_message(1).await.1, format!("4 messages, {} bytes", 4 * (512 - COST)));
}

/// Case A20: a handler that never reads its request, 50,000 times over one connection; nothing leaks, nothing sticks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_thousand_unread_requests_leak_nothing() {
    let world = World::with_connection(windowed()).await;
    let mut peer = Peer::dial(&world.address).await;
    let rounds = 500_u64;
    for round in 0..rounds {
        let mut out = BytesMut::new();
        for number in 0..100 {
            let call = 2 * (100 * round + number) + 1;
            Peer::write_open(&mut out, call, &endpoint("deaf"), Flags::NO_MESSAGE, b"");
            encode_message_head(&mut out, call, Flags::NONE, 1000);
            out.extend_from_slice(&[1; 1000]);
        }
        peer.send_bytes(&out).await;
        for _ in 0..100 {
            assert!(matches!(peer.expect().await, Seen::Message { flags: Flags::END, .. }));
        }
    }
    let stats = world.server.stats();
    assert_eq!((stats.started, stats.in_flight, stats.connections), (100 * rounds, 0, 1));
    peer.open(u64::MAX, &endpoint("echo"), Flags::END, &[7; WINDOW - COST]).await;
    assert_eq!(peer.expect_message(u64::MAX).await.1.len(), WINDOW - COST);
}

/// Case A20: sizes around the window, as one message and as a stream of two, in both directions.
#[tokio::test]
async fn sizes_around_the_window_flow() {
    let world = World::with_connection(windowed()).await;
    let client = client(ClientConfig::default().connection(windowed()));
    for length in [WINDOW - COST - 1, WINDOW - COST, WINDOW - 1, WINDOW, WINDOW + 1, 2 * WINDOW + 1] {
        let message = vec![3_u8; length];
        assert_eq!(soon(echo(&client, &world.address, message.clone())).await.expect("an answer"), message);
        let (sender, body) = Body::channel(1);
        let call = client.call(&world.address, Request::new(endpoint("count"), body));
        let send = async {
            sender.send(message.clone()).await.expect("a reader");
            sender.send(message.clone()).await.expect("a reader");
            sender.finish().await
        };
        let (answer, _) = soon(async { tokio::join!(call, send) }).await;
        let answer = answer.expect("an answer").message().await.expect("one message");
        assert_eq!(answer, format!("2 messages, {} bytes", 2 * length));
    }
    until(|| client.stats().in_flight == 0).await;
}
