//! What a peer may not do too often, and what honest peers do a lot of.

use bytes::BytesMut;
use plane_core::frame::{
    Cancel, Flags, Head, Kind, encode_cancel, encode_credit, encode_end, encode_message_head, encode_ping,
};
use plane_core::{Code, RequestPlaneServer};
use plane_testkit::peer::{Peer, Seen};

use crate::world::{World, endpoint, soon, until};

/// Sends this again and again until the server has had enough; says what it was told.
async fn flood(world: &World, peer: &mut Peer, mut more: impl FnMut(&mut BytesMut, u64)) -> Code {
    let mut number = 0;
    loop {
        let mut out = BytesMut::new();
        for _ in 0..1_000 {
            number += 1;
            more(&mut out, number);
        }
        peer.take_in();
        if !peer.try_send_bytes(&out).await || number >= 200_000 {
            break;
        }
    }
    let code = peer.expect_go_away().await.code;
    peer.expect_closed().await;
    world.still_answers().await;
    code
}

/// Threat A19.
#[tokio::test]
async fn a_ping_flood_is_closed() {
    let world = World::start().await;
    let mut peer = Peer::dial(&world.address).await;
    let code = flood(&world, &mut peer, |out, _| encode_ping(out, *b"12345678")).await;
    assert_eq!(code, Code::ENHANCE_YOUR_CALM);
}

/// Threat A9: what may be skipped may not be sent without end.
#[tokio::test]
async fn a_flood_of_skipped_frames_is_closed() {
    let world = World::start().await;
    let mut peer = Peer::dial(&world.address).await;
    let skipped = |out: &mut BytesMut, _| Head::new(Kind(0x90), Flags::NONE, 0, 0).encode(out);
    assert_eq!(flood(&world, &mut peer, skipped).await, Code::ENHANCE_YOUR_CALM);
}

/// Threats A16 and A21: stops, credits of a byte, and frames of a call that has ended.
#[tokio::test]
async fn floods_without_effect_are_closed() {
    let world = World::start().await;
    let mut peer = Peer::dial(&world.address).await;
    peer.open(1, &endpoint("hang"), Flags::END, b"").await;
    assert_eq!(flood(&world, &mut peer, |out, _| encode_cancel(out, 1, Cancel::Stop)).await, Code::ENHANCE_YOUR_CALM);

    let mut peer = Peer::dial(&world.address).await;
    peer.open(1, &endpoint("hang"), Flags::END, b"").await;
    assert_eq!(flood(&world, &mut peer, |out, _| encode_credit(out, 1, 1)).await, Code::ENHANCE_YOUR_CALM);

    let mut peer = Peer::dial(&world.address).await;
    peer.open(1, &endpoint("deaf"), Flags::END, b"").await;
    peer.expect_message(1).await;
    let stray = |out: &mut BytesMut, _| encode_message_head(out, 1, Flags::NONE, 0);
    assert_eq!(flood(&world, &mut peer, stray).await, Code::ENHANCE_YOUR_CALM);
}

/// Case A21 and threat A17: calls that are opened only to be aborted.
#[tokio::test]
async fn opening_and_aborting_at_an_abusive_pace_is_closed() {
    let world = World::start().await;
    let mut peer = Peer::dial(&world.address).await;
    let hang = endpoint("hang");
    let code = flood(&world, &mut peer, |out, number| {
        Peer::write_open(out, 2 * number - 1, &hang, Flags::END, b"");
        encode_cancel(out, 2 * number - 1, Cancel::Abort(Code::CANCELLED));
    })
    .await;
    assert_eq!(code, Code::ENHANCE_YOUR_CALM);
    until(|| world.server.stats().in_flight == 0).await;
    assert!(world.server.stats().started < 10_000, "{:?}", world.server.stats());
}

/// Case A21: all calls of a full connection may be given up at once, again after others were answered, and a stream
/// that has begun at any time.
#[tokio::test]
async fn honest_aborts_are_no_abuse() {
    let world = World::start().await;
    let mut peer = Peer::dial(&world.address).await;
    let mut call = 1;
    for _ in 0..2 {
        let mut out = BytesMut::new();
        for id in (call..).step_by(2).take(512) {
            Peer::write_open(&mut out, id, &endpoint("hang"), Flags::END, b"");
        }
        for id in (call..).step_by(2).take(512) {
            encode_cancel(&mut out, id, Cancel::Abort(Code::DEADLINE_EXCEEDED));
        }
        call += 2 * 512;
        peer.send_bytes(&out).await;
        for _ in 0..512 {
            assert!(matches!(peer.expect().await, Seen::End { .. }));
        }
    }
    for _ in 0..3_000 {
        peer.open(call, &endpoint("echo"), Flags::NONE, b"hi").await;
        assert_eq!(peer.expect_message(call).await.1, "hi");
        peer.send(|out| encode_cancel(out, call, Cancel::Abort(Code::CANCELLED))).await;
        peer.expect_end(call).await;
        call += 2;
    }
    peer.open(call, &endpoint("echo"), Flags::END, b"last").await;
    assert_eq!(peer.expect_message(call).await.1, "last");
}

/// What was on its way to a call that was refused, or answered early, is no abuse: a whole window of tiny messages.
#[tokio::test]
async fn uploads_to_refused_calls_are_no_abuse() {
    let world = World::start().await;
    let mut peer = Peer::dial(&world.address).await;
    for (round, name) in ["nobody", "deaf", "nobody", "deaf"].into_iter().enumerate() {
        let call = 2 * round as u64 + 1;
        let mut out = BytesMut::new();
        Peer::write_open(&mut out, call, &endpoint(name), Flags::NO_MESSAGE, b"");
        for _ in 0..16_000 {
            encode_message_head(&mut out, call, Flags::NONE, 1);
            out.extend_from_slice(b"x");
        }
        encode_end(&mut out, call, Flags::NONE, 16_000, None, None);
        peer.send_bytes(&out).await;
        match (name, peer.expect().await) {
            ("nobody", Seen::End { not_executed: true, end, .. }) => {
                assert_eq!(end.status.map(|status| status.code()), Some(Code::NOT_FOUND));
            }
            ("deaf", Seen::Message { flags: Flags::END, .. }) => {}
            (_, other) => panic!("{other:?}"),
        }
    }
    peer.open(9, &endpoint("echo"), Flags::END, b"hi").await;
    assert_eq!(peer.expect_message(9).await.1, "hi");
}

/// A dialler that calls what nobody serves and reads no refusal is closed before they pile up.
#[tokio::test]
async fn refusals_that_nobody_reads_do_not_pile_up() {
    let world = World::start().await;
    let mut peer = Peer::dial(&world.address).await;
    let nobody = endpoint(&"n".repeat(64));
    let mut number = 0_u64;
    soon(async {
        loop {
            let mut out = BytesMut::new();
            for _ in 0..10_000 {
                Peer::write_open(&mut out, 2 * number + 1, &nobody, Flags::END, b"");
                number += 1;
            }
            if !peer.try_send_bytes(&out).await {
                break;
            }
        }
    })
    .await;
    world.still_answers().await;
    assert!(number < 10_000_000, "{number} calls were refused and none was read");
}

/// The calls that one connection may have in flight; one more is refused, and the others go on.
#[tokio::test]
async fn one_call_too_many_is_refused_alone() {
    let mut world = World::start().await;
    let mut peer = Peer::dial(&world.address).await;
    let mut out = BytesMut::new();
    for id in (1..).step_by(2).take(513) {
        Peer::write_open(&mut out, id, &endpoint("hang"), Flags::END, b"");
    }
    peer.send_bytes(&out).await;
    let (not_executed, end) = peer.expect_end(1025).await;
    assert_eq!((not_executed, end.status.map(|status| status.code())), (true, Some(Code::RESOURCE_EXHAUSTED)));
    for _ in 0..512 {
        assert_eq!(soon(world.events.recv()).await, Some(crate::world::Event::Started));
    }
    peer.send(|out| encode_cancel(out, 1, Cancel::Abort(Code::CANCELLED))).await;
    peer.expect_end(1).await;
    peer.open(1027, &endpoint("echo"), Flags::END, b"hi").await;
    assert_eq!(peer.expect_message(1027).await.1, "hi");
}

/// Calls that are opened and given up again: a million in an optimised build, enough to run out of any budget in others.
const GIVEN_UP: u64 = if cfg!(debug_assertions) { 20_000 } else { 1_000_000 };

/// Case A21: streams that are opened and left, one after the other without end, disturb nobody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaving_streams_at_a_legal_pace_goes_on_for_ever() {
    const TOGETHER: u64 = 250;
    let world = World::start().await;
    let mut peer = Peer::dial(&world.address).await;
    let echo = endpoint("echo");
    for round in 0..GIVEN_UP / TOGETHER {
        let calls = || (0..TOGETHER).map(|number| 2 * (round * TOGETHER + number) + 1);
        let mut out = BytesMut::new();
        calls().for_each(|call| Peer::write_open(&mut out, call, &echo, Flags::NONE, b"hi"));
        peer.send_bytes(&out).await;
        for _ in calls() {
            while !matches!(peer.expect().await, Seen::Message { .. }) {}
        }
        out.clear();
        calls().for_each(|call| encode_cancel(&mut out, call, Cancel::Abort(Code::CANCELLED)));
        peer.send_bytes(&out).await;
        for _ in calls() {
            assert!(matches!(peer.expect().await, Seen::End { .. }));
        }
        if round % 16 == 0 {
            world.still_answers().await;
        }
    }
    until(|| world.server.stats().in_flight == 0).await;
    let stats = world.server.stats();
    assert_eq!(stats.started, stats.completed + stats.failed + stats.cancelled);
    assert!(stats.cancelled >= GIVEN_UP, "{stats:?}");
}
