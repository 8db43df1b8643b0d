//! END and HEADERS: how an answer ends, and what it begins with (docs/protocol.md, "END", "HEADERS").

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};

use crate::frame::block::{block_len, decode_block, encode_block};
use crate::frame::error::{Fields, FrameError};
use crate::frame::head::{Flags, HEAD_LEN, Head, Kind, checked_u16, checked_u32};
use crate::headers::{HeaderError, HeaderLimits, Headers};
use crate::status::{Code, Status};

/// Bytes of an END body before the text: code, count, retry-after and three lengths.
const FIXED: usize = 20;

/// How a direction of a call ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// How many messages the direction had.
    pub count: u64,
    /// `None` for an orderly end.
    pub status: Option<Status>,
    /// Headers that come with the end, or why they cannot be used.
    pub trailers: Result<Headers, HeaderError>,
}

/// Appends an END. Trailers must have passed [`check_headers`](crate::check_headers).
///
/// # Panics
/// Never for headers that passed: text and details are cut when a [`Status`] is made.
pub fn encode_end(
    out: &mut BytesMut,
    call: u64,
    flags: Flags,
    count: u64,
    status: Option<&Status>,
    trailers: Option<&Headers>,
) {
    let (code, text) = status.map_or((Code::OK, ""), |status| (status.code(), status.message()));
    let details = status.map_or(&[][..], |status| &status.details()[..]);
    let retry_after = status.and_then(Status::retry_after).map_or(0, |after| {
        // Zero means none on the wire, so less than a millisecond becomes one.
        u32::try_from(after.as_millis()).unwrap_or(u32::MAX).max(1)
    });
    let block = trailers.map_or(0, block_len);
    let length = FIXED + text.len() + details.len() + block;
    out.reserve(HEAD_LEN + length);
    Head::new(Kind::END, flags, call, checked_u32(length)).encode(out);
    out.put_u16(code.0);
    out.put_u64(count);
    out.put_u32(retry_after);
    out.put_u16(checked_u16(text.len()));
    out.put_u16(checked_u16(details.len()));
    out.put_u16(checked_u16(block));
    out.put_slice(text.as_bytes());
    out.put_slice(details);
    if let Some(trailers) = trailers {
        encode_block(out, trailers);
    }
}

impl End {
    pub(super) fn load(body: &Bytes, limits: HeaderLimits) -> Result<Self, FrameError> {
        let mut fields = Fields::new(Kind::END, body);
        let code = Code(fields.u16()?);
        let count = fields.u64()?;
        let retry_after = fields.u32()?;
        let text_len = usize::from(fields.u16()?);
        let details_len = usize::from(fields.u16()?);
        let block_len = usize::from(fields.u16()?);
        let text = fields.bytes(text_len)?;
        let details = fields.bytes(details_len)?;
        let block = fields.bytes(block_len)?;
        fields.done()?;
        let status = (code != Code::OK).then(|| {
            let text = String::from_utf8_lossy(text).into_owned();
            Status::new(code, text)
                .with_details(body.slice_ref(details))
                .with_retry_after(Duration::from_millis(u64::from(retry_after)))
        });
        Ok(Self { count, status, trailers: decode_block(block, limits) })
    }
}

/// Appends HEADERS. They must have passed [`check_headers`](crate::check_headers).
///
/// # Panics
/// Never for headers that passed.
pub fn encode_headers(out: &mut BytesMut, call: u64, headers: &Headers) {
    let length = block_len(headers);
    out.reserve(HEAD_LEN + length);
    Head::new(Kind::HEADERS, Flags::NONE, call, checked_u32(length)).encode(out);
    encode_block(out, headers);
}

pub(super) fn load_headers(body: &[u8], limits: HeaderLimits) -> Result<Headers, HeaderError> {
    decode_block(body, limits)
}
