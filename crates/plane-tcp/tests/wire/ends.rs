//! How calls end at a server.

use std::time::{Duration, Instant};

use bytes::BytesMut;
use plane_core::frame::{Cancel, Flags, OpenFields, encode_cancel, encode_message_head, encode_open};
use plane_core::{Code, Headers, RequestPlaneServer};
use plane_tcp::ConnectionConfig;
use plane_testkit::peer::{Peer, Seen};

use crate::world::{Event, World, endpoint, soon, until};

/// What follows the OPEN of a call that came after the GOAWAY crossed it. It must not end the calls that are finishing.
#[tokio::test]
async fn a_call_that_crosses_a_goaway_leaves_the_others_alone() {
    let world = World::start().await;
    let mut peer = Peer::dial(&world.address).await;
    peer.open(1, &endpoint("count"), Flags::NO_MESSAGE, b"").await;
    peer.open(3, &endpoint("echo"), Flags::END, b"before").await;
    assert_eq!(peer.expect_message(3).await.1, "before");
    let script = async {
        assert_eq!(peer.expect_go_away().await.last_call, 3);
        peer.open(5, &endpoint("count"), Flags::NO_MESSAGE, b"").await;
        peer.message(5, Flags::NONE, b"late").await;
        peer.end(5, 1).await;
        peer.message(1, Flags::NONE, b"one").await;
        peer.end(1, 1).await;
        assert_eq!(peer.expect_message(1).await.1, "1 messages, 3 bytes");
        peer.expect_closed().await;
    };
    let drain = world.server.drain(Instant::now() + Duration::from_secs(60));
    let (report, ()) = soon(async { tokio::join!(drain, script) }).await;
    assert_eq!((report.finished, report.aborted), (1, 0));
}

/// Threat B3: a peer that closes its half still gets the answers to what it asked.
#[tokio::test]
async fn a_half_closed_peer_gets_its_answer() {
    let world = World::start().await;
    let mut peer = Peer::dial(&world.address).await;
    let large = vec![5; 500_000];
    let mut out = BytesMut::new();
    Peer::write_open(&mut out, 1, &endpoint("echo"), Flags::MORE, &large[..200_000]);
    encode_message_head(&mut out, 1, Flags::MORE, 200_000);
    out.extend_from_slice(&large[200_000..400_000]);
    encode_message_head(&mut out, 1, Flags::END, 100_000);
    out.extend_from_slice(&large[400_000..]);
    peer.send_bytes(&out).await;
    peer.half_close().await;
    let mut answer = Vec::new();
    while answer.len() < large.len() {
        answer.extend_from_slice(&peer.expect_message(1).await.1);
    }
    assert_eq!(answer, large);
    peer.expect_closed().await;
}

/// A request that was not whole when its caller closed never will be: the handler is told, and can still answer.
#[tokio::test]
async fn a_request_that_breaks_off_is_told_to_its_handler() {
    let world = World::start().await;
    let mut peer = Peer::dial(&world.address).await;
    peer.open(1, &endpoint("count"), Flags::NONE, b"one").await;
    peer.half_close().await;
    assert_eq!(peer.expect_message(1).await.1, "1 messages, 3 bytes, Truncated");
    peer.expect_closed().await;
}

/// A deadline holds after the caller has closed its half as well.
#[tokio::test]
async fn a_deadline_holds_for_a_half_closed_peer() {
    let mut world = World::start().await;
    let mut peer = Peer::dial(&world.address).await;
    let (headers, hang) = (Headers::new(), endpoint("hang"));
    let timeout = Some(Duration::from_millis(300));
    let fields = OpenFields { endpoint: &hang, instance: None, timeout, headers: &headers };
    peer.send(|out| encode_open(out, 1, Flags::END, &fields, 0)).await;
    peer.half_close().await;
    let (_, end) = peer.expect_end(1).await;
    assert_eq!(end.status.map(|status| status.code()), Some(Code::DEADLINE_EXCEEDED));
    assert_eq!(soon(world.events.recv()).await, Some(Event::Started));
    assert_eq!(soon(world.events.recv()).await, Some(Event::Dropped));
}

/// Threats A31 and B5: a connection that is reset in the middle of a frame ends its calls; a partial message is never
/// delivered.
#[tokio::test]
async fn a_reset_in_the_middle_of_a_frame_ends_its_calls() {
    let mut world = World::start().await;
    let mut peer = Peer::dial(&world.address).await;
    peer.open(1, &endpoint("hang"), Flags::NO_MESSAGE, b"").await;
    assert_eq!(soon(world.events.recv()).await, Some(Event::Started));
    let mut half = BytesMut::new();
    encode_message_head(&mut half, 1, Flags::NONE, 1000);
    half.extend_from_slice(&[1; 10]);
    peer.send_bytes(&half).await;
    peer.reset();
    assert_eq!(soon(world.events.recv()).await, Some(Event::Dropped));
    until(|| world.server.stats().connections == 0 && world.server.stats().in_flight == 0).await;
}

/// An aborted call is answered with an END, so that its caller knows that it does not count any more.
#[tokio::test]
async fn an_aborted_call_is_answered() {
    let mut world = World::start().await;
    let mut peer = Peer::dial(&world.address).await;
    peer.open(1, &endpoint("hang"), Flags::END, b"").await;
    assert_eq!(soon(world.events.recv()).await, Some(Event::Started));
    peer.send(|out| encode_cancel(out, 1, Cancel::Abort(Code::CANCELLED))).await;
    let (not_executed, end) = peer.expect_end(1).await;
    assert_eq!((not_executed, end.status.map(|status| status.code())), (false, Some(Code::CANCELLED)));
    assert_eq!(soon(world.events.recv()).await, Some(Event::Dropped));
}

/// Case A2: a message over the limit ends its own call, before it is stored; at the limit it passes.
#[tokio::test]
async fn a_message_over_the_limit_ends_its_call_alone() {
    let limits = ConnectionConfig::default().max_message(1000).expect("in range");
    let world = World::with_connection(limits).await;
    let mut peer = Peer::dial(&world.address).await;
    assert_eq!(peer_refused(&mut peer, 1, 1001, Flags::END).await, Some((true, Code::MESSAGE_TOO_LARGE)));
    assert_eq!(peer_refused(&mut peer, 3, 1001, Flags::NONE).await, Some((true, Code::MESSAGE_TOO_LARGE)));
    assert_eq!(peer_refused(&mut peer, 5, 1000, Flags::END).await, None);
    // In two chunks, of which the second is too much, and one more that was on its way.
    peer.open(7, &endpoint("count"), Flags::MORE, &[1; 600]).await;
    peer.message(7, Flags::MORE, &[1; 600]).await;
    peer.message(7, Flags::END, &[1; 600]).await;
    let (not_executed, end) = peer.expect_end(7).await;
    let code = end.status.map(|status| status.code());
    assert_eq!((not_executed, code), (false, Some(Code::MESSAGE_TOO_LARGE)));
    peer.open(9, &endpoint("echo"), Flags::END, b"hi").await;
    assert_eq!(peer.expect_message(9).await.1, "hi");
}

async fn peer_refused(peer: &mut Peer, call: u64, length: usize, flags: Flags) -> Option<(bool, Code)> {
    peer.open(call, &endpoint("deaf"), flags, &vec![1; length]).await;
    match peer.expect().await {
        Seen::End { not_executed, end, .. } => Some((not_executed, end.status.expect("a refusal").code())),
        Seen::Message { .. } => None,
        other => panic!("{other:?}"),
    }
}

/// Cases A7 and A8: hostile names and header blocks are answered, and end nothing but their call.
#[tokio::test]
async fn hostile_names_and_headers_end_their_call_alone() {
    let world = World::start().await;
    let mut peer = Peer::dial(&world.address).await;
    let cases: [(&[u8], Vec<u8>, Code); 6] = [
        (b"../../etc/passwd", Vec::new(), Code::INVALID_ARGUMENT),
        (b"a\0b", Vec::new(), Code::INVALID_ARGUMENT),
        (b"a..b", Vec::new(), Code::INVALID_ARGUMENT),
        (b"demo.wire.nobody", Vec::new(), Code::NOT_FOUND),
        (b"demo.wire.echo", vec![1; 17 * 1024], Code::HEADERS_TOO_LARGE),
        (b"demo.wire.echo", b"\x01\x00\x01x\xff".to_vec(), Code::INVALID_ARGUMENT),
    ];
    for (call, (name, block, code)) in (1..).step_by(2).zip(cases) {
        peer.send(|out| raw_open(out, call, name, &block)).await;
        let (not_executed, end) = peer.expect_end(call).await;
        assert_eq!((not_executed, end.status.map(|status| status.code())), (true, Some(code)));
    }
    peer.open(99, &endpoint("echo"), Flags::END, b"hi").await;
    assert_eq!(peer.expect_message(99).await.1, "hi");
}

/// An OPEN with END whose name and header block are these bytes, good or not.
pub(crate) fn raw_open(out: &mut BytesMut, call: u64, name: &[u8], block: &[u8]) {
    use bytes::BufMut;
    let length = u32::try_from(19 + name.len() + block.len()).expect("short");
    plane_core::frame::Head::new(plane_core::frame::Kind::OPEN, Flags::END, call, length).encode(out);
    out.put_bytes(0, 16);
    out.put_u8(u8::try_from(name.len()).expect("short"));
    out.put_u16(u16::try_from(block.len()).expect("short"));
    out.put_slice(name);
    out.put_slice(block);
}

/// Threat C26: whatever a request says about where its caller is, answers use its own connection, and nothing is dialled.
#[tokio::test]
async fn no_address_in_a_request_is_dialled() {
    let world = World::start().await;
    let elsewhere = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    elsewhere.set_nonblocking(true).expect("a socket");
    let address = elsewhere.local_addr().expect("bound").to_string();
    let mut headers = Headers::new();
    for name in ["x-callback", "x-reply-to", "x-response-address", "host", "forwarded"] {
        headers.insert(name, address.parse().expect("a header value"));
    }
    let mut peer = Peer::dial(&world.address).await;
    let echo = endpoint("echo");
    let fields = OpenFields { endpoint: &echo, instance: None, timeout: None, headers: &headers };
    peer.send(|out| {
        encode_open(out, 1, Flags::END, &fields, address.len());
        out.extend_from_slice(address.as_bytes());
    })
    .await;
    assert_eq!(peer.expect_message(1).await.1, address);
    assert_eq!(elsewhere.accept().expect_err("nobody dials it").kind(), std::io::ErrorKind::WouldBlock);
}
