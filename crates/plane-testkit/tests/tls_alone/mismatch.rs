//! One side speaks TLS and the other does not.

use plane_core::{ErrorKind, Refusal, RequestPlaneServer};
use plane_tcp::{ClientConfig, TcpClient, TlsClientConfig};
use plane_testkit::Authority;
use plane_testkit::peer::{Peer, PeerListener};

use crate::world::{HERE, World, client, plain, refused, trusting, until, with_tls, works};

/// Threat D1: a caller that speaks no TLS is told that the server expects it, and which variable it is about.
#[tokio::test]
async fn a_plain_hello_to_a_tls_port() {
    let authority = Authority::new();
    let mut world = World::start(with_tls(&authority.sign(HERE))).await;
    let said = refused(&TcpClient::new(ClientConfig::default()), &world.address_as("tcp"), ErrorKind::Protocol).await;
    assert!(said.contains("expects TLS") && said.contains("DYN_TCP_TLS_CA"), "{said}");
    world.nobody_called();
    works(&trusting(&authority), &world.address).await;
    until(|| world.server.stats().refusals.of(Refusal::Tls) == 1).await;
}

/// Threat D1: other strangers are closed without a word, and so is who says nothing and leaves.
#[tokio::test]
async fn strangers_at_a_tls_port_are_closed() {
    let authority = Authority::new();
    let world = World::start(with_tls(&authority.sign(HERE))).await;
    for hello in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"CONNECT {\"verbose\":false}\r\n", b"\x00\xff\xfe"] {
        let mut stranger = Peer::connect(&world.address).await;
        stranger.send_bytes(hello).await;
        stranger.expect_closed_without_a_word().await;
    }
    drop(Peer::connect(&world.address).await);
    works(&trusting(&authority), &world.address).await;
    assert_eq!(world.server.stats().connections, 1);
}

/// Threat D2: a caller that speaks TLS to a server without it is told so for certain.
#[tokio::test]
async fn a_tls_hello_to_a_plain_port() {
    let authority = Authority::new();
    let mut world = World::start(plain()).await;
    let said = refused(&trusting(&authority), &world.address_as("tls"), ErrorKind::Protocol).await;
    assert!(said.contains("does not speak TLS") && said.contains("DYN_TCP_TLS_CERT"), "{said}");
    world.nobody_called();
    works(&trusting(&authority), &world.address).await;
}

/// A server of something else does not answer TLS either.
#[tokio::test]
async fn a_strange_server_without_tls() {
    let authority = Authority::new();
    for greeting in [&b"INFO {\"server_id\":\"x\"}\r\n"[..], b"220 mail\r\n"] {
        let listener = PeerListener::bind().await;
        let port = listener.address().to_string().rsplit_once(':').unwrap().1.parse().unwrap();
        let (caller, address) = (trusting(&authority), crate::world::at("tls", port));
        let calling = refused(&caller, &address, ErrorKind::Protocol);
        let answering = async {
            let mut stranger = listener.accept_silent().await;
            stranger.send_bytes(greeting).await;
            stranger
        };
        let (said, _stranger) = tokio::join!(calling, answering);
        assert!(said.contains("does not speak TLS"), "{said}");
    }
}

/// A client that requires TLS dials no server without it, and says which variable that is.
#[tokio::test]
async fn a_client_that_requires_tls() {
    let authority = Authority::new();
    let mut world = World::start(plain()).await;
    let caller = client(TlsClientConfig::new(authority.roots()).required(true));
    let said = refused(&caller, &world.address, ErrorKind::FailedPrecondition).await;
    assert!(said.contains("DYN_TCP_TLS_REQUIRED"), "{said}");
    world.nobody_called();
}

/// A client without roots dials no server with TLS, and says which variable is missing.
#[tokio::test]
async fn a_client_that_trusts_nobody() {
    let authority = Authority::new();
    let mut world = World::start(with_tls(&authority.sign(HERE))).await;
    for caller in [TcpClient::new(ClientConfig::default()), client(TlsClientConfig::without_roots())] {
        let said = refused(&caller, &world.address, ErrorKind::FailedPrecondition).await;
        assert!(said.contains("DYN_TCP_TLS_CA"), "{said}");
    }
    world.nobody_called();
}
