//! Header blocks, and headers from one side to the other.

use bytes::{BufMut, Bytes, BytesMut};
use plane_core::frame::{Decoder, Flags, Frame, FrameLimits, Head, Kind, block_len, encode_headers};
use plane_core::{HeaderLimits, Headers, check_headers};

/// Reads the bytes as a header block, and writes it again.
///
/// # Panics
/// If a block beyond the limits passes, or what passes is changed on the way there and back.
pub fn headers(data: &[u8]) {
    let Some((count, block)) = data.split_first() else { return };
    let limits = HeaderLimits { count: usize::from(count % 16), bytes: 2_048 };
    let Some(headers) = read(block, limits) else { return };
    assert!(headers.len() <= limits.count && block_len(&headers) <= limits.bytes);
    assert_eq!(check_headers(&headers, limits), Ok(()));
    let mut out = BytesMut::new();
    encode_headers(&mut out, 1, &headers);
    let mut decoder = Decoder::new(FrameLimits { headers: limits, ..FrameLimits::default() }, 0);
    decoder.extend(&out);
    let mut frames = decoder.frames().expect("a correct frame").expect("a whole frame");
    let again = frames.next(|frame| match frame {
        Frame::Headers { headers, .. } => headers,
        other => panic!("{other:?}"),
    });
    assert_eq!(again.expect("one frame").expect("a correct frame"), Ok(headers));
}

fn read(block: &[u8], limits: HeaderLimits) -> Option<Headers> {
    let mut body = BytesMut::new();
    body.put_slice(block);
    let body: Bytes = body.freeze();
    let head = Head::new(Kind::HEADERS, Flags::NONE, 1, u32::try_from(body.len()).ok()?);
    match Frame::parse(head, &body, &FrameLimits { headers: limits, ..FrameLimits::default() }).ok()? {
        Frame::Headers { headers, .. } => headers.inspect_err(|error| assert!(!error.to_string().is_empty())).ok(),
        other => panic!("{other:?}"),
    }
}
