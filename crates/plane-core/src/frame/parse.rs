//! From head and body to a checked [`Frame`].

use bytes::Bytes;

use crate::frame::control::{Cancel, GoAway, load_cancel, load_credit, load_go_away, load_opaque};
use crate::frame::end::{End, load_headers};
use crate::frame::error::FrameError;
use crate::frame::head::{Flags, Head, Kind};
use crate::frame::hello::Hello;
use crate::frame::open::Open;
use crate::headers::{HeaderError, HeaderLimits, Headers};
use crate::status::Status;

/// What a receiver takes (docs/protocol.md, "HELLO").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameLimits {
    /// The largest frame body, in bytes.
    pub max_frame: usize,
    /// The limits of every header block.
    pub headers: HeaderLimits,
}

impl Default for FrameLimits {
    fn default() -> Self {
        Self { max_frame: 256 * 1024, headers: HeaderLimits::default() }
    }
}

/// One frame, checked whole. Messages are slices of what was read.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Frame<'a> {
    /// The first frame of a side.
    Hello(Hello),
    /// A call starts.
    Open {
        /// The call.
        call: u64,
        /// END, MORE or NO_MESSAGE.
        flags: Flags,
        /// What is called, or why that is refused.
        open: Result<Open<'a>, Status>,
        /// The first message or its first chunk.
        payload: Bytes,
    },
    /// A message or a chunk of one.
    Message {
        /// The call.
        call: u64,
        /// END or MORE.
        flags: Flags,
        /// The bytes.
        payload: Bytes,
    },
    /// A direction of a call ended.
    End {
        /// The call.
        call: u64,
        /// Whether no handler was started.
        not_executed: bool,
        /// How it ended.
        end: End,
    },
    /// The handler was started.
    Accept {
        /// The call.
        call: u64,
    },
    /// The answer has begun.
    Headers {
        /// The call.
        call: u64,
        /// Its headers, or why they cannot be used.
        headers: Result<Headers, HeaderError>,
    },
    /// The caller asks for an end.
    Cancel {
        /// The call.
        call: u64,
        /// How.
        cancel: Cancel,
    },
    /// The receiver can take more.
    Credit {
        /// The call.
        call: u64,
        /// How many bytes more; never zero.
        bytes: u32,
    },
    /// Asks for a sign of life.
    Ping([u8; 8]),
    /// The sign of life.
    Pong([u8; 8]),
    /// No more calls are taken on.
    GoAway(GoAway),
    /// A kind that this version does not know and may skip.
    Skipped(Kind),
}

impl<'a> Frame<'a> {
    /// Checks a frame whole.
    ///
    /// # Errors
    /// The first thing in it that no correct peer sends.
    pub fn parse(head: Head, body: &'a Bytes, limits: &FrameLimits) -> Result<Self, FrameError> {
        check_head(head, limits)?;
        Self::parse_body(head, body, |offset| body.slice(offset..), limits)
    }

    /// The same behind a head that was checked. `payload` shares the body from an offset on, so that a message costs no
    /// more than a share of what was read.
    #[inline]
    pub(super) fn parse_body(
        head: Head,
        body: &'a [u8],
        payload: impl FnOnce(usize) -> Bytes,
        limits: &FrameLimits,
    ) -> Result<Self, FrameError> {
        let Head { kind, flags, call, .. } = head;
        Ok(match kind {
            Kind::MESSAGE => {
                let flags = message_flags(kind, flags, body.len())?;
                Self::Message { call, flags, payload: payload(0) }
            }
            Kind::OPEN => {
                let (open, offset) = Open::load(body, limits.headers)?;
                let flags = message_flags(kind, flags, body.len() - offset)?;
                if flags.has(Flags::NO_MESSAGE) && offset != body.len() {
                    return Err(FrameError::Malformed { kind, problem: "it says NO_MESSAGE and carries one" });
                }
                Self::Open { call, flags, open, payload: payload(offset) }
            }
            Kind::END => {
                let not_executed = flags.has(Flags::NOT_EXECUTED);
                Self::End { call, not_executed, end: End::load(&payload(0), limits.headers)? }
            }
            Kind::ACCEPT if body.is_empty() => Self::Accept { call },
            Kind::ACCEPT => return Err(FrameError::Malformed { kind, problem: "it has a body" }),
            Kind::HEADERS => Self::Headers { call, headers: load_headers(body, limits.headers) },
            Kind::CANCEL => Self::Cancel { call, cancel: load_cancel(body)? },
            Kind::CREDIT => Self::Credit { call, bytes: load_credit(body)? },
            Kind::PING => Self::Ping(load_opaque(kind, body)?),
            Kind::PONG => Self::Pong(load_opaque(kind, body)?),
            Kind::GOAWAY => Self::GoAway(load_go_away(body)?),
            Kind::HELLO => Self::Hello(Hello::load(&payload(0))?),
            _ => Self::Skipped(kind),
        })
    }
}

/// What can be said of a frame before its body has come (docs/protocol.md, "Frame").
pub(super) fn check_head(head: Head, limits: &FrameLimits) -> Result<(), FrameError> {
    let Head { length, kind, flags, zero, call } = head;
    if length as usize > limits.max_frame {
        return Err(FrameError::TooLarge { kind, length, limit: limits.max_frame });
    }
    let Some(allowed) = kind.flags() else {
        return if kind.may_be_skipped() { Ok(()) } else { Err(FrameError::UnknownKind(kind)) };
    };
    if flags.0 & !allowed.0 != 0 || zero != 0 {
        return Err(FrameError::ReservedBits { kind, flags: flags.0 & !allowed.0, zero });
    }
    let of_connection = matches!(kind, Kind::HELLO | Kind::PING | Kind::PONG | Kind::GOAWAY);
    if of_connection == (call == 0) { Ok(()) } else { Err(FrameError::CallId { kind, call }) }
}

/// A chunk that is not the last of its message has at least this many bytes, so that a message cannot be made to cost a
/// frame for every few of them.
pub const MIN_CHUNK: usize = 256;

/// END, MORE and NO_MESSAGE exclude one another.
#[inline]
pub(super) fn message_flags(kind: Kind, flags: Flags, length: usize) -> Result<Flags, FrameError> {
    if flags.has(Flags::MORE) && length < MIN_CHUNK {
        return Err(FrameError::Malformed { kind, problem: "a chunk that says MORE has fewer than 256 bytes" });
    }
    if flags.0.count_ones() > 1 {
        return Err(FrameError::Malformed { kind, problem: "END, MORE and NO_MESSAGE exclude one another" });
    }
    Ok(flags)
}
