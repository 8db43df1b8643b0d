//! From what was read so far to whole frames, without copying them.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::frame::error::FrameError;
use crate::frame::head::{HEAD_LEN, Head, Kind};
use crate::frame::parse::{Frame, FrameLimits, check_head, message_flags};

/// The room for a read of a connection that has not shown to need more.
const INITIAL: usize = 8 * 1024;

/// The room for a read of a connection that keeps filling it.
const LARGEST_READ: usize = 256 * 1024;

/// Collects what is read and gives back whole frames as slices of it.
///
/// It grows with the bytes that came, never with the length that a head declares.
#[derive(Debug)]
pub struct Decoder {
    buffer: BytesMut,
    limits: FrameLimits,
    shrink_above: usize,
    read_size: usize,
}

impl Decoder {
    /// A decoder that takes frames within these limits. An emptied buffer above `shrink_above` bytes shrinks.
    #[must_use]
    pub fn new(limits: FrameLimits, shrink_above: usize) -> Self {
        Self { buffer: BytesMut::new(), limits, shrink_above, read_size: INITIAL }
    }

    /// The buffer to read into, with room for the next read.
    pub fn buffer(&mut self) -> &mut BytesMut {
        let room = self.buffer.capacity() - self.buffer.len();
        if room < self.read_size / 2 {
            self.buffer.reserve(self.read_size);
        }
        &mut self.buffer
    }

    /// Whether the last read filled the room it had. More room is given next time.
    pub fn note_read(&mut self, bytes: usize) {
        if bytes >= self.read_size / 2 {
            self.read_size = (self.read_size * 2).min(LARGEST_READ);
        }
    }

    /// Appends bytes that were read elsewhere.
    pub fn extend(&mut self, bytes: &[u8]) {
        self.buffer.put_slice(bytes);
    }

    /// All whole frames that are there, at once; `None` if there is none.
    ///
    /// # Errors
    /// The first head that no correct peer sends, as soon as its 16 bytes are there. Whole frames before it are given
    /// first.
    pub fn frames(&mut self) -> Result<Option<Frames>, FrameError> {
        let mut failed = None;
        // Bytes at the front that belong to whole frames.
        let mut complete = 0;
        while let Some(head) = Head::decode(&self.buffer[complete..]) {
            if let Err(error) = check_head(head, &self.limits) {
                failed = Some(error);
                break;
            }
            let end = complete + HEAD_LEN + head.length as usize;
            if end > self.buffer.len() {
                break;
            }
            complete = end;
        }
        if complete > 0 {
            let block = self.buffer.split_to(complete).freeze();
            self.shrink();
            return Ok(Some(Frames { block, limits: self.limits }));
        }
        failed.map_or(Ok(None), Err)
    }

    /// Bytes of a frame that has not come whole.
    #[must_use]
    pub fn partial(&self) -> usize {
        self.buffer.len()
    }

    /// Bytes that the buffer could hold now.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.buffer.capacity()
    }

    /// Gives the memory of an empty buffer back; for connections that are quiet.
    pub fn rest(&mut self) {
        if self.buffer.is_empty() {
            self.buffer = BytesMut::new();
            self.read_size = INITIAL;
        }
    }

    fn shrink(&mut self) {
        if self.buffer.is_empty() && self.buffer.capacity() > self.shrink_above {
            self.rest();
        }
    }
}

/// Whole frames that came together. Their messages share one buffer.
#[derive(Debug)]
pub struct Frames {
    block: Bytes,
    limits: FrameLimits,
}

impl Frames {
    /// The bytes of the frames that were not taken.
    #[must_use]
    pub fn rest(&self) -> &[u8] {
        &self.block
    }

    /// Checks the next frame and hands it to `handle`; `None` after the last.
    ///
    /// # Errors
    /// What no correct peer sends.
    pub fn next<T>(&mut self, handle: impl FnOnce(Frame<'_>) -> T) -> Option<Result<T, FrameError>> {
        let head = Head::decode(&self.block)?;
        let end = HEAD_LEN + head.length as usize;
        let payload = |offset| self.block.slice(HEAD_LEN + offset..end);
        // Heads were checked when the decoder found them. Most frames are messages, which are not moved once more with
        // all that a frame can be.
        let handled = if head.kind == Kind::MESSAGE {
            let Head { kind, flags, call, .. } = head;
            message_flags(kind, flags, end - HEAD_LEN)
                .map(|flags| handle(Frame::Message { call, flags, payload: payload(0) }))
        } else {
            Frame::parse_body(head, &self.block[HEAD_LEN..end], payload, &self.limits).map(handle)
        };
        self.block.advance(end);
        Some(handled)
    }
}
