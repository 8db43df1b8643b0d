//! Bytes on their way to the socket.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes, BytesMut};

/// Messages up to this many bytes are copied beside their head; larger ones are passed to the socket as they are.
const COALESCE: usize = 4 * 1024;

/// What is encoded and not yet handed to the socket.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    /// Frames that overtake messages.
    control: BytesMut,
    /// Everything before `tail`, in order.
    segments: VecDeque<Bytes>,
    tail: BytesMut,
    staged: usize,
}

impl Outbox {
    /// Where frames that overtake messages are appended.
    pub(crate) fn control(&mut self) -> &mut BytesMut {
        &mut self.control
    }

    /// Appends a frame: its head by `encode`, then its payload.
    pub(crate) fn push(&mut self, encode: impl FnOnce(&mut BytesMut), payload: &Bytes) {
        let before = self.tail.len();
        encode(&mut self.tail);
        self.staged += self.tail.len() - before + payload.len();
        if payload.len() <= COALESCE {
            self.tail.extend_from_slice(payload);
        } else {
            self.segments.push_back(self.tail.split().freeze());
            self.segments.push_back(payload.clone());
        }
    }

    /// Bytes of messages and their heads.
    pub(crate) fn staged(&self) -> usize {
        self.staged
    }

    /// Forgets everything but the frames that overtake messages.
    pub(crate) fn drop_messages(&mut self) {
        self.segments.clear();
        self.tail.clear();
        self.staged = 0;
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.staged == 0 && self.control.is_empty()
    }

    /// Moves everything to `batch`, control frames first.
    pub(crate) fn take(&mut self, batch: &mut Batch) {
        if !self.control.is_empty() {
            batch.push(self.control.split().freeze());
        }
        for segment in self.segments.drain(..) {
            batch.push(segment);
        }
        if !self.tail.is_empty() {
            batch.push(self.tail.split().freeze());
        }
        self.staged = 0;
    }
}

/// What the socket is being given.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    segments: VecDeque<Bytes>,
    /// Bytes that the socket took so far.
    written: u64,
}

/// More slices than this bring no more speed, and some systems refuse more than 1,024.
const MAX_SLICES: usize = 64;

impl Batch {
    fn push(&mut self, segment: Bytes) {
        if !segment.is_empty() {
            self.segments.push_back(segment);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// Hands the bytes to `write` as slices, which returns how many it took.
    pub(crate) fn write_with<E>(&self, write: impl FnOnce(&[IoSlice<'_>]) -> Result<usize, E>) -> Result<usize, E> {
        if let [only] = self.segments.as_slices().0
            && self.segments.len() == 1
        {
            return write(&[IoSlice::new(only)]);
        }
        let mut slices = [IoSlice::new(&[]); MAX_SLICES];
        let mut used = 0;
        for (slice, segment) in slices.iter_mut().zip(&self.segments) {
            *slice = IoSlice::new(segment);
            used += 1;
        }
        write(&slices[..used])
    }

    /// Bytes that the socket took so far, over all batches.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    /// Drops the first `written` bytes: the socket took them.
    pub(crate) fn advance(&mut self, mut written: usize) {
        self.written += written as u64;
        while let Some(front) = self.segments.front_mut() {
            if written < front.len() {
                front.advance(written);
                return;
            }
            written -= front.len();
            self.segments.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(outbox: &mut Outbox, head: &'static [u8], payload: Bytes) {
        outbox.push(|out| out.extend_from_slice(head), &payload);
    }

    fn bytes(batch: &Batch) -> Vec<u8> {
        batch.segments.iter().flatten().copied().collect()
    }

    /// Case A5: contiguous and vectored encodings are the same bytes, and large payloads are not copied.
    #[test]
    fn order_is_kept_and_large_payloads_are_not_copied() {
        let large = Bytes::from(vec![7; COALESCE + 1]);
        let mut outbox = Outbox::default();
        push(&mut outbox, b"a", Bytes::from_static(b"1"));
        push(&mut outbox, b"b", large.clone());
        push(&mut outbox, b"c", Bytes::from_static(b"3"));
        outbox.control().extend_from_slice(b"!");
        assert_eq!(outbox.staged(), 5 + large.len());
        let mut batch = Batch::default();
        outbox.take(&mut batch);
        assert!(outbox.is_empty());
        assert_eq!(bytes(&batch), [&b"!a1b"[..], &large, b"c3"].concat());
        assert!(batch.segments.iter().any(|segment| segment.as_ptr() == large.as_ptr()));
    }

    /// Up to 4 KiB a payload is copied beside its head.
    #[test]
    fn only_small_payloads_are_copied() {
        for (length, segments) in [(4096, 1), (4097, 2)] {
            let mut outbox = Outbox::default();
            push(&mut outbox, b"a", vec![7; length].into());
            let mut batch = Batch::default();
            outbox.take(&mut batch);
            assert_eq!((batch.segments.len(), bytes(&batch).len()), (segments, 1 + length));
        }
    }

    #[test]
    fn control_frames_outlive_messages() {
        let mut outbox = Outbox::default();
        assert!(outbox.is_empty());
        push(&mut outbox, b"a", Bytes::from(vec![7; 5000]));
        push(&mut outbox, b"b", Bytes::new());
        assert_eq!((outbox.staged(), outbox.is_empty()), (5002, false));
        outbox.drop_messages();
        assert_eq!((outbox.staged(), outbox.is_empty()), (0, true));
        outbox.control().extend_from_slice(b"!");
        assert_eq!((outbox.staged(), outbox.is_empty()), (0, false));
        let mut batch = Batch::default();
        outbox.take(&mut batch);
        assert_eq!((bytes(&batch), outbox.is_empty()), (b"!".to_vec(), true));
        outbox.take(&mut batch);
        assert_eq!(batch.segments.len(), 1, "nothing is left");
    }

    /// However many segments there are, the socket is given 64 at once, and what it took is counted over all batches.
    #[test]
    fn many_segments_go_out_in_turns() {
        let mut batch = Batch::default();
        for _ in 0..2 {
            let mut outbox = Outbox::default();
            for _ in 0..50 {
                push(&mut outbox, b"a", Bytes::from(vec![7; 5000]));
            }
            outbox.take(&mut batch);
            let mut turns = Vec::new();
            while !batch.is_empty() {
                let taken = batch.write_with(|slices| {
                    turns.push(slices.len());
                    Ok::<_, ()>(slices.iter().map(|slice| slice.len()).sum())
                });
                batch.advance(taken.unwrap());
            }
            assert_eq!(turns, [64, 36]);
        }
        assert_eq!(batch.written(), 2 * 250_050);
    }

    /// Case A5: short writes at every boundary.
    #[test]
    fn short_writes_lose_nothing() {
        let large = Bytes::from((0..=255).cycle().take(COALESCE + 9).collect::<Vec<u8>>());
        for step in [1, 2, 3, 1000, COALESCE, usize::MAX] {
            let mut outbox = Outbox::default();
            push(&mut outbox, b"ab", Bytes::from_static(b"12"));
            push(&mut outbox, b"cd", large.clone());
            let mut batch = Batch::default();
            outbox.take(&mut batch);
            let expected = bytes(&batch);
            let mut written = Vec::new();
            while !batch.is_empty() {
                let taken = batch
                    .write_with(|slices| {
                        let all: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
                        let taken = step.min(all.len());
                        written.extend_from_slice(&all[..taken]);
                        Ok::<_, ()>(taken)
                    })
                    .unwrap();
                batch.advance(taken);
            }
            assert_eq!(written, expected);
        }
    }
}
