//! How far a call was told to end, and who waits to hear of it.

use std::task::Waker;

use crate::sync::{AtomicU8, AtomicUsize, Mutex, Notify, Ordering};

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
    /// Who that is, so that one that polls again need not take the lock.
    attending: [AtomicUsize; 2],
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
            let runner = {
                let mut runner = self.runner.lock();
                self.note_attending([0; 2]);
                runner.take()
            };
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
        let who = [waker.data() as usize, std::ptr::from_ref(waker.vtable()) as usize];
        // The waker that is kept keeps its address from being another's. Whoever takes it out wakes it, also if that does
        // not show here yet.
        if self.attending.each_ref().map(|part| part.load(Ordering::Acquire)) == who {
            return;
        }
        let mut runner = self.runner.lock();
        *runner = Some(waker.clone());
        self.note_attending(who);
    }

    /// Under the lock of the runner.
    fn note_attending(&self, who: [usize; 2]) {
        for (part, is) in self.attending.iter().zip(who) {
            part.store(is, Ordering::Release);
        }
    }
}
