//! Messages that come in chunks: how one is put together, and how many bytes of such messages a connection holds.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;

use crate::proto::spare::Spares;

/// The first chunk of a message takes room for so many of its size: more are to come, and to move them again for each
/// that does costs more than the room.
const ROOM: usize = 16;

/// But not for more than this.
const MOST_ROOM: usize = 1024 * 1024;

/// What the calls of a connection share for messages that come in chunks. Changed under the connection's lock only.
#[derive(Debug)]
pub(crate) struct Reassembly {
    state: Mutex<State>,
    limit: usize,
}

#[derive(Debug, Default)]
struct State {
    /// Credit that was given back for bytes that are still held, so that messages larger than a window can come.
    lent: usize,
    /// One call has no limit but that of its message: whatever others hold, it gets done.
    favourite: bool,
    spares: Spares,
}

impl Reassembly {
    /// Lends up to this many bytes of credit, and as much as one message more.
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), limit })
    }

    /// Gives memory back that has not been used since the last time.
    pub(crate) fn rest(&self) {
        self.state.lock().spares.rest();
    }

    /// Buffers that are kept.
    #[cfg(test)]
    pub(crate) fn spares(&self) -> usize {
        self.state.lock().spares.len()
    }

    #[cfg(test)]
    pub(crate) fn lent(&self) -> usize {
        self.state.lock().lent
    }
}

/// What a call has beside others once a message came in chunks.
#[derive(Debug)]
pub(crate) struct Partial {
    reassembly: Arc<Reassembly>,
    /// The chunks of a message that has not come whole.
    bytes: BytesMut,
    /// Credit that they hold.
    cost: u32,
    /// Credit that was given back for chunks of this message, or of the last one that is whole and unread.
    lent: usize,
    /// Whether its credit waits until others of the connection hold less.
    starved: bool,
    favourite: bool,
}

impl Partial {
    pub(crate) fn new(reassembly: Arc<Reassembly>) -> Self {
        Self { reassembly, bytes: BytesMut::new(), cost: 0, lent: 0, starved: false, favourite: false }
    }

    /// Bytes of the message that has not come whole.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Credit that they hold.
    pub(crate) fn cost(&self) -> u32 {
        self.cost
    }

    pub(crate) fn is_starved(&self) -> bool {
        self.starved
    }

    /// Appends a chunk that is not the last.
    pub(crate) fn push(&mut self, chunk: &Bytes, cost: u32) {
        self.append(chunk);
        self.cost += cost;
    }

    /// Its memory is at most four times what came, or thirty-two times up to two mebibytes: half of that, or a buffer that was
    /// kept and is up to twice as large.
    fn append(&mut self, chunk: &Bytes) {
        let (held, needed) = (self.bytes.len(), self.bytes.len() + chunk.len());
        if self.bytes.capacity() < needed {
            let room = if held == 0 { (ROOM * needed).min(MOST_ROOM).max(needed) } else { 2 * needed };
            let spares = &mut self.reassembly.state.lock().spares;
            if let Some(mut larger) = spares.find(room) {
                larger.extend_from_slice(&self.bytes);
                let mut old = std::mem::replace(&mut self.bytes, larger);
                old.clear();
                let room = old.capacity();
                spares.keep(old, room);
            } else {
                self.bytes.reserve(room - held);
            }
        }
        self.bytes.extend_from_slice(chunk);
    }

    /// The message with its last chunk, and the credit that it still holds.
    pub(crate) fn finish(&mut self, last: &Bytes) -> (Bytes, u32) {
        self.append(last);
        self.starved = false;
        self.favour(false);
        let mut bytes = std::mem::take(&mut self.bytes);
        let spares = &mut self.reassembly.state.lock().spares;
        // A message that is much smaller than its room would hold more than it counts for.
        if bytes.len() < bytes.capacity() / 2 {
            let mut fitting = spares.take(bytes.len());
            fitting.extend_from_slice(&bytes);
            bytes.clear();
            let room = bytes.capacity();
            spares.keep(bytes, room);
            bytes = fitting;
        }
        let room = bytes.capacity();
        let message = bytes.split().freeze();
        spares.keep(bytes, room);
        (message, std::mem::take(&mut self.cost))
    }

    /// Whether the credit of the chunks that are held can be given back before the message is whole. `read` says that
    /// somebody waits for the message: if others hold too much, one such call goes on all the same, so that all get done.
    pub(crate) fn can_grow(&self, read: bool) -> bool {
        let state = self.reassembly.state.lock();
        self.favourite || state.lent + self.cost as usize <= self.reassembly.limit || (read && !state.favourite)
    }

    /// Gives that credit back, or remembers that it waits for others.
    pub(crate) fn lend(&mut self, read: bool) -> u32 {
        self.starved = self.cost > 0 && !self.can_grow(read);
        if self.starved || self.cost == 0 {
            return 0;
        }
        let cost = std::mem::take(&mut self.cost);
        self.lent += cost as usize;
        let mut state = self.reassembly.state.lock();
        state.lent += cost as usize;
        let over = state.lent > self.reassembly.limit;
        drop(state);
        if over {
            self.favour(true);
        }
        cost
    }

    /// The message that held lent credit was read.
    pub(crate) fn settle(&mut self) {
        let lent = std::mem::take(&mut self.lent);
        if lent > 0 {
            self.reassembly.state.lock().lent -= lent;
        }
    }

    fn favour(&mut self, favourite: bool) {
        if std::mem::replace(&mut self.favourite, favourite) != favourite {
            self.reassembly.state.lock().favourite = favourite;
        }
    }
}

/// However a call ends, others of its connection have its room.
impl Drop for Partial {
    fn drop(&mut self) {
        self.settle();
        self.favour(false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(length: usize) -> Bytes {
        vec![7; length].into()
    }

    fn begun(reassembly: &Arc<Reassembly>, length: usize, cost: u32) -> Partial {
        let mut partial = Partial::new(reassembly.clone());
        partial.push(&bytes(length), cost);
        partial
    }

    #[test]
    fn the_first_chunk_takes_room_for_others() {
        let reassembly = Reassembly::new(0);
        for (chunk, room) in [(1_000, 16_000), (100_000, 1 << 20), (2 << 20, 2 << 20)] {
            let mut partial = begun(&reassembly, chunk, 0);
            assert_eq!((partial.bytes.capacity(), partial.len()), (room, chunk));
            partial.push(&bytes(1), 0);
            assert_eq!(partial.len(), chunk + 1);
        }
    }

    /// Memory that a larger message left is for messages that are as large by then, not for any that begins.
    #[test]
    fn a_message_that_begins_takes_no_more_than_fits_it() {
        let reassembly = Reassembly::new(0);
        let whole = |partial: &mut Partial| {
            (0..40).for_each(|_| partial.push(&bytes(100_000), 0));
            partial.finish(&bytes(1)).0
        };
        let first = whole(&mut begun(&reassembly, 100_000, 0));
        let at = first.as_ptr();
        drop(first);
        let small: Vec<_> = (0..4).map(|_| begun(&reassembly, 1_000, 0)).collect();
        assert!(small.iter().all(|partial| partial.bytes.capacity() <= 32_000), "{small:?}");
        assert_eq!(whole(&mut begun(&reassembly, 100_000, 0)).as_ptr(), at, "it is used again");
    }

    /// Half of its room is enough for a message to keep it.
    #[test]
    fn only_small_messages_leave_their_room() {
        for (last, kept) in [(6_999, false), (7_000, true), (7_001, true)] {
            let mut partial = begun(&Reassembly::new(0), 1_000, 3);
            let at = partial.bytes.as_ptr();
            let (message, cost) = partial.finish(&bytes(last));
            assert_eq!((message.len(), cost), (1_000 + last, 3));
            assert_eq!((message.as_ptr() == at, partial.len(), partial.cost()), (kept, 0, 0), "{last}");
            assert_eq!(partial.reassembly.spares(), if kept { 1 } else { 2 });
        }
    }

    #[test]
    fn the_limit_is_exact_and_one_call_may_go_beyond() {
        let reassembly = Reassembly::new(1_000);
        let mut first = begun(&reassembly, 256, 999);
        assert_eq!((first.lend(false), first.cost(), reassembly.lent()), (999, 0, 999));
        let mut second = begun(&reassembly, 256, 2);
        assert_eq!((second.lend(false), second.is_starved(), second.can_grow(false)), (0, true, false));
        let mut third = begun(&reassembly, 256, 1);
        assert_eq!((third.lend(false), third.favourite, reassembly.lent()), (1, false, 1_000), "exactly");
        assert!(second.can_grow(true));
        assert_eq!((second.lend(true), second.favourite, second.is_starved()), (2, true, false));
        let mut fourth = begun(&reassembly, 256, 1);
        assert!(!fourth.can_grow(true), "one at a time");
        second.push(&bytes(256), 5);
        assert_eq!((second.lend(false), reassembly.lent()), (5, 1_007));
        second.finish(&bytes(1));
        assert_eq!((second.favourite, reassembly.lent()), (false, 1_007), "it is whole and unread");
        assert_eq!(fourth.lend(true), 1);
        second.settle();
        second.settle();
        assert_eq!(reassembly.lent(), 1_001);
        drop((first, third, fourth));
        assert_eq!((reassembly.lent(), reassembly.state.lock().favourite), (0, false));
    }

    #[test]
    fn what_costs_nothing_waits_for_nothing() {
        let reassembly = Reassembly::new(1_000);
        let mut other = begun(&reassembly, 256, 2_000);
        assert_eq!(other.lend(true), 2_000);
        let mut partial = Partial::new(reassembly.clone());
        assert_eq!((partial.lend(true), partial.is_starved(), partial.favourite), (0, false, false));
    }
}
