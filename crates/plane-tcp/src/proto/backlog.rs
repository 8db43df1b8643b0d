//! Messages that came and wait for their reader.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

/// When the unread messages came with this many reads, small ones of further reads are copied out of the buffer that they were
/// read into. Otherwise each would keep all of it alive, which other calls filled too.
const COPY_BEYOND: u32 = 8;

/// Messages larger than this fill their buffer well enough to keep it.
const COPY_UP_TO: usize = 8 * 1024;

/// Messages in order. The first stands beside the others: most calls have one message at a time, and take no memory
/// for more.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    first: Option<Unread>,
    others: VecDeque<Unread>,
    /// Where small messages of a reader that lags behind go.
    copies: Option<Box<BytesMut>>,
    /// With how many reads of the connection the messages came at most, and the last of these.
    reads: u32,
    last_read: u64,
}

#[derive(Debug)]
struct Unread {
    message: Bytes,
    cost: u32,
}

impl Backlog {
    /// Adds a message, and what it holds of the credit.
    pub(crate) fn push(&mut self, message: Bytes, cost: u32) {
        let unread = Unread { message, cost };
        if self.first.is_none() {
            self.first = Some(unread);
        } else {
            self.others.push_back(unread);
        }
    }

    /// A message that came with this read, in memory that it may keep.
    pub(crate) fn own(&mut self, message: Bytes, read: u64) -> Bytes {
        if self.is_empty() {
            self.reads = 0;
        }
        if self.reads == 0 || read != self.last_read {
            self.reads = self.reads.saturating_add(1);
            self.last_read = read;
        }
        if self.reads <= COPY_BEYOND || message.len() > COPY_UP_TO {
            return message;
        }
        // Those of one call stand together, so that not each of them asks the allocator.
        let copies = self.copies.get_or_insert_with(Box::default);
        if copies.capacity() < message.len() {
            **copies = BytesMut::with_capacity(COPY_UP_TO);
        }
        copies.extend_from_slice(&message);
        copies.split().freeze()
    }

    /// The next message and its cost.
    pub(crate) fn pop(&mut self) -> Option<(Bytes, u32)> {
        let Unread { message, cost } = self.first.take()?;
        if !self.others.is_empty() {
            self.first = self.others.pop_front();
        }
        Some((message, cost))
    }

    /// Drops all of them, and the memory for them.
    pub(crate) fn clear(&mut self) {
        self.first = None;
        if self.others.capacity() > 0 {
            self.others = VecDeque::new();
        }
        self.copies = None;
        self.reads = 0;
        self.last_read = 0;
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// What all of them hold of the credit.
    pub(crate) fn cost(&self) -> u32 {
        self.iter().map(|unread| unread.cost).sum()
    }

    /// Their bytes.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn bytes(&self) -> usize {
        self.iter().map(|unread| unread.message.len()).sum()
    }

    fn iter(&self) -> impl Iterator<Item = &Unread> {
        self.first.iter().chain(&self.others)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(backlog: &mut Backlog, message: Bytes, read: u64) {
        let message = backlog.own(message, read);
        backlog.push(message, 1);
    }

    /// Small messages are copied out of their buffer, larger ones fill it well enough.
    #[test]
    fn only_small_messages_of_a_lagging_reader_are_copied() {
        for (length, copied) in [(COPY_UP_TO, true), (COPY_UP_TO + 1, false)] {
            let mut backlog = Backlog::default();
            (0..u64::from(COPY_BEYOND)).for_each(|read| take(&mut backlog, Bytes::new(), read));
            let message = Bytes::from(vec![3; length]);
            take(&mut backlog, message.clone(), u64::MAX);
            let kept = &backlog.others.back().unwrap().message;
            assert_eq!((kept, kept.as_ptr() != message.as_ptr()), (&message, copied), "{length} bytes");
        }
        assert_eq!(COPY_UP_TO, 8192);
    }

    /// The messages of one read keep its buffer once, however many they are.
    #[test]
    fn a_lagging_reader_pins_few_read_buffers() {
        let mut backlog = Backlog::default();
        let blocks: Vec<_> = (0..COPY_BEYOND + 2).map(|_| Bytes::from(vec![1; 64 * 1024])).collect();
        // One who has read all of it lags no more.
        for _ in 0..2 {
            for (read, block) in (0..).zip(&blocks) {
                (0..100).for_each(|_| take(&mut backlog, block.slice(0..1), read));
            }
            let pins = |block: &Bytes, unread: &Unread| block.as_ptr_range().contains(&unread.message.as_ptr());
            let pinned = |block: &Bytes| backlog.iter().filter(|unread| pins(block, unread)).count();
            let expected = [vec![100; COPY_BEYOND as usize], vec![0; 2]].concat();
            assert_eq!(blocks.iter().map(pinned).collect::<Vec<_>>(), expected);
            while backlog.pop().is_some() {}
        }
    }
}
