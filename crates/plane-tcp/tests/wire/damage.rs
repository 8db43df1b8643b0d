//! Bytes that are cut off, turned over, or look like something that this protocol does not do.

use std::time::Duration;

use bytes::BytesMut;
use plane_core::frame::{Flags, Hello, encode_message_head};
use plane_core::{Address, Error, ErrorKind, Request, RequestPlaneClient, RequestPlaneServer};
use plane_tcp::ClientConfig;
use plane_testkit::peer::Peer;
use plane_testkit::{ChaosProxy, Direction, Faults};

use crate::world::{World, client, endpoint, soon, until};

/// Threat A31, at the server: a hello and a call of two chunks, cut at every few bytes, then closed or reset. No part of
/// the message is ever taken for the whole.
#[tokio::test]
async fn a_request_cut_anywhere_is_never_whole() {
    let world = World::start().await;
    let mut bytes = BytesMut::new();
    Hello::default().encode(&mut bytes);
    Peer::write_open(&mut bytes, 1, &endpoint("echo"), Flags::MORE, &[1; 300]);
    encode_message_head(&mut bytes, 1, Flags::END, 10);
    bytes.extend_from_slice(&[2; 10]);
    for cut in (0..bytes.len()).step_by(3).chain(bytes.len() - 30..bytes.len()) {
        let mut peer = Peer::connect(&world.address).await;
        peer.send_bytes(&bytes[..cut]).await;
        if cut % 2 == 0 { peer.reset() } else { drop(peer) }
    }
    until(|| world.server.stats().connections == 0 && world.server.stats().in_flight == 0).await;
    let stats = world.server.stats();
    assert_eq!(stats.completed, 0, "{stats:?}");
    world.still_answers().await;
}

/// What one call over a connection with a bit turned over comes to.
async fn damaged(port: u16, direction: Direction, at: u64) -> Result<usize, Error> {
    let proxy = ChaosProxy::start((std::net::Ipv4Addr::LOCALHOST, port).into()).await.expect("a free port");
    let mut faults = Faults::none();
    faults.corrupt_at = Some(at);
    proxy.set(direction, faults);
    let client = client(ClientConfig::default().connect_timeout(Duration::from_millis(500)).expect("in range"));
    let address = Address::tcp(proxy.address());
    let request = Request::new(endpoint("echo"), &b"0123456789abcdef"[..]).with_timeout(Duration::from_millis(500));
    Ok(client.call(&address, request).await?.message().await?.len())
}

/// Threat A32: one bit turned over anywhere in the hellos, the call and its answer. There is no checksum, so a payload may be
/// damaged; but every call ends typed and in time, and nothing else is harmed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_bit_anywhere_ends_typed() {
    let world = World::start().await;
    let Address::Tcp { port, .. } = world.address else { panic!("not a TCP address") };
    let kinds = [
        ErrorKind::Protocol,
        ErrorKind::Disconnected,
        ErrorKind::Unavailable,
        ErrorKind::DeadlineExceeded,
        ErrorKind::NotFound,
        ErrorKind::InvalidArgument,
        ErrorKind::Truncated,
    ];
    let all: Vec<_> = [Direction::ToServer, Direction::ToClient]
        .into_iter()
        .flat_map(|to| (0..160).map(move |at| (to, at)))
        .collect();
    let (mut answered, mut failed) = (0, 0);
    for some in all.chunks(40) {
        let calls: Vec<_> = some.iter().map(|(direction, at)| tokio::spawn(damaged(port, *direction, *at))).collect();
        for ((direction, at), call) in some.iter().zip(calls) {
            match soon(call).await.expect("no panic") {
                Ok(length) => {
                    answered += 1;
                    assert!(length <= 17, "{length} bytes with byte {at} {direction:?} damaged");
                }
                Err(error) => {
                    failed += 1;
                    assert!(kinds.contains(&error.kind()), "byte {at} {direction:?}: {error:?}");
                }
            }
        }
    }
    assert!(answered > 0 && failed > 0, "{answered} answered and {failed} failed");
    until(|| world.server.stats().in_flight == 0).await;
    world.still_answers().await;
}

/// Threat A34: there is no compression. It is not offered to a peer that offers everything, and what is compressed by the
/// application travels as it is.
#[tokio::test]
async fn nothing_is_ever_decompressed() {
    let world = World::start().await;
    let mut peer = Peer::connect(&world.address).await;
    peer.send(|out| Hello { features: u64::MAX, ..Hello::default() }.encode(out)).await;
    assert_eq!(peer.expect_hello().await.features, 0);
    let bomb = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\xec\xc1\x01\x01\x00\x00";
    let mut request = Request::new(endpoint("echo"), &bomb[..]);
    request.headers.insert("content-encoding", "gzip".parse().expect("printable"));
    let answer = client(ClientConfig::default()).call(&world.address, request).await.expect("an answer");
    assert_eq!(answer.message().await.expect("one message"), bomb[..]);
}
