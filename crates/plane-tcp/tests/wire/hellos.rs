//! Hellos of other versions, and hellos that break the rules.

use std::time::Duration;

use bytes::BytesMut;
use plane_core::frame::{Flags, Head, Hello, Kind, PREFACE};
use plane_core::{Code, Delivery, ErrorKind, Request, RequestPlaneClient};
use plane_tcp::{ClientConfig, ConnectionConfig};
use plane_testkit::peer::{Peer, PeerListener};

use crate::world::{World, client, echo, endpoint, soon};

fn later_version() -> Hello {
    Hello { version_min: 2, version_max: 3, ..Hello::default() }
}

/// A HELLO without any field: an older peer, for which every default holds.
#[tokio::test]
async fn a_peer_that_leaves_everything_out_is_served() {
    let world = World::start().await;
    let mut peer = Peer::connect(&world.address).await;
    let mut hello = BytesMut::from(&PREFACE[..]);
    Head::new(Kind::HELLO, Flags::NONE, 0, 0).encode(&mut hello);
    peer.send_bytes(&hello).await;
    let theirs = peer.expect_hello().await;
    assert_eq!(Hello { agent: String::new(), ..theirs }, Hello::default());
    peer.open(1, &endpoint("echo"), Flags::END, b"hi").await;
    assert_eq!(peer.expect_message(1).await.1, "hi");
}

/// Case A1: a hello and a call that come byte by byte, or all at once. The call behind the hello does not wait for
/// further bytes: not even for the answer to a ping, which the first of the server would bring.
#[tokio::test]
async fn a_hello_may_come_in_any_pieces() {
    let world = World::start().await;
    let mut bytes = BytesMut::new();
    Hello::default().encode(&mut bytes);
    Peer::write_open(&mut bytes, 1, &endpoint("echo"), Flags::END, b"hi");
    let began = std::time::Instant::now();
    for piece in [1, 7, bytes.len()] {
        let mut peer = Peer::connect(&world.address).await;
        for piece in bytes.chunks(piece) {
            peer.send_bytes(piece).await;
        }
        peer.expect_hello().await;
        assert_eq!(peer.expect_message(1).await.1, "hi");
    }
    assert!(began.elapsed() < Duration::from_secs(10), "a call waited for a ping");
}

/// Threat A29: a peer of another version learns ours, and why it is closed.
#[tokio::test]
async fn a_dialler_of_another_version_is_told_ours() {
    let world = World::start().await;
    let mut peer = Peer::connect(&world.address).await;
    peer.send(|out| later_version().encode(out)).await;
    assert_eq!(peer.expect_hello().await.version_max, 1);
    assert_eq!(peer.expect_go_away().await.code, Code::PROTOCOL);
    peer.expect_closed().await;
    let mut peer = Peer::connect(&world.address).await;
    peer.send_bytes(b"PLANE\0\0\x02").await;
    assert_eq!(peer.expect_hello().await.version_max, 1);
    assert_eq!(peer.expect_go_away().await.code, Code::PROTOCOL);
    peer.expect_closed().await;
}

/// Threat A29, from the other side: nothing was sent, and the error names both versions.
#[tokio::test]
async fn a_server_of_another_version_is_an_error_at_once() {
    let listener = PeerListener::bind().await;
    let client = client(ClientConfig::default());
    let address = listener.address();
    let call = client.call(&address, Request::new(endpoint("echo"), "hi"));
    let later = later_version();
    let (result, _peer) = soon(async { tokio::join!(call, listener.accept_with(&later)) }).await;
    let error = result.expect_err("no answer");
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Protocol, Delivery::NotSent));
    assert!(error.message().contains('1') && error.message().contains("2 to 3"), "{error}");
}

/// Threats A6 and A20: what is wrong with a hello, and a second one.
#[tokio::test]
async fn a_bad_or_second_hello_is_refused() {
    let world = World::start().await;
    let small = Hello { max_frame: 1024, ..Hello::default() };
    let mut peer = Peer::connect(&world.address).await;
    peer.send(|out| small.encode(out)).await;
    peer.expect_hello().await;
    assert_eq!(peer.expect_go_away().await.code, Code::PROTOCOL);

    let mut peer = Peer::connect(&world.address).await;
    let mut long = BytesMut::from(&PREFACE[..]);
    Head::new(Kind::HELLO, Flags::NONE, 0, 4097).encode(&mut long);
    peer.send_bytes(&long).await;
    peer.expect_hello().await;
    assert_eq!(peer.expect_go_away().await.code, Code::PROTOCOL);

    let mut peer = Peer::dial(&world.address).await;
    let mut second = BytesMut::new();
    Hello::default().encode(&mut second);
    peer.send_bytes(&second[PREFACE.len()..]).await;
    assert_eq!(peer.expect_go_away().await.code, Code::PROTOCOL);
    peer.expect_closed().await;
    world.still_answers().await;
}

/// The smallest frames and credit that a peer may ask for carry the largest headers and messages.
#[tokio::test]
async fn a_peer_with_the_smallest_limits_is_served() {
    let small = ConnectionConfig::default().max_frame(32 << 10).expect("in range").credit(1024).expect("in range");
    let world = World::with_connection(small.clone()).await;
    for connection in [small, ConnectionConfig::default()] {
        let client = client(ClientConfig::default().connection(connection));
        for length in [0, 1, 255, 256, 959, 960, 961, 1024, 100_000] {
            let message = vec![7; length];
            assert_eq!(soon(echo(&client, &world.address, message.clone())).await.expect("an answer"), message);
        }
        let mut request = Request::new(endpoint("echo"), vec![1; 2000]).with_timeout(Duration::from_secs(60));
        request.headers.insert("x-large", "v".repeat(16 * 1024 - 10).parse().expect("printable"));
        assert_eq!(
            soon(client.call(&world.address, request)).await.expect("an answer").message().await.expect("one").len(),
            2000
        );
    }
}
