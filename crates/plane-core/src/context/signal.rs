//! How far a call was told to end, and who waits to hear of it.

use std::task::Waker;

use crate::sync::{AtomicU8, Mutex, Notify, Ordering};

/// An early, orderly end was asked for.
pub(super) const STOPPED: u8 = 1;

/// The first of the levels that mean: drop the work. The first of them that is reached stays.
pub(super) const ABORTED: u8 = 2;

/// A level that only rises, from 0.
#[derive(Default)]
pub(super) struct Signal {
    level: AtomicU8,
    /// Wakes the handler's own `stopped()` and `aborted()` futures.
    changed: Notify,
    /// Wakes whoever polls the handler, so that an abort reaches one that waits for something else.
    runner: Mutex<Option<Waker>>,
}

impl Signal {
    pub(super) fn level(&self) -> u8 {
        self.level.load(Ordering::Acquire)
    }

    /// Raises the level; a stop after an abort changes nothing, a second abort keeps the first.
    pub(super) fn raise(&self, to: u8) {
        let raised = self
            .level
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |now| (now < ABORTED && now < to).then_some(to));
        if raised.is_ok() {
            self.changed.notify_waiters();
            let runner = self.runner.lock().take();
            if let Some(waker) = runner {
                waker.wake();
            }
        }
    }

    /// Waits until this level is reached.
    pub(super) async fn reached(&self, at_least: u8) {
        loop {
            let changed = self.changed.notified();
            if self.level() >= at_least {
                return;
            }
            changed.await;
        }
    }

    /// Wakes this one when the level rises. Whoever calls it looks at the level after it, so that what rose before is
    /// not missed.
    pub(super) fn attend(&self, waker: &Waker) {
        let mut runner = self.runner.lock();
        if !runner.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *runner = Some(waker.clone());
        }
    }
}
