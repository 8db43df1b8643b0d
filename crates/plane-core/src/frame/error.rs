//! What breaks a connection: bytes that no correct peer sends.

use crate::frame::head::Kind;
use crate::status::Code;

/// Bytes that no correct peer sends. The connection ends with a GOAWAY that carries [`FrameError::code`] and the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// A length over the limit; found in the head, before the body is stored.
    #[error("a {kind} frame of {length} bytes is over the limit of {limit} bytes (max_frame)")]
    TooLarge {
        /// What the frame is.
        kind: Kind,
        /// Its declared length.
        length: u32,
        /// The limit that HELLO told.
        limit: usize,
    },
    /// A kind below 0x80 that this version does not know.
    #[error("unknown frame kind {0} may not be skipped")]
    UnknownKind(Kind),
    /// Flag bits that the kind does not have, or the reserved bytes of the head.
    #[error("a {kind} frame has reserved bits set: flags {flags:#04x}, zero {zero:#06x}")]
    ReservedBits {
        /// What the frame is.
        kind: Kind,
        /// The offending flags.
        flags: u8,
        /// The reserved bytes.
        zero: u16,
    },
    /// A call id of zero in a frame of a call, or another in a frame of the connection.
    #[error("a {kind} frame has the call id {call}")]
    CallId {
        /// What the frame is.
        kind: Kind,
        /// The id.
        call: u64,
    },
    /// A body that is cut short, too long, or has a field with an impossible value.
    #[error("a {kind} frame is malformed: {problem}")]
    Malformed {
        /// What the frame is.
        kind: Kind,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Both sides have no version in common.
    #[error("this side speaks version {ours} and the other {theirs_min} to {theirs_max}")]
    Version {
        /// The version of this side.
        ours: u16,
        /// The lowest of the other.
        theirs_min: u16,
        /// The highest of the other.
        theirs_max: u16,
    },
}

impl FrameError {
    /// The code that the GOAWAY carries.
    #[must_use]
    pub fn code(&self) -> Code {
        Code::PROTOCOL
    }
}

/// Reads big-endian fields from the front of a body.
pub(crate) struct Fields<'a> {
    kind: Kind,
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(crate) fn new(kind: Kind, body: &'a [u8]) -> Self {
        Self { kind, rest: body }
    }

    pub(crate) fn malformed(&self, problem: &'static str) -> FrameError {
        FrameError::Malformed { kind: self.kind, problem }
    }

    pub(crate) fn bytes(&mut self, length: usize) -> Result<&'a [u8], FrameError> {
        let (front, rest) = self.rest.split_at_checked(length).ok_or_else(|| self.malformed("it is cut short"))?;
        self.rest = rest;
        Ok(front)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], FrameError> {
        let (front, rest) = self.rest.split_first_chunk().ok_or_else(|| self.malformed("it is cut short"))?;
        self.rest = rest;
        Ok(*front)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, FrameError> {
        Ok(u8::from_be_bytes(self.array()?))
    }

    pub(crate) fn u16(&mut self) -> Result<u16, FrameError> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    pub(crate) fn u32(&mut self) -> Result<u32, FrameError> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    pub(crate) fn u64(&mut self) -> Result<u64, FrameError> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Ends the reading: nothing may be left.
    pub(crate) fn done(self) -> Result<(), FrameError> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.malformed("it is longer than its fields")) }
    }
}
