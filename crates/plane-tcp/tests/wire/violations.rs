//! What no correct peer sends: the connection is told why and closed, its neighbours go on.

use bytes::BytesMut;
use plane_core::frame::{
    Cancel, Flags, Head, Kind, encode_accept, encode_cancel, encode_credit, encode_end, encode_headers,
    encode_message_head,
};
use plane_core::{Code, Headers, Refusal, RequestPlaneServer, Status};
use plane_testkit::peer::Peer;

use crate::world::{World, endpoint};

/// Sends these bytes after a call 1 whose request is still open; says what the server answers to that.
async fn told(world: &World, encode: impl FnOnce(&mut BytesMut)) -> Code {
    let mut peer = Peer::dial(&world.address).await;
    peer.open(1, &endpoint("count"), Flags::NO_MESSAGE, b"").await;
    peer.send(encode).await;
    let go_away = peer.expect_go_away().await;
    assert!(!go_away.text.is_empty());
    peer.expect_closed().await;
    go_away.code
}

macro_rules! violations {
    ($($(#[$doc:meta])* $name:ident: $code:ident = $encode:expr;)*) => {
        $($(#[$doc])*
        #[tokio::test]
        async fn $name() {
            let world = World::start().await;
            assert_eq!(told(&world, $encode).await, Code::$code);
            world.still_answers().await;
        })*
    };
}

fn head(kind: Kind, flags: u8, zero: u16, call: u64, length: u32) -> impl FnOnce(&mut BytesMut) {
    move |out| Head { zero, ..Head::new(kind, Flags(flags), call, length) }.encode(out)
}

fn open(out: &mut BytesMut, call: u64) {
    Peer::write_open(out, call, &endpoint("echo"), Flags::END, b"");
}

fn message(out: &mut BytesMut, call: u64, flags: Flags) {
    encode_message_head(out, call, flags, 0);
}

fn orderly_end(out: &mut BytesMut, count: u64) {
    encode_end(out, 1, Flags::NONE, count, None, None);
}

violations! {
    /// Threat A4, case A3.
    a_frame_over_the_limit: PROTOCOL = head(Kind::MESSAGE, 0, 0, 1, u32::MAX);
    /// Threat A9.
    an_unknown_kind: PROTOCOL = head(Kind(0x3f), 0, 0, 0, 0);
    /// Threat A10.
    reserved_bits: PROTOCOL = head(Kind::MESSAGE, 0x40, 0, 1, 0);
    /// Threat A10.
    reserved_bytes: PROTOCOL = head(Kind::MESSAGE, 0, 1, 1, 0);
    /// Threat A11.
    a_message_of_a_call_in_the_future: PROTOCOL = |out| message(out, 3, Flags::NONE);
    /// Threat A11.
    an_end_of_a_call_in_the_future: PROTOCOL = |out| encode_end(out, 9, Flags::NONE, 0, None, None);
    /// Threat A16.
    a_cancel_of_a_call_in_the_future: PROTOCOL = |out| encode_cancel(out, 3, Cancel::Stop);
    /// Threat A21.
    a_credit_of_a_call_in_the_future: PROTOCOL = |out| encode_credit(out, 3, 1024);
    /// Threat A13.
    an_id_in_use: PROTOCOL = |out| open(out, 1);
    /// Threat A13.
    an_id_of_the_other_parity: PROTOCOL = |out| open(out, 2);
    /// Threat A13.
    an_id_below_the_last: PROTOCOL = |out| {
        open(out, 9);
        open(out, 7);
    };
    /// Threat A15.
    a_message_after_the_end: PROTOCOL = |out| {
        Peer::write_open(out, 3, &endpoint("hang"), Flags::END, b"");
        message(out, 3, Flags::NONE);
    };
    /// Threat A15.
    a_second_end: PROTOCOL = |out| {
        Peer::write_open(out, 3, &endpoint("hang"), Flags::END, b"");
        encode_end(out, 3, Flags::NONE, 1, None, None);
    };
    a_second_message_that_says_it_is_the_only_one: PROTOCOL = |out| {
        message(out, 1, Flags::NONE);
        message(out, 1, Flags::END);
    };
    an_end_with_a_wrong_count: PROTOCOL = |out| orderly_end(out, 1);
    an_end_inside_of_a_message: PROTOCOL = |out| {
        encode_message_head(out, 1, Flags::MORE, 256);
        out.extend_from_slice(&[0; 256]);
        orderly_end(out, 0);
    };
    a_request_that_ends_with_a_status: PROTOCOL =
        |out| encode_end(out, 1, Flags::NONE, 0, Some(&Status::internal("no")), None);
    a_request_that_says_it_was_not_executed: PROTOCOL =
        |out| encode_end(out, 1, Flags::NOT_EXECUTED, 0, None, None);
    /// Threat A6: a name and a header block that are longer than the body.
    an_open_whose_lengths_do_not_fit: PROTOCOL = |out| {
        head(Kind::OPEN, 1, 0, 3, 19)(out);
        out.extend_from_slice(&[[0; 16].as_slice(), &[0xff, 0xff, 0xff]].concat());
    };
    /// Threat A6: text, details and trailers whose lengths overflow 16 bits in sum.
    an_end_whose_lengths_overflow: PROTOCOL = |out| {
        head(Kind::END, 0, 0, 1, 20)(out);
        out.extend_from_slice(&[[0; 14].as_slice(), &[0xff; 6]].concat());
    };
    /// Threat A25: a header of 1 MiB does not fit any frame.
    headers_larger_than_a_frame: PROTOCOL = head(Kind::OPEN, 1, 0, 3, 1 << 20);
    a_small_chunk: PROTOCOL = |out| message(out, 1, Flags::MORE);
    an_accept_from_the_dialler: PROTOCOL = |out| encode_accept(out, 1);
    headers_from_the_dialler: PROTOCOL = |out| encode_headers(out, 1, &Headers::new());
    /// Threat A21.
    a_credit_of_zero: PROTOCOL = |out| encode_credit(out, 1, 0);
    /// Threat A21.
    a_credit_beyond_reason: FLOW_CONTROL = |out| encode_credit(out, 1, u32::MAX / 2);
    /// Threat A22.
    more_than_the_credit: FLOW_CONTROL = |out| {
        Peer::write_open(out, 3, &endpoint("hang"), Flags::NO_MESSAGE, b"");
        for _ in 0..5 {
            encode_message_head(out, 3, Flags::NONE, 256 * 1024);
            out.extend_from_slice(&[0; 256 * 1024]);
        }
    };
}

/// Threat A12: frames that crossed the end of their call are no violation.
#[tokio::test]
async fn frames_for_ended_calls_are_tolerated() {
    let world = World::start().await;
    let mut peer = Peer::dial(&world.address).await;
    peer.open(1, &endpoint("deaf"), Flags::NO_MESSAGE, b"").await;
    assert_eq!(peer.expect_message(1).await.0, Flags::END);
    peer.message(1, Flags::NONE, b"late").await;
    peer.send(|out| encode_credit(out, 1, 1024)).await;
    peer.send(|out| encode_cancel(out, 1, Cancel::Abort(Code::CANCELLED))).await;
    peer.end(1, 1).await;
    peer.open(3, &endpoint("echo"), Flags::END, b"hi").await;
    assert_eq!(peer.expect_message(3).await.1, "hi");
}

/// Threat A6: lengths are added with checks, in optimised builds as well.
#[test]
fn arithmetic_is_checked() {
    let sum = std::panic::catch_unwind(|| std::hint::black_box(u32::MAX) + std::hint::black_box(1));
    assert!(sum.is_err(), "overflow-checks are off");
}

/// Threat A25: 10,000 headers of different names, of one name, and one that breaks off. Each call is refused alone, and a
/// hundred of each are refused at once: what is looked at is bounded by the limit, not by what came.
#[tokio::test]
async fn header_bombs_end_their_call_alone() {
    let world = World::start().await;
    let mut peer = Peer::dial(&world.address).await;
    let entry = |name: &str| [&[u8::try_from(name.len()).expect("short"), 0, 0][..], name.as_bytes()].concat();
    let many: Vec<u8> = (0..10_000).flat_map(|number| entry(&format!("{number:03x}"))).take(65_000).collect();
    let bombs = [many, entry("a").repeat(10_000), b"\x05\xff\xffhalf".to_vec()];
    let codes = [Code::HEADERS_TOO_LARGE, Code::HEADERS_TOO_LARGE, Code::INVALID_ARGUMENT];
    let mut call = 1;
    for (bomb, code) in bombs.iter().zip(codes) {
        for _ in 0..100 {
            peer.send(|out| crate::ends::raw_open(out, call, b"demo.wire.echo", bomb)).await;
            let (not_executed, end) = peer.expect_end(call).await;
            assert_eq!((not_executed, end.status.map(|status| status.code())), (true, Some(code)));
            call += 2;
        }
    }
    peer.open(call, &endpoint("echo"), Flags::END, b"hi").await;
    assert_eq!(peer.expect_message(call).await.1, "hi");
    let refusals = world.server.stats().refusals;
    assert_eq!((refusals.of(Refusal::Headers), refusals.of(Refusal::InvalidCall)), (200, 100));
}

/// Threat A9: a kind that may be skipped is, whatever it carries.
#[tokio::test]
async fn later_kinds_are_skipped() {
    let world = World::start().await;
    let mut peer = Peer::dial(&world.address).await;
    peer.send(|out| {
        head(Kind(0x80), 0xff, 0xffff, u64::MAX, 5)(out);
        out.extend_from_slice(b"later");
    })
    .await;
    peer.open(1, &endpoint("echo"), Flags::END, b"hi").await;
    assert_eq!(peer.expect_message(1).await.1, "hi");
}
