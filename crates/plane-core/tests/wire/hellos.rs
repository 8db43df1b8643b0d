//! What HELLO may say.

use std::time::Duration;

use bytes::{BufMut, BytesMut};
use plane_core::frame::{Flags, Frame, FrameError, HEAD_LEN, Head, Hello, Kind, PREFACE, VERSION};
use proptest::prelude::*;

use crate::frames::parse;

fn read(frame: &[u8]) -> Result<Hello, FrameError> {
    parse(frame, |frame| match frame {
        Frame::Hello(hello) => hello,
        other => panic!("{other:?}"),
    })
}

/// Writes a HELLO and reads it again.
fn again(hello: &Hello) -> Result<Hello, FrameError> {
    let mut out = BytesMut::new();
    hello.encode(&mut out);
    read(out.strip_prefix(&PREFACE).expect("the preface"))
}

fn fields(fields: &[(u16, &[u8])]) -> Vec<u8> {
    let mut body = BytesMut::new();
    for (number, value) in fields {
        body.put_u16(*number);
        body.put_u16(u16::try_from(value.len()).expect("short"));
        body.put_slice(value);
    }
    let mut out = BytesMut::with_capacity(HEAD_LEN);
    Head::new(Kind::HELLO, Flags::NONE, 0, u32::try_from(body.len()).expect("short")).encode(&mut out);
    [out, body].concat()
}

fn is_malformed(hello: &Result<Hello, FrameError>) -> bool {
    matches!(hello, Err(FrameError::Malformed { kind: Kind::HELLO, .. }))
}

proptest! {
    /// Every field is its own: what is written is what is read.
    #[test]
    fn hellos_survive_both_ways(
        (version_max, max_message, max_frame, credit) in (VERSION.., any::<u64>(), 32_768_u32.., 1024_u32..0x8000_0000),
        (max_calls, keepalive, features, agent) in (any::<u32>(), any::<u32>(), any::<u64>(), "[ -~]{0,128}"),
    ) {
        let keepalive = Duration::from_millis(u64::from(keepalive));
        let hello = Hello { version_min: 0, version_max, max_message, max_frame, credit, max_calls, keepalive, features, agent };
        prop_assert_eq!(again(&hello), Ok(hello));
    }
}

/// Case A29: a range of versions that holds this one is met, any other is refused with both.
#[test]
fn versions_meet_or_do_not() {
    for (version_min, version_max) in [(0, 1), (1, 1), (1, 2), (0, 9)] {
        assert!(
            again(&Hello { version_min, version_max, ..Hello::default() }).is_ok(),
            "{version_min} to {version_max}"
        );
    }
    for (theirs_min, theirs_max) in [(0, 0), (2, 2), (2, 9), (2, 0)] {
        let hello = Hello { version_min: theirs_min, version_max: theirs_max, ..Hello::default() };
        assert_eq!(again(&hello), Err(FrameError::Version { ours: VERSION, theirs_min, theirs_max }));
    }
}

/// Exactly at a limit passes, one beyond does not.
#[test]
fn limits_of_settings_are_exact() {
    for (max_frame, taken) in [(0, false), (32 * 1024 - 1, false), (32 * 1024, true), (u32::MAX, true)] {
        let hello = again(&Hello { max_frame, ..Hello::default() });
        assert_eq!((hello.is_ok(), is_malformed(&hello)), (taken, !taken), "max_frame {max_frame}");
    }
    for (credit, taken) in [(0, false), (1023, false), (1024, true), (0x7fff_ffff, true), (0x8000_0000, false)] {
        let hello = again(&Hello { credit, ..Hello::default() });
        assert_eq!((hello.is_ok(), is_malformed(&hello)), (taken, !taken), "a credit of {credit}");
    }
}

/// Each known field comes once and with its own length; unknown ones come as they like.
#[test]
fn known_fields_come_once() {
    let known: [(u16, &[u8]); 8] = [
        (1, &[0, 1, 0, 1]),
        (2, &[0, 0, 0, 0, 0, 0, 1, 0]),
        (3, &[0, 1, 0, 0]),
        (4, &[0, 1, 0, 0]),
        (5, &[0, 0, 0, 1]),
        (6, &[0, 0, 0, 1]),
        (7, &[0, 0, 0, 0, 0, 0, 0, 1]),
        (8, b"agent"),
    ];
    assert!(read(&fields(&known)).is_ok());
    for (at, field) in known.iter().enumerate() {
        assert!(is_malformed(&read(&fields(&[&known[..], &[*field]].concat()))), "field {} twice", field.0);
        let reversed: Vec<_> = known.iter().rev().copied().collect();
        assert!(is_malformed(&read(&fields(&[&reversed[at..], &[known[7 - at]]].concat()))), "field {} last", field.0);
        if field.0 < 8 {
            assert!(is_malformed(&read(&fields(&[(field.0, &field.1[1..])]))), "field {} cut short", field.0);
            assert!(
                is_malformed(&read(&fields(&[(field.0, &[field.1, &[0]].concat())]))),
                "field {} too long",
                field.0
            );
        }
    }
    for unknown in [0, 9, 17, u16::MAX] {
        let hello = read(&fields(&[(unknown, b"x"), (4, &[0, 1, 0, 0]), (unknown, b"yy")]));
        assert_eq!(hello, Ok(Hello { credit: 65_536, ..Hello::default() }), "field {unknown}");
    }
}

/// What a side that leaves everything out has said (docs/protocol.md, "HELLO").
#[test]
fn what_is_left_out_has_a_value() {
    let Hello { version_min, version_max, max_message, max_frame, credit, max_calls, keepalive, features, agent } =
        read(&fields(&[])).expect("an empty HELLO");
    assert_eq!((version_min, version_max, features, agent.as_str()), (1, 1, 0, ""));
    assert_eq!((max_message, max_frame, credit, max_calls), (33_554_432, 262_144, 1_048_576, 512));
    assert_eq!(keepalive, Duration::from_secs(10));
}
