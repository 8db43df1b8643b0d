//! OPEN: starts a call (docs/protocol.md, "OPEN").

use std::time::Duration;

use bytes::{BufMut, BytesMut};

use crate::frame::block::{block_len, decode_block, encode_block};
use crate::frame::error::{Fields, FrameError};
use crate::frame::head::{Flags, HEAD_LEN, Head, Kind, checked_u16, checked_u32};
use crate::headers::{HeaderLimits, Headers};
use crate::name::{EndpointId, InstanceId};
use crate::status::{Code, Status};

/// Bytes of an OPEN body before the endpoint.
const FIXED: usize = 8 + 8 + 1 + 2;

/// What an OPEN says beside its message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Open<'a> {
    /// The endpoint's name as it came; the server's table is searched with it.
    pub endpoint: &'a str,
    /// The instance that must answer; any if `None`.
    pub instance: Option<InstanceId>,
    /// The time that is left for the call; `None` without a deadline.
    pub timeout: Option<Duration>,
    /// The headers of the request.
    pub headers: Headers,
}

/// What an OPEN is written from.
#[derive(Debug, Clone, Copy)]
pub struct OpenFields<'a> {
    /// What is called.
    pub endpoint: &'a EndpointId,
    /// The instance that must answer; any if `None`.
    pub instance: Option<InstanceId>,
    /// The time that is left for the call; `None` without a deadline.
    pub timeout: Option<Duration>,
    /// The headers of the request.
    pub headers: &'a Headers,
}

/// Appends an OPEN up to its message, of which `message_len` bytes follow in this frame.
///
/// Headers must have passed [`check_headers`](crate::check_headers). A timeout is rounded up to a microsecond, so that
/// one that is left never becomes none.
///
/// # Panics
/// If the frame is longer than 4 GiB; callers cut messages into chunks.
pub fn encode_open(out: &mut BytesMut, call: u64, flags: Flags, open: &OpenFields<'_>, message_len: usize) {
    let OpenFields { endpoint, instance, timeout, headers } = *open;
    let name = endpoint.as_str().as_bytes();
    let block = if headers.is_empty() { 0 } else { block_len(headers) };
    let length = FIXED + name.len() + block + message_len;
    out.reserve(HEAD_LEN + length);
    Head::new(Kind::OPEN, flags, call, checked_u32(length)).encode(out);
    out.put_u64(instance.map_or(0, InstanceId::get));
    out.put_u64(timeout.map_or(0, |timeout| u64::try_from(timeout.as_micros()).unwrap_or(u64::MAX).max(1)));
    out.put_u8(u8::try_from(name.len()).expect("an EndpointId is at most 194 bytes"));
    out.put_u16(checked_u16(block));
    out.put_slice(name);
    encode_block(out, headers);
}

impl<'a> Open<'a> {
    /// Reads an OPEN and the offset of its message in the body.
    ///
    /// The inner result is the call's: a name or headers that are refused end the call, not the connection.
    #[inline]
    pub(super) fn load(body: &'a [u8], limits: HeaderLimits) -> Result<(Result<Self, Status>, usize), FrameError> {
        let mut fields = Fields::new(Kind::OPEN, body);
        let instance = InstanceId::new(fields.u64()?);
        let timeout = fields.u64()?;
        let name_len = usize::from(fields.u8()?);
        let block_len = usize::from(fields.u16()?);
        let name = fields.bytes(name_len)?;
        let block = fields.bytes(block_len)?;
        let timeout = (timeout != 0).then(|| Duration::from_micros(timeout));
        let offset = body.len() - fields.rest().len();
        let endpoint = match read_name(name) {
            Ok(endpoint) => endpoint,
            Err(status) => return Ok((Err(status), offset)),
        };
        let headers = match read_headers(block, limits) {
            Ok(headers) => headers,
            Err(status) => return Ok((Err(status), offset)),
        };
        Ok((Ok(Self { endpoint, instance, timeout, headers }), offset))
    }
}

fn read_headers(block: &[u8], limits: HeaderLimits) -> Result<Headers, Status> {
    if block.is_empty() {
        return Ok(Headers::new());
    }
    decode_block(block, limits).map_err(|error| {
        let code = if error.is_limit() { Code::HEADERS_TOO_LARGE } else { Code::INVALID_ARGUMENT };
        Status::new(code, error.to_string())
    })
}

/// Any text is taken here: one that is no good name is not served either, and the table's to refuse.
fn read_name(name: &[u8]) -> Result<&str, Status> {
    let refuse = |_| Status::invalid_argument(format!("\"{}\" is not an endpoint's name", name.escape_ascii()));
    std::str::from_utf8(name).map_err(refuse)
}
