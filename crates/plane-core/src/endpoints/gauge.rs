//! Calls in flight, and how to wait until there are none.

use crate::sync::{AtomicUsize, Notify, Ordering};

/// Set once no call is let in any more. It is a bit of the count, so that whoever closes the gauge and whoever comes in
/// at that moment agree on who was first.
const CLOSED: usize = 1 << (usize::BITS - 1);

/// Calls in flight, and a bell for when they are none.
#[derive(Default)]
pub(super) struct Gauge {
    calls: AtomicUsize,
    empty: Notify,
}

impl Gauge {
    /// Counts a call, unless the gauge is closed.
    #[must_use]
    pub(super) fn enter(&self) -> bool {
        let entered = self.calls.fetch_add(1, Ordering::AcqRel) & CLOSED == 0;
        if !entered {
            self.leave();
        }
        entered
    }

    pub(super) fn leave(&self) {
        self.leave_together(1);
    }

    /// The same for so many calls, one at least.
    pub(super) fn leave_together(&self, calls: usize) {
        if self.calls.fetch_sub(calls, Ordering::AcqRel) & !CLOSED == calls {
            self.empty.notify_waiters();
        }
    }

    /// Lets no call in any more.
    pub(super) fn close(&self) {
        self.calls.fetch_or(CLOSED, Ordering::AcqRel);
    }

    pub(super) fn is_closed(&self) -> bool {
        self.calls.load(Ordering::Acquire) & CLOSED != 0
    }

    pub(super) fn now(&self) -> usize {
        self.calls.load(Ordering::Acquire) & !CLOSED
    }

    /// Waits until no call is in flight. Without [`close`](Self::close) others may come in at once.
    pub(super) async fn emptied(&self) {
        loop {
            let bell = self.empty.notified();
            if self.now() == 0 {
                return;
            }
            bell.await;
        }
    }
}
