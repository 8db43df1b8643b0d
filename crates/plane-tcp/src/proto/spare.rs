//! Memory of large messages that were read, for those that come next: taking it anew from the system for each costs more
//! than all else that is done for a message.

use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::BytesMut;

/// A connection keeps so many buffers: about as many as it has large messages in hand at a time.
const MOST: usize = 16;

/// Larger ones are not kept.
const LARGEST: usize = 32 * 1024 * 1024;

/// All connections of the process together keep so many bytes.
const IN_ALL: usize = 64 * 1024 * 1024;

/// Bytes that the connections of this process keep.
static KEPT: AtomicUsize = AtomicUsize::new(0);

/// The buffers of one connection.
#[derive(Debug, Default)]
pub(crate) struct Spares {
    spares: Vec<Spare>,
    /// One was asked for since the last rest.
    used: bool,
}

/// A buffer without content. A message that was cut out of it may still be in use; then it is of no use yet.
#[derive(Debug)]
struct Spare {
    buffer: BytesMut,
    room: usize,
}

impl Spares {
    /// An empty buffer with this much room, kept or new.
    pub(crate) fn take(&mut self, room: usize) -> BytesMut {
        self.find(room).unwrap_or_else(|| BytesMut::with_capacity(room))
    }

    /// One that was kept, with this much room and at most twice that: what few bytes hold must not be much memory.
    pub(crate) fn find(&mut self, room: usize) -> Option<BytesMut> {
        self.used = true;
        let fits = |spare: &mut Spare| spare.room <= 2 * room && spare.buffer.try_reclaim(room);
        let place = self.spares.iter_mut().position(fits)?;
        Some(std::mem::take(&mut self.spares.remove(place).buffer))
    }

    /// Keeps an empty buffer that had this much room before the message was cut out of it. The oldest goes if there
    /// are too many.
    pub(crate) fn keep(&mut self, buffer: BytesMut, room: usize) {
        if room == 0 || room > LARGEST {
            return;
        }
        if self.spares.len() == MOST {
            self.spares.remove(0);
        }
        if KEPT.fetch_add(room, Ordering::Relaxed) + room > IN_ALL {
            KEPT.fetch_sub(room, Ordering::Relaxed);
            return;
        }
        self.spares.push(Spare { buffer, room });
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.spares.len()
    }

    /// Gives all back, unless one was asked for since the last rest.
    pub(crate) fn rest(&mut self) {
        if !std::mem::take(&mut self.used) {
            self.spares = Vec::new();
        }
    }
}

impl Drop for Spare {
    fn drop(&mut self) {
        KEPT.fetch_sub(self.room, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: usize = 100_000;

    /// What the process keeps is counted for all of these together.
    static ALONE: parking_lot::Mutex<()> = parking_lot::Mutex::new(());

    /// A message that fills its buffer, whose memory is kept.
    fn message(spares: &mut Spares) -> bytes::Bytes {
        let mut buffer = spares.take(ROOM);
        buffer.extend_from_slice(&[7; ROOM]);
        let message = buffer.split().freeze();
        spares.keep(buffer, ROOM);
        message
    }

    #[test]
    fn memory_is_used_again_once_the_message_is_gone() {
        let _alone = ALONE.lock();
        let mut spares = Spares::default();
        let first = message(&mut spares);
        let at = first.as_ptr();
        let second = message(&mut spares);
        assert_ne!(second.as_ptr(), at, "the first is in use");
        drop(first);
        assert_eq!(message(&mut spares).as_ptr(), at);
        assert_eq!((spares.spares.len(), &second[..]), (2, &[7; ROOM][..]));
    }

    #[test]
    fn a_buffer_that_fits_has_at_most_twice_the_room() {
        let _alone = ALONE.lock();
        let mut spares = Spares::default();
        drop(message(&mut spares));
        for (room, kept) in [(ROOM + 1, 1), (ROOM / 2 - 1, 1), (ROOM / 2, 0)] {
            assert!(spares.take(room).capacity() >= room);
            assert_eq!(spares.len(), kept, "{room}");
        }
    }

    #[test]
    fn only_so_many_are_kept() {
        let _alone = ALONE.lock();
        assert_eq!((MOST, LARGEST, IN_ALL), (16, 32 << 20, 64 << 20));
        let mut spares = Spares::default();
        let messages: Vec<_> = (0..=MOST).map(|_| message(&mut spares)).collect();
        assert_eq!(spares.spares.len(), MOST);
        drop(messages);
        spares.keep(BytesMut::new(), LARGEST + 1);
        assert_eq!(spares.spares.len(), MOST);
        spares.keep(BytesMut::new(), LARGEST);
        assert_eq!(spares.spares.last().map(|spare| spare.room), Some(LARGEST));
    }

    #[test]
    fn nothing_is_kept_for_long_that_is_not_used() {
        let _alone = ALONE.lock();
        let mut spares = Spares::default();
        message(&mut spares);
        spares.rest();
        assert_eq!(spares.spares.len(), 1, "it was used just now");
        spares.rest();
        assert_eq!(spares.spares.len(), 0);
    }

    /// Connections share what may be kept: when others keep all of it, this one keeps nothing.
    #[test]
    fn all_connections_together_keep_so_much() {
        let _alone = ALONE.lock();
        const EACH: usize = 2 << 20;
        let mut crowd: Vec<Spares> = (0..8).map(|_| Spares::default()).collect();
        for spares in &mut crowd {
            (0..8).for_each(|_| spares.keep(BytesMut::new(), EACH));
        }
        let kept: usize = crowd.iter().flat_map(|spares| &spares.spares).map(|spare| spare.room).sum();
        // As much as may be, up to what other tests of this process keep meanwhile.
        assert!(kept <= IN_ALL && kept > IN_ALL / 2, "{kept} bytes");
        assert!(crowd.iter().any(|spares| spares.spares.is_empty()));
    }
}
