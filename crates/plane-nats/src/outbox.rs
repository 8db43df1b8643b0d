//! Messages that leave together ([`Outbox`]).
//!
//! The task of a NATS connection writes as soon as it is told of a message. Of many tasks that send one message each,
//! it would write each message alone: one system call here and one in the NATS server for each. So they leave their
//! messages here, and all that were left while others had their turn are handed over at once.

use std::sync::Arc;

/// A message on its way out.
pub(crate) use async_nats::message::OutboundMessage as Outbound;
use parking_lot::Mutex;
use tokio::sync::Notify;

/// How many messages wait at most, beside what the connection itself holds.
const MAX_MESSAGES: usize = 1_024;

/// How many bytes of payload wait at most; one message may go beyond.
const MAX_BYTES: usize = 4 * 1024 * 1024;

/// Messages that wait to be handed to the connection, in order.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    queue: Mutex<Queue>,
    bell: Notify,
    /// Rung when some were handed over.
    sent: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: Vec<Outbound>,
    bytes: usize,
    /// Some were taken out and not all of them are handed over.
    sending: bool,
    closed: bool,
}

impl Outbox {
    /// Whether a message that is sent past this overtakes none that waits here.
    pub(crate) fn is_idle(&self) -> bool {
        let queue = self.queue.lock();
        queue.waiting.is_empty() && !queue.sending
    }

    /// Leaves a message; waits while too many do.
    ///
    /// # Cancel safety
    /// The message was not left if the future is dropped.
    pub(crate) async fn push(&self, message: Outbound) {
        let mut back = self.try_push(message);
        while let Some(message) = back {
            let sent = self.sent.notified();
            back = self.try_push(message);
            if back.is_some() {
                sent.await;
            }
        }
    }

    /// Leaves a message, or gives it back if there is no room.
    fn try_push(&self, message: Outbound) -> Option<Outbound> {
        let mut queue = self.queue.lock();
        if queue.waiting.len() >= MAX_MESSAGES || queue.bytes >= MAX_BYTES {
            return Some(message);
        }
        queue.bytes += message.payload.len();
        queue.waiting.push(message);
        let first = queue.waiting.len() == 1 && !queue.sending;
        drop(queue);
        if first {
            self.bell.notify_one();
        }
        None
    }

    /// Waits until nothing waits.
    pub(crate) async fn wait_until_idle(&self) {
        loop {
            let sent = self.sent.notified();
            if self.is_idle() {
                return;
            }
            sent.await;
        }
    }

    /// Ends [`run`](Self::run) once nothing waits.
    pub(crate) fn close(&self) {
        self.queue.lock().closed = true;
        self.bell.notify_one();
    }

    /// Hands messages over until this is closed.
    pub(crate) async fn run(self: Arc<Self>, mut send: impl AsyncFnMut(Outbound)) {
        loop {
            self.bell.notified().await;
            // Whoever can run now runs before this goes on, and leaves what it has to send.
            tokio::task::yield_now().await;
            while let Some(batch) = self.take() {
                for message in batch {
                    send(message).await;
                }
                self.sent.notify_waiters();
            }
            self.sent.notify_waiters();
            if self.queue.lock().closed {
                return;
            }
        }
    }

    /// All that wait; `None` if none does, and then nothing is being handed over any more.
    fn take(&self) -> Option<Vec<Outbound>> {
        let mut queue = self.queue.lock();
        queue.sending = !queue.waiting.is_empty();
        queue.bytes = 0;
        queue.sending.then(|| std::mem::take(&mut queue.waiting))
    }
}
