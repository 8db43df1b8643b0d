//! What a peer can make a server hold.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use plane_core::frame::{Flags, Head, Hello, Kind, encode_credit, encode_message_head};
use plane_core::{Address, Code, InstanceId, Refusal, RequestPlaneServer, Response, handler_fn};
use plane_tcp::{AbuseLimits, ConnectionConfig};
use plane_testkit::peer::Peer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::alone::{alone, resident};
use crate::world::{World, endpoint, soon, until};

const CROWD: usize = 1_000;

/// Two descriptors for each of the crowd, and some.
const DESCRIPTORS: u32 = 4_000;

fn with_abuse(change: impl FnOnce(&mut AbuseLimits)) -> ConnectionConfig {
    let mut limits = AbuseLimits::default();
    change(&mut limits);
    ConnectionConfig::default().abuse(limits).expect("in range")
}

/// Connections that have said hello and then these bytes. They hold no more of this process than a socket.
async fn crowd(world: &World, bytes: &[u8]) -> Vec<TcpStream> {
    let Address::Tcp { host, port } = &world.address else { panic!("not a TCP address") };
    let mut hello = BytesMut::new();
    Hello::default().encode(&mut hello);
    let mut crowd = Vec::new();
    for _ in 0..CROWD {
        let mut stream = TcpStream::connect((&**host, *port)).await.expect("a listener");
        stream.write_all(&hello).await.expect("an open connection");
        let mut preface = [0; 8];
        soon(stream.read_exact(&mut preface)).await.expect("the preface");
        stream.write_all(bytes).await.expect("an open connection");
        crowd.push(stream);
    }
    crowd
}

/// Waits until the server has read what a crowd sent: it answers what it is asked after that.
async fn settle(world: &World) {
    for _ in 0..3 {
        world.still_answers().await;
    }
}

/// Threats A1 and A5, promise G3: a thousand connections that have begun a frame, most of which never comes, cost what came.
#[tokio::test]
async fn a_thousand_begun_frames_cost_what_came() {
    if !alone("memory::a_thousand_begun_frames_cost_what_came", DESCRIPTORS).await {
        return;
    }
    let world = World::start().await;
    settle(&world).await;
    let before = resident();
    let mut largest = BytesMut::new();
    Peer::write_open(&mut largest, 1, &endpoint("hang"), Flags::NO_MESSAGE, b"");
    encode_message_head(&mut largest, 1, Flags::NONE, 256 << 10);
    let _crowd = crowd(&world, &largest).await;
    settle(&world).await;
    let grown = resident().saturating_sub(before);
    eprintln!("{} bytes for each of {CROWD} connections", grown / CROWD);
    // 250 MiB were declared.
    assert!(grown < (16 << 10) * CROWD, "{grown} bytes for {CROWD} connections");
}

/// Threat A1: a frame of which a byte comes now and then, on many connections, is given up after its time, and each of
/// them is counted; a neighbour does not notice.
#[tokio::test]
async fn frames_that_never_end_are_given_up() {
    if !alone("memory::frames_that_never_end_are_given_up", DESCRIPTORS).await {
        return;
    }
    let world = World::with_connection(with_abuse(|limits| limits.frame_timeout = Duration::from_millis(500))).await;
    let mut slow = crowd(&world, &[0, 0]).await;
    let drip = async {
        let mut turn = tokio::time::interval(Duration::from_millis(50));
        loop {
            turn.tick().await;
            for stream in &mut slow {
                // Those that were given up refuse it.
                let _ = stream.try_write(&[0]);
            }
        }
    };
    let given_up = until(|| world.server.stats().refusals.of(Refusal::FrameTimeout) == CROWD as u64);
    tokio::select! {
        () = drip => {}
        () = given_up => {}
    }
    drop(slow);
    until(|| world.server.stats().connections == 0).await;
    world.still_answers().await;
}

/// Threat A4: a length of 4 GiB is refused from the head, and nothing is kept for it.
#[tokio::test]
async fn an_absurd_length_costs_nothing() {
    if !alone("memory::an_absurd_length_costs_nothing", 256).await {
        return;
    }
    let world = World::start().await;
    let absurd = |out: &mut BytesMut| Head::new(Kind::MESSAGE, Flags::NONE, 1, u32::MAX).encode(out);
    let mut before = 0;
    for round in 0..200 {
        // What the first rounds take is the runtime's.
        if round == 100 {
            before = resident();
        }
        let mut peer = Peer::dial(&world.address).await;
        peer.send(absurd).await;
        assert_eq!(peer.expect_go_away().await.code, Code::PROTOCOL);
    }
    let grown = resident().saturating_sub(before);
    assert!(grown < 100 * (64 << 10), "{grown} bytes for 100 connections");
    assert_eq!(world.server.stats().refusals.of(Refusal::Protocol), 200);
}

/// An endpoint whose every answer is the same 32 MiB.
async fn serve_large(world: &World) -> plane_core::Registration {
    let large = Bytes::from(vec![7; 32 << 20]);
    let handler = handler_fn(move |_, _| {
        let large = large.clone();
        async move { Ok(Response::new(large)) }
    });
    let instance = InstanceId::new(1).expect("not zero");
    world.server.register(endpoint("large"), instance, Arc::new(handler)).await.expect("free")
}

/// Threat A23: 512 answers of 32 MiB are asked for and taken a byte at a time. They wait where they are, and nothing of
/// them is copied for the wire beyond what the peer has credit for; the peer may do so only so often.
#[tokio::test]
async fn answers_that_are_taken_byte_by_byte_are_not_held_twice() {
    if !alone("memory::answers_that_are_taken_byte_by_byte_are_not_held_twice", 256).await {
        return;
    }
    let world = World::start().await;
    let _large = serve_large(&world).await;
    let mut peer = Peer::dial_with(&world.address, &Hello { credit: 1024, ..Hello::default() }).await;
    let before = resident();
    let calls = || (1..=1023).step_by(2);
    let mut out = BytesMut::new();
    calls().for_each(|call| Peer::write_open(&mut out, call, &endpoint("large"), Flags::END, b""));
    for _ in 0..10 {
        calls().for_each(|call| encode_credit(&mut out, call, 1));
    }
    peer.send_bytes(&out).await;
    for _ in calls() {
        peer.expect().await;
    }
    let grown = resident().saturating_sub(before);
    assert!(grown < 16 << 20, "{grown} bytes for 16 GiB of answers");
    out.clear();
    for _ in 0..10 {
        calls().for_each(|call| encode_credit(&mut out, call, 1));
    }
    for _ in 0..10 {
        if !peer.try_send_bytes(&out).await {
            break;
        }
    }
    assert_eq!(peer.expect_go_away().await.code, Code::ENHANCE_YOUR_CALM);
    until(|| world.server.stats().in_flight == 0).await;
    assert_eq!(world.server.stats().refusals.of(Refusal::IdleFrames), 1);
}

/// Threat A23: a peer that asks for much and takes nothing is given up after the time to write.
#[tokio::test]
async fn a_peer_that_takes_nothing_is_given_up() {
    let world = World::with_connection(with_abuse(|limits| limits.write_timeout = Duration::from_millis(300))).await;
    let _large = serve_large(&world).await;
    let mut peer = Peer::dial_with(&world.address, &Hello { credit: 1 << 30, ..Hello::default() }).await;
    // Each has only so much on its way beside the others; together it is more than the sockets hold.
    for call in (1..=1023).step_by(2) {
        peer.open(call, &endpoint("large"), Flags::END, b"").await;
    }
    until(|| world.server.stats().refusals.of(Refusal::WriteTimeout) == 1).await;
    until(|| world.server.stats().connections == 0 && world.server.stats().in_flight == 0).await;
    world.still_answers().await;
}
