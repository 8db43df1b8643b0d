//! What no correct peer sends: the connection is told why and closed, its neighbours go on.

use bytes::BytesMut;
use plane_core::frame::{
    Cancel, Flags, Head, Kind, encode_accept, encode_cancel, encode_credit, encode_end, encode_headers,
    encode_message_head,
};
use plane_core::{Code, Headers, Status};
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
