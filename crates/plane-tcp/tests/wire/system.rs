//! What the operating system adds.

use std::net::{Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use plane_core::frame::Flags;
use plane_core::{Request, RequestPlaneClient};
use plane_tcp::{ClientConfig, ConnectionConfig, Listen, ServerConfig};
use plane_testkit::peer::Peer;
use tokio::net::{TcpListener, TcpStream};

use crate::alone::{alone, resident};
use crate::world::{World, client, echo, endpoint, soon};

/// Case A18: an IPv6 listener is reached by its bracketed address, which reads back as it is shown.
#[tokio::test]
async fn an_ipv6_listener_is_reached() {
    let bind = SocketAddr::from((Ipv6Addr::LOCALHOST, 0));
    if TcpListener::bind(bind).await.is_err() {
        return eprintln!("skipped: this host has no ::1");
    }
    let world = World::with(ServerConfig::new(Listen::Tcp { bind, advertise: None })).await;
    let shown = world.address.to_string();
    assert!(shown.starts_with("tcp://[::1]:"), "{shown}");
    let address = shown.parse().expect("an address");
    assert_eq!(echo(&client(ClientConfig::default()), &address, "six").await.expect("an answer"), "six");
}

/// Case A16: small items in both directions take turns 200 times. With Nagle's algorithm on either side each turn would
/// wait for a delayed acknowledgement of 40 ms, eight seconds in all.
#[tokio::test]
async fn small_messages_do_not_wait_for_acknowledgements() {
    let world = World::start().await;
    let mut peer = Peer::dial(&world.address).await;
    peer.open(1, &endpoint("echo"), Flags::NO_MESSAGE, b"").await;
    let mut turns = Vec::new();
    for _ in 0..200 {
        let began = Instant::now();
        peer.message(1, Flags::NONE, &[1; 64]).await;
        peer.message(1, Flags::NONE, &[2; 64]).await;
        assert_eq!(peer.expect_message(1).await.1[..], [1; 64]);
        assert_eq!(peer.expect_message(1).await.1[..], [2; 64]);
        turns.push(began.elapsed());
    }
    turns.sort_unstable();
    assert!(turns[turns.len() / 4] < Duration::from_millis(35), "a quarter of the turns took {:?} or more", turns[50]);
}

/// Case A3: a thousand heads that declare a large body cost the server next to nothing.
#[tokio::test]
async fn declared_lengths_cost_no_memory() {
    let largest = ConnectionConfig::default().max_frame(16 << 20).expect("in range");
    let world = World::with_connection(largest).await;
    let mut peers = Vec::new();
    for _ in 0..200 {
        let mut peer = Peer::dial(&world.address).await;
        peer.open(1, &endpoint("hang"), Flags::NO_MESSAGE, b"").await;
        peer.send(|out| plane_core::frame::encode_message_head(out, 1, Flags::NONE, 16 << 20)).await;
        peer.send_bytes(&[0; 10]).await;
        peers.push(peer);
    }
    world.still_answers().await;
    // 3.2 GiB were declared.
    assert!(resident() < 512 << 20, "{} bytes are resident", resident());
}

/// Case A17: more connections than descriptors; the server waits for free ones, serves those that it has, and takes the
/// others once there is room.
#[tokio::test]
async fn accepting_recovers_when_descriptors_run_out() {
    if !alone("system::accepting_recovers_when_descriptors_run_out", 64).await {
        return;
    }
    let world = World::start().await;
    let client = client(ClientConfig::default());
    assert_eq!(echo(&client, &world.address, "before").await.expect("an answer"), "before");
    let plane_core::Address::Tcp { port, .. } = world.address else { panic!("not a TCP address") };
    let mut open = Vec::new();
    let failed = loop {
        match TcpStream::connect(("127.0.0.1", port)).await {
            Ok(stream) => open.push(stream),
            Err(error) => break error,
        }
    };
    assert_eq!(failed.raw_os_error(), Some(24), "{failed}");
    // The connection that is open goes on although nothing can be accepted.
    assert_eq!(soon(echo(&client, &world.address, "during")).await.expect("an answer"), "during");
    drop(open);
    let mut peer = Peer::dial(&world.address).await;
    peer.open(1, &endpoint("echo"), Flags::END, b"after").await;
    assert_eq!(peer.expect_message(1).await.1, "after");
    let request = Request::new(endpoint("echo"), "after");
    assert!(client.call(&world.address, request).await.is_ok());
}
