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

    #[cfg(any(test, fuzzing))]
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
        if self.bytes.is_empty() {
            let room = (ROOM * chunk.len()).min(MOST_ROOM).max(chunk.len());
            self.bytes = self.reassembly.state.lock().spares.take(room);
        }
        self.bytes.extend_from_slice(chunk);
        self.cost += cost;
    }

    /// The message with its last chunk, and the credit that it still holds.
    pub(crate) fn finish(&mut self, last: &Bytes) -> (Bytes, u32) {
        self.bytes.extend_from_slice(last);
        self.starved = false;
        self.favour(false);
        let mut bytes = std::mem::take(&mut self.bytes);
        let room = bytes.capacity();
        // A message that is much smaller than its room would hold more than it counts for.
        let message = if bytes.len() < room / 2 {
            let message = Bytes::copy_from_slice(&bytes);
            bytes.clear();
            message
        } else {
            bytes.split().freeze()
        };
        self.reassembly.state.lock().spares.keep(bytes, room);
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
