//! Frames that no correct peer sends.

use bytes::{Bytes, BytesMut};
use plane_core::frame::{Decoder, Flags, Frame, FrameError, FrameLimits, Head, Kind, encode_ping};
use proptest::prelude::*;

use crate::frames::any_frame;

fn first(bytes: &[u8]) -> Result<bool, FrameError> {
    let mut decoder = Decoder::new(FrameLimits::default(), 0);
    decoder.extend(bytes);
    decoder.frames().map(|frames| frames.is_some())
}

fn head(kind: Kind, flags: u8, zero: u16, length: u32) -> BytesMut {
    let call = u64::from(!matches!(kind, Kind::HELLO | Kind::PING | Kind::PONG | Kind::GOAWAY));
    let mut out = BytesMut::new();
    Head { zero, ..Head::new(kind, Flags(flags), call, length) }.encode(&mut out);
    out
}

/// Case A3 and threat A4: a length is judged from the head alone; one at the limit is waited for.
#[test]
fn a_length_over_the_limit_is_refused_from_the_head() {
    let limit = u32::try_from(FrameLimits::default().max_frame).expect("256 KiB");
    assert_eq!(first(&head(Kind::MESSAGE, 0, 0, limit)), Ok(false));
    for length in [limit + 1, u32::MAX / 2, u32::MAX] {
        let refused = first(&head(Kind::MESSAGE, 0, 0, length));
        assert!(matches!(refused, Err(FrameError::TooLarge { length: found, .. }) if found == length), "{refused:?}");
    }
}

/// Threat A10: every flag bit that a kind does not have, and every reserved bit of the head.
#[test]
fn reserved_bits_are_refused_for_every_kind() {
    for kind in (0x01..=0x0b).map(Kind) {
        let allowed = kind.flags().expect("a known kind").0;
        for bit in (0..8).map(|bit| 1_u8 << bit) {
            let refused = matches!(first(&head(kind, bit, 0, 8)), Err(FrameError::ReservedBits { .. }));
            assert_eq!(refused, allowed & bit == 0, "{kind} with flag {bit:#x}");
        }
        for bit in (0..16).map(|bit| 1_u16 << bit) {
            let refused = first(&head(kind, 0, bit, 8));
            assert!(matches!(refused, Err(FrameError::ReservedBits { .. })), "{kind} with {bit:#x}: {refused:?}");
        }
    }
}

/// The bits that are refused are named, and no others.
#[test]
fn reserved_bits_are_named() {
    let named = |flags: u8, zero: u16| match first(&head(Kind::MESSAGE, flags, zero, 8)) {
        Err(FrameError::ReservedBits { kind: Kind::MESSAGE, flags, zero }) => (flags, zero),
        other => panic!("{other:?}"),
    };
    assert_eq!((named(0x05, 0), named(0x01, 0x100), named(0xff, 1)), ((0x04, 0), (0, 0x100), (0xfc, 1)));
}

/// A frame of a call has its id, a frame of the connection has none.
#[test]
fn call_ids_are_where_they_belong() {
    for kind in (0x01..=0x0b).map(Kind) {
        let of_connection = matches!(kind, Kind::HELLO | Kind::PING | Kind::PONG | Kind::GOAWAY);
        for call in [0, 1, u64::MAX] {
            let mut out = BytesMut::new();
            Head::new(kind, Flags::NONE, call, 8).encode(&mut out);
            let refused = (of_connection == (call != 0)).then_some(FrameError::CallId { kind, call });
            assert_eq!(first(&out).err(), refused, "{kind} of {call}");
        }
    }
}

/// Threat A6: a chunk with MORE has 256 bytes, behind an OPEN's fields as well; a message without it has any.
#[test]
fn chunks_have_at_least_256_bytes() {
    let body = |open: bool, length: usize| {
        // An OPEN of the endpoint "a" to any instance, without a deadline or headers.
        let fields: &[u8] = if open { &[&[0; 16][..], &[1, 0, 0, b'a']].concat() } else { &[] };
        Bytes::from([fields, &vec![7; length]].concat())
    };
    for (kind, open) in [(Kind::MESSAGE, false), (Kind::OPEN, true)] {
        for (flags, length, taken) in [
            (Flags::MORE, 255, false),
            (Flags::MORE, 256, true),
            (Flags::MORE, 257, true),
            (Flags::NONE, 0, true),
            (Flags::NONE, 256, true),
            (Flags::END, 255, true),
            (Flags::END.with(Flags::MORE), 256, false),
        ] {
            let body = body(open, length);
            let head = Head::new(kind, flags, 1, u32::try_from(body.len()).expect("short"));
            let read = Frame::parse(head, &body, &FrameLimits::default());
            assert_eq!(read.is_ok(), taken, "{kind} {flags:?} with {length} bytes: {read:?}");
        }
    }
    for (length, taken) in [(0, true), (1, false)] {
        let body = body(true, length);
        let head = Head::new(Kind::OPEN, Flags::NO_MESSAGE, 1, u32::try_from(body.len()).expect("short"));
        assert_eq!(Frame::parse(head, &body, &FrameLimits::default()).is_ok(), taken, "{length} bytes and NO_MESSAGE");
    }
}

/// Threat A9: unknown kinds are refused below 0x80 and skipped from there on.
#[test]
fn unknown_kinds_are_refused_or_skipped() {
    for number in 0..=u8::MAX {
        let kind = Kind(number);
        let found = first(&head(kind, 0, 0, 0));
        match number {
            0x01..=0x0b | 0x80.. => assert_eq!(found, Ok(true), "{kind}"),
            _ => assert_eq!(found, Err(FrameError::UnknownKind(kind))),
        }
    }
}

/// Whole frames before a bad one are given first, so that what they say is not lost.
#[test]
fn what_came_before_a_bad_frame_is_given_first() {
    let mut bytes = BytesMut::new();
    encode_ping(&mut bytes, *b"12345678");
    bytes.extend_from_slice(&head(Kind(0x7f), 0, 0, 0));
    let mut decoder = Decoder::new(FrameLimits::default(), 0);
    decoder.extend(&bytes);
    let mut frames = decoder.frames().expect("a whole frame first").expect("the ping");
    assert_eq!(frames.next(|frame| frame == Frame::Ping(*b"12345678")), Some(Ok(true)));
    assert!(frames.next(|_| ()).is_none());
    assert_eq!(decoder.frames().expect_err("the bad head"), FrameError::UnknownKind(Kind(0x7f)));
}

/// Runs bytes through a decoder to their end or the first error.
fn survive(bytes: &[u8]) {
    let mut decoder = Decoder::new(FrameLimits::default(), 0);
    for piece in bytes.chunks(100) {
        decoder.extend(piece);
        while let Ok(Some(mut frames)) = decoder.frames() {
            while let Some(frame) = frames.next(|frame| frame_payload(&frame)) {
                // A message is never longer than what came.
                assert!(frame.map_or(0, |payload| payload.len()) <= bytes.len());
            }
        }
    }
    assert!(decoder.partial() <= bytes.len());
    assert!(decoder.capacity() <= (2 * bytes.len()).max(512 * 1024), "{} bytes held", decoder.capacity());
}

fn frame_payload(frame: &Frame<'_>) -> Bytes {
    match frame {
        Frame::Message { payload, .. } | Frame::Open { payload, .. } => payload.clone(),
        _ => Bytes::new(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        survive(&bytes);
    }

    /// Threat A32: flipped bits give an error or another frame, never a panic or a message longer than what came.
    #[test]
    fn damaged_frames_are_survived(
        frames in prop::collection::vec(any_frame(), 1..4),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes: Vec<u8> = frames.iter().flatten().copied().collect();
        for (at, with) in damage {
            let at = at.index(bytes.len());
            bytes[at] ^= with;
        }
        survive(&bytes);
    }

    /// A head that passes, and a body of anything.
    #[test]
    fn any_body_is_survived(kind in 1_u8..0x0c, flags in any::<u8>(), body in prop::collection::vec(any::<u8>(), 0..600)) {
        let kind = Kind(kind);
        let flags = flags & kind.flags().map_or(0, |flags| flags.0);
        let mut bytes = head(kind, flags, 0, u32::try_from(body.len()).expect("short"));
        bytes.extend_from_slice(&body);
        survive(&bytes);
    }
}
