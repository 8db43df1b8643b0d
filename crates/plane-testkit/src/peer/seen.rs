//! Frames as a test looks at them.

use bytes::Bytes;
use plane_core::frame::{Cancel, End, Flags, Frame, GoAway};
use plane_core::{HeaderError, Headers, Status};

/// A frame that came, with all it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Seen {
    /// A call starts.
    Open {
        /// The call.
        call: u64,
        /// END, MORE or NO_MESSAGE.
        flags: Flags,
        /// The endpoint and the headers, or why they are refused.
        open: Result<(String, Headers), Status>,
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
    /// A direction ended.
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
        /// Its headers, or why they are refused.
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
        /// How many bytes more.
        bytes: u32,
    },
    /// No more calls are taken on.
    GoAway(GoAway),
    /// Anything else, as text.
    Other(String),
}

impl From<Frame<'_>> for Seen {
    fn from(frame: Frame<'_>) -> Self {
        match frame {
            Frame::Open { call, flags, open, payload } => {
                let open = open.map(|open| (open.endpoint.to_owned(), open.headers));
                Self::Open { call, flags, open, payload }
            }
            Frame::Message { call, flags, payload } => Self::Message { call, flags, payload },
            Frame::End { call, not_executed, end } => Self::End { call, not_executed, end },
            Frame::Accept { call } => Self::Accept { call },
            Frame::Headers { call, headers } => Self::Headers { call, headers },
            Frame::Cancel { call, cancel } => Self::Cancel { call, cancel },
            Frame::Credit { call, bytes } => Self::Credit { call, bytes },
            Frame::GoAway(go_away) => Self::GoAway(go_away),
            other => Self::Other(format!("{other:?}")),
        }
    }
}
