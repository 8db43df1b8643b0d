//! Calls in flight and calls so far.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use tokio::sync::Notify;

use crate::report::DrainReport;

/// What a server has done so far.
#[derive(Default)]
pub(super) struct Counts {
    pub(super) started: AtomicU64,
    pub(super) completed: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) cancelled: AtomicU64,
    pub(super) refused: AtomicU64,
}

/// Calls in flight, and a bell for when they are none.
#[derive(Default)]
pub(super) struct Gauge {
    calls: AtomicUsize,
    empty: Notify,
}

impl Gauge {
    pub(super) fn enter(&self) {
        self.calls.fetch_add(1, Ordering::AcqRel);
    }

    pub(super) fn leave(&self) {
        if self.calls.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.empty.notify_waiters();
        }
    }

    pub(super) fn now(&self) -> usize {
        self.calls.load(Ordering::Acquire)
    }

    /// Waits until no call is in flight, or until `deadline`; tells how many finished and how many were left.
    pub(super) async fn wait_until_empty(&self, deadline: Instant) -> DrainReport {
        let before = self.now();
        let empty = async {
            loop {
                let bell = self.empty.notified();
                if self.now() == 0 {
                    return;
                }
                bell.await;
            }
        };
        // Whether it was in time shows in the gauge.
        let _ = tokio::time::timeout_at(deadline.into(), empty).await;
        let left = self.now();
        DrainReport::new(before.saturating_sub(left) as u64, left as u64)
    }
}
