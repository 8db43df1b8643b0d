//! Messages that tell where they belong.

use bytes::Bytes;
use plane_core::{Body, Status};

/// Marks the messages of one call, so that a message of another one, or out of order, is noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nonce(u64);

impl Nonce {
    /// One that no other call has.
    #[must_use]
    pub fn fresh() -> Self {
        Self(fastrand::u64(..))
    }

    /// One that tests agree on.
    #[must_use]
    pub const fn of(value: u64) -> Self {
        Self(value)
    }

    /// The message number `index` of the call. Its bytes differ from those of every other message of this size, down
    /// to sizes too small for that.
    #[must_use]
    pub fn message(self, index: u64, size: usize) -> Bytes {
        let mut bytes = Vec::with_capacity(size + 8);
        let mut word = self.0.wrapping_add(index.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        while bytes.len() < size {
            bytes.extend_from_slice(&word.to_be_bytes());
            word = word.wrapping_add(1);
        }
        bytes.truncate(size);
        bytes.into()
    }

    /// The messages `0..count`, all of this size.
    #[must_use]
    pub fn messages(self, count: u64, size: usize) -> Vec<Bytes> {
        (0..count).map(|index| self.message(index, size)).collect()
    }

    /// The same as a body that is produced one by one, as the reader asks.
    #[must_use]
    pub fn stream(self, count: u64, size: usize) -> Body {
        Body::stream(futures_util::stream::iter(
            (0..count).map(move |index| Ok::<_, Status>(self.message(index, size))),
        ))
    }
}
