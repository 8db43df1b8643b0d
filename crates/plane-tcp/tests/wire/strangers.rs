//! Peers that do not speak plane/1.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use plane_core::frame::PREFACE;
use plane_core::{Delivery, ErrorKind, Refusal, Request, RequestPlaneClient};
use plane_tcp::{ClientConfig, ServerConfig};
use plane_testkit::peer::{Peer, PeerListener};

use crate::world::{World, client, endpoint, loopback, soon, until};
use plane_core::RequestPlaneServer;

/// Case A4 and threat A28: closed at once, without a byte that the stranger might take for its own protocol, while it
/// still waits for an answer; others are unaffected.
#[tokio::test]
async fn strangers_are_closed_at_once() {
    let world = World::start().await;
    let mut neighbour = Peer::dial(&world.address).await;
    for hello in [
        &b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..],
        b"CONNECT {\"verbose\":false}\r\nPING\r\n",
        b"INFO {\"server_id\":\"x\"}\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x00\x01\x02\x03\xff\xfe\xfd\xfc",
        b"PLANT\x00\x00\x01",
        b"X",
    ] {
        let mut stranger = Peer::connect(&world.address).await;
        stranger.send_bytes(hello).await;
        stranger.expect_closed_without_a_word().await;
    }
    neighbour.open(1, &endpoint("echo"), plane_core::frame::Flags::END, b"hi").await;
    assert_eq!(neighbour.expect_message(1).await.1, "hi");
    // TLS cannot be taken for the preface, so whoever begins with it is told for certain that there is none here.
    let mut stranger = Peer::connect(&world.address).await;
    stranger.send_bytes(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03").await;
    stranger.expect_closed_after(&PREFACE).await;
    until(|| world.server.stats().connections == 1).await;
    until(|| world.server.stats().refusals.of(Refusal::Stranger) == 9).await;
}

/// Threats A1 and A2: who says nothing, or stops in the middle, is closed after the hello timeout.
#[tokio::test]
async fn a_slow_hello_is_closed() {
    let config = ServerConfig::new(loopback(0)).hello_timeout(Duration::from_millis(300)).expect("in range");
    let world = World::with(config).await;
    let mut silent = Peer::connect(&world.address).await;
    let mut halting = Peer::connect(&world.address).await;
    halting.send_bytes(b"PLANE\0\0\x01\0\0").await;
    silent.expect_closed_without_a_word().await;
    halting.expect_closed_without_a_word().await;
    until(|| world.server.stats().refusals.of(Refusal::HelloTimeout) == 2).await;
    world.still_answers().await;
}

/// Case A4: a dialler that meets a stranger says so at once, and that nothing was sent.
#[tokio::test]
async fn a_client_recognises_a_strange_server() {
    for greeting in [&b"INFO {\"server_id\":\"x\"}\r\n"[..], b"HTTP/1.1 400 Bad Request\r\n\r\n", b"220 mail\r\n"] {
        let listener = PeerListener::bind().await;
        let client = client(ClientConfig::default());
        let address = listener.address();
        let call = client.call(&address, Request::new(endpoint("echo"), "hi"));
        let (error, _stranger) = soon(async {
            tokio::join!(call, async {
                let mut stranger = listener.accept_silent().await;
                stranger.send_bytes(greeting).await;
                stranger
            })
        })
        .await;
        let error = error.expect_err("no answer");
        assert_eq!((error.kind(), error.delivery()), (ErrorKind::Protocol, Delivery::NotSent), "{error}");
        assert_eq!(client.stats().refusals.of(Refusal::Stranger), 1);
    }
}

/// What was logged, in lines.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("no panic").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Promise G6: a hundred refusals of one reason are one line of the log, and what the peer sent is escaped in it.
#[tokio::test]
async fn refusals_do_not_flood_the_log() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let _logging = tracing::subscriber::set_default(subscriber);
    let world = World::start().await;
    for _ in 0..100 {
        let mut stranger = Peer::connect(&world.address).await;
        stranger.send_bytes(b"GET / HTTP/1.1\r\n\r\n").await;
        stranger.expect_closed_without_a_word().await;
    }
    let mut peer = Peer::dial(&world.address).await;
    for call in (1..200).step_by(2) {
        peer.send(|out| crate::ends::raw_open(out, call, b"a\nb\x1b[31m\xff", b"")).await;
        peer.expect_end(call).await;
    }
    let text = String::from_utf8(log.0.lock().expect("no panic").clone()).expect("text");
    let lines = |what: &str| text.lines().filter(|line| line.contains(what)).count();
    assert_eq!((lines("stranger"), lines("invalid_call")), (1, 1), "{text}");
    assert!(text.contains("HTTP") && !text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
    assert_eq!(lines("WARN"), 2, "{text}");
    let refusals = world.server.stats().refusals;
    assert_eq!((refusals.of(Refusal::Stranger), refusals.of(Refusal::InvalidCall)), (100, 100));
}
