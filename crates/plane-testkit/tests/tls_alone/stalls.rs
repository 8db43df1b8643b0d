//! Handshakes that are not finished.

use std::time::{Duration, Instant};

use plane_core::{ErrorKind, RequestPlaneServer};
use plane_testkit::peer::{Peer, PeerListener};
use plane_testkit::{Authority, ChaosProxy, Faults};

use crate::world::{HERE, World, at, client, refused, trusting, with_tls, works};
use plane_tcp::{ClientConfig, TcpClient, TlsClientConfig};

/// The beginning of a hello of TLS: a record of 512 bytes, of which these are the first.
const HALF_A_HELLO: &[u8] = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";

/// Threat D7: whoever does not finish its handshake is closed when the time for a hello is over, 5 s by default; others
/// are served meanwhile.
#[tokio::test]
async fn a_handshake_that_stalls_is_closed() {
    let authority = Authority::new();
    let world = World::start(with_tls(&authority.sign(HERE))).await;
    let began = Instant::now();
    let mut silent = Peer::connect(&world.address).await;
    let mut halting = Peer::connect(&world.address).await;
    halting.send_bytes(HALF_A_HELLO).await;
    works(&trusting(&authority), &world.address).await;
    silent.expect_closed_without_a_word().await;
    halting.expect_closed_without_a_word().await;
    // Not before its time, and not much later: the machine may be busy.
    let took = began.elapsed();
    assert!((Duration::from_secs(4)..Duration::from_secs(20)).contains(&took), "{took:?}");
}

/// Threat D7: those who do not finish count as connections.
#[tokio::test]
async fn handshakes_count_as_connections() {
    let authority = Authority::new();
    let config = with_tls(&authority.sign(HERE)).max_connections(2).expect("in range");
    let world = World::start(config).await;
    let mut halting = Peer::connect(&world.address).await;
    halting.send_bytes(HALF_A_HELLO).await;
    let caller = trusting(&authority);
    works(&caller, &world.address).await;
    let mut third = Peer::connect(&world.address).await;
    third.expect_closed_without_a_word().await;
    assert_eq!(world.server.stats().connections, 1);
}

/// A server that does not answer TLS is given up when the time to connect is over, and nothing was sent to it.
#[tokio::test]
async fn a_server_that_stalls_is_given_up() {
    let authority = Authority::new();
    let listener = PeerListener::bind().await;
    let port = listener.address().to_string().rsplit_once(':').unwrap().1.parse().unwrap();
    let config = ClientConfig::default().connect_timeout(Duration::from_millis(300)).expect("in range");
    let caller = TcpClient::new(config.tls(TlsClientConfig::new(authority.roots())).expect("files in order"));
    let address = at("tls", port);
    let calling = refused(&caller, &address, ErrorKind::Unavailable);
    let (said, _silent) = tokio::join!(calling, listener.accept_silent());
    assert!(said.contains("DYN_TCP_CONNECT_TIMEOUT"), "{said}");
}

/// However the bytes of a handshake come, it is the same handshake.
#[tokio::test]
async fn a_handshake_in_single_bytes() {
    let authority = Authority::new();
    let world = World::start(with_tls(&authority.sign(HERE))).await;
    let upstream = std::net::SocketAddr::from((std::net::Ipv4Addr::LOCALHOST, world.port()));
    let proxy = ChaosProxy::start(upstream).await.unwrap();
    proxy.set_both(Faults::in_pieces(1));
    works(&client(TlsClientConfig::new(authority.roots())), &at("tls", proxy.address().port())).await;
}
