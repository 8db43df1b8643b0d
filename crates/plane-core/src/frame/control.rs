//! MESSAGE heads and the small frames: ACCEPT, CANCEL, CREDIT, PING, PONG, GOAWAY.

use std::time::Duration;

use bytes::{BufMut, BytesMut};

use crate::frame::error::{Fields, FrameError};
use crate::frame::head::{Flags, Head, Kind, checked_u32};
use crate::frame::text::kept;
use crate::status::Code;

/// What a caller asks of its call (docs/protocol.md, "CANCEL").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancel {
    /// End early and in order.
    Stop,
    /// Drop the work; the code says why.
    Abort(Code),
}

/// What a side that takes no more calls says (docs/protocol.md, "GOAWAY").
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GoAway {
    /// The last call that was or will be looked at; later ones were not executed.
    pub last_call: u64,
    /// OK for an orderly drain, otherwise what the other side did.
    pub code: Code,
    /// How long calls in flight have to finish.
    pub grace: Duration,
    /// Why, for people.
    pub text: String,
}

/// The longest text of a GOAWAY that is sent or kept, in bytes.
const MAX_TEXT: usize = 1024;

/// Appends the head of a MESSAGE whose `length` bytes follow.
///
/// # Panics
/// If the chunk is longer than 4 GiB; callers cut messages into chunks.
pub fn encode_message_head(out: &mut BytesMut, call: u64, flags: Flags, length: usize) {
    Head::new(Kind::MESSAGE, flags, call, checked_u32(length)).encode(out);
}

/// Appends an ACCEPT.
pub fn encode_accept(out: &mut BytesMut, call: u64) {
    Head::new(Kind::ACCEPT, Flags::NONE, call, 0).encode(out);
}

/// Appends a CANCEL.
pub fn encode_cancel(out: &mut BytesMut, call: u64, cancel: Cancel) {
    Head::new(Kind::CANCEL, Flags::NONE, call, 3).encode(out);
    let (mode, code) = match cancel {
        Cancel::Stop => (1, Code::OK),
        Cancel::Abort(code) => (2, code),
    };
    out.put_u8(mode);
    out.put_u16(code.0);
}

/// Appends a CREDIT of `bytes`.
pub fn encode_credit(out: &mut BytesMut, call: u64, bytes: u32) {
    Head::new(Kind::CREDIT, Flags::NONE, call, 4).encode(out);
    out.put_u32(bytes);
}

/// Appends a PING.
pub fn encode_ping(out: &mut BytesMut, opaque: [u8; 8]) {
    Head::new(Kind::PING, Flags::NONE, 0, 8).encode(out);
    out.put_slice(&opaque);
}

/// Appends the PONG to a PING.
pub fn encode_pong(out: &mut BytesMut, opaque: [u8; 8]) {
    Head::new(Kind::PONG, Flags::NONE, 0, 8).encode(out);
    out.put_slice(&opaque);
}

/// Appends a GOAWAY; its text is cut after 1,024 bytes.
///
/// # Panics
/// Never.
pub fn encode_go_away(out: &mut BytesMut, go_away: &GoAway) {
    let text = &go_away.text.as_bytes()[..go_away.text.floor_char_boundary(MAX_TEXT)];
    Head::new(Kind::GOAWAY, Flags::NONE, 0, checked_u32(14 + text.len())).encode(out);
    out.put_u64(go_away.last_call);
    out.put_u16(go_away.code.0);
    out.put_u32(u32::try_from(go_away.grace.as_millis()).unwrap_or(u32::MAX));
    out.put_slice(text);
}

pub(super) fn load_cancel(body: &[u8]) -> Result<Cancel, FrameError> {
    let mut fields = Fields::new(Kind::CANCEL, body);
    let (mode, code) = (fields.u8()?, Code(fields.u16()?));
    let cancel = match mode {
        1 => Cancel::Stop,
        2 => Cancel::Abort(code),
        _ => return Err(fields.malformed("the mode is neither stop (1) nor abort (2)")),
    };
    fields.done()?;
    Ok(cancel)
}

pub(super) fn load_credit(body: &[u8]) -> Result<u32, FrameError> {
    let mut fields = Fields::new(Kind::CREDIT, body);
    let bytes = fields.u32()?;
    if bytes == 0 {
        return Err(fields.malformed("a credit of zero"));
    }
    fields.done()?;
    Ok(bytes)
}

pub(super) fn load_opaque(kind: Kind, body: &[u8]) -> Result<[u8; 8], FrameError> {
    let mut fields = Fields::new(kind, body);
    let opaque = fields.array()?;
    fields.done()?;
    Ok(opaque)
}

pub(super) fn load_go_away(body: &[u8]) -> Result<GoAway, FrameError> {
    let mut fields = Fields::new(Kind::GOAWAY, body);
    let last_call = fields.u64()?;
    let code = Code(fields.u16()?);
    let grace = Duration::from_millis(u64::from(fields.u32()?));
    let text = kept(fields.rest(), MAX_TEXT);
    Ok(GoAway { last_call, code, grace, text })
}
