//! Frames of the other side, made by hand.

use bytes::BytesMut;
use plane_core::Code;
use plane_core::frame::{Flags, OpenFields, encode_message_head, encode_open};

use super::*;

/// A frame as bytes.
pub(super) fn frame(encode: impl FnOnce(&mut BytesMut)) -> BytesMut {
    let mut out = BytesMut::new();
    encode(&mut out);
    out
}

pub(super) fn message(call: u64, flags: Flags, length: usize) -> BytesMut {
    let mut out = frame(|out| encode_message_head(out, call, flags, length));
    out.extend_from_slice(&bytes(length));
    out
}

impl Pair {
    /// An OPEN with its message.
    pub(super) fn opening(&self, call: u64, flags: Flags, length: usize) -> BytesMut {
        let headers = Headers::new();
        let fields = OpenFields { endpoint: &self.endpoint, instance: None, timeout: None, headers: &headers };
        let mut out = frame(|out| encode_open(out, call, flags, &fields, length));
        out.extend_from_slice(&bytes(length));
        out
    }

    pub(super) fn listen(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        receive(&mut self.listener, self.now, bytes)
    }

    pub(super) fn hear(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        receive(&mut self.dialler, self.now, bytes)
    }

    /// How many frames without effect the listener puts up with now.
    pub(super) fn patience(&mut self) -> usize {
        (0..100).map_while(|_| self.listener.stray(self.now).ok()).count()
    }
}

pub(super) fn told(refused: Result<(), Failure>) -> Option<Code> {
    refused.expect_err("it is refused").tell
}
