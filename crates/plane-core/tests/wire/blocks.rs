//! Header blocks and names within their limits and beyond.

use bytes::{BufMut, Bytes, BytesMut};
use plane_core::frame::{Flags, Frame, FrameLimits, Head, Kind};
use plane_core::{Code, HeaderError, HeaderLimits, Headers};

fn entry(name: &[u8], value: &[u8]) -> Vec<u8> {
    let mut out = vec![u8::try_from(name.len()).expect("a short name")];
    out.put_u16(u16::try_from(value.len()).expect("a short value"));
    [&out[..], name, value].concat()
}

/// What an OPEN with this name and block is refused with, or its headers.
fn open(name: &[u8], block: &[u8]) -> Result<Headers, Code> {
    let mut body = BytesMut::new();
    body.put_u64(0);
    body.put_u64(0);
    body.put_u8(u8::try_from(name.len()).expect("at most 255 bytes"));
    body.put_u16(u16::try_from(block.len()).expect("below 64 KiB"));
    body.put_slice(name);
    body.put_slice(block);
    let body = body.freeze();
    let head = Head::new(Kind::OPEN, Flags::NO_MESSAGE, 1, u32::try_from(body.len()).expect("short"));
    match Frame::parse(head, &body, &FrameLimits::default()) {
        Ok(Frame::Open { open, .. }) => open.map(|open| open.headers).map_err(|status| status.code()),
        other => panic!("a bad name or block ends the call, not the connection: {other:?}"),
    }
}

fn headers(block: Vec<u8>, limits: HeaderLimits) -> Result<Headers, HeaderError> {
    let body = Bytes::from(block);
    let head = Head::new(Kind::HEADERS, Flags::NONE, 1, u32::try_from(body.len()).expect("short"));
    match Frame::parse(head, &body, &FrameLimits { headers: limits, ..FrameLimits::default() }) {
        Ok(Frame::Headers { headers, .. }) => headers,
        other => panic!("bad headers end the call, not the connection: {other:?}"),
    }
}

/// Case A8: repeated names keep their order; names come out in lower case.
#[test]
fn repeated_names_keep_their_order() {
    let block = [entry(b"x-tag", b"2"), entry(b"X-Other", b""), entry(b"x-tag", b"1")].concat();
    let headers = open(b"a.b.c", &block).expect("good headers");
    assert_eq!(headers.get_all("x-tag").iter().collect::<Vec<_>>(), ["2", "1"]);
    assert_eq!(headers.get("x-other").map(|value| value.as_bytes()), Some(&b""[..]));
}

/// Case A8: exactly at both limits passes, one more of either does not.
#[test]
fn limits_are_exact() {
    let limits = HeaderLimits { count: 3, bytes: 40 };
    let three = [entry(b"a", b"1"), entry(b"b", b"2"), entry(b"c", &[b'3'; 40 - 14])].concat();
    assert_eq!(three.len(), 40);
    assert_eq!(headers(three.clone(), limits).map(|headers| headers.len()), Ok(3));
    let large = [entry(b"a", b"1"), entry(b"b", b"2"), entry(b"c", &[b'3'; 40 - 13])].concat();
    assert_eq!(headers(large, limits), Err(HeaderError::TooLarge { bytes: 41, limit: 40 }));
    let many = [three, entry(b"d", b"")].concat();
    let limits = HeaderLimits { bytes: 100, ..limits };
    assert_eq!(headers(many, limits), Err(HeaderError::TooMany { count: 4, limit: 3 }));
}

/// Cases A8 and A25: a header bomb is refused from its lengths. No entry is looked at: they would be refused as names.
#[test]
fn a_header_bomb_is_refused_before_it_is_stored() {
    let bomb = entry(b"plane-\xff", b"\0").repeat(1_000);
    assert_eq!(open(b"a.b.c", &bomb), Err(Code::HEADERS_TOO_LARGE));
    let bomb = entry(b"plane-\xff", &[0; 17 * 1024]);
    assert_eq!(open(b"a.b.c", &bomb), Err(Code::HEADERS_TOO_LARGE));
    // 10,000 of one name, in a block that is allowed to be that long.
    let limits = HeaderLimits { bytes: 65_535, ..HeaderLimits::default() };
    let same = entry(b"a", b"").repeat(10_000);
    assert_eq!(headers(same, limits), Err(HeaderError::TooMany { count: 10_000, limit: 64 }));
}

/// Threat A26: what could break a log line or another protocol is refused, and escaped in the text.
#[test]
fn hostile_values_and_names_are_refused() {
    for value in [&b"\xff\xfe"[..], b"a\0b", b"a\rb", b"a\nb", b"\x7f", b"a\tb", b"\x1b[31m"] {
        assert_eq!(open(b"a.b.c", &entry(b"x", value)), Err(Code::INVALID_ARGUMENT), "{}", value.escape_ascii());
    }
    for name in [&b""[..], b"a b", b"a\0", b"a:b", b"\xc3\xa9", b"a\r\n", b"plane-version", b"Plane-Version"] {
        assert_eq!(open(b"a.b.c", &entry(name, b"v")), Err(Code::INVALID_ARGUMENT), "{}", name.escape_ascii());
    }
}

/// A block that is cut short inside of an entry ends its call.
#[test]
fn a_block_that_breaks_off_is_refused() {
    let whole = [entry(b"x-tag", b"value"), entry(b"y", b"2")].concat();
    let first = entry(b"x-tag", b"value").len();
    for length in (1..whole.len()).filter(|length| *length != first) {
        assert_eq!(open(b"a.b.c", &whole[..length]), Err(Code::INVALID_ARGUMENT), "{length} bytes");
    }
}

/// Case A7 and threat A27: bytes that can be no name end the call, and the text of the refusal is printable.
#[test]
fn hostile_names_end_the_call() {
    let long = [b'a'; 255];
    for name in [&b"\xff"[..], b"a.b.\xd0", b"\xed\xa0\x80.b.c"] {
        assert_eq!(open(name, b""), Err(Code::INVALID_ARGUMENT), "{}", name.escape_ascii());
    }
    // Text; that nobody serves it is found in the server's table, which tells what can be no name.
    for name in [&b"."[..], b"..", b"a..b", &long, b"", b"a/b", b"a\0b", b"*", b"\r\n", b"\xd0\xb0.b.c"] {
        assert_eq!(open(name, b""), Ok(Headers::new()), "{}", name.escape_ascii());
    }
}
