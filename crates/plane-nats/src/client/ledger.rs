//! What a client has done so far: each call is counted once, in exactly one outcome.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use plane_core::{ClientStats, Outcome};

#[derive(Debug, Clone, Default)]
pub(super) struct Ledger(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    started: AtomicU64,
    completed: AtomicU64,
    failed: AtomicU64,
    cancelled: AtomicU64,
    in_flight: AtomicU64,
}

impl Ledger {
    pub(super) fn begin(&self) -> Count {
        self.0.started.fetch_add(1, Ordering::Relaxed);
        self.0.in_flight.fetch_add(1, Ordering::AcqRel);
        Count { counts: self.0.clone(), outcome: Outcome::Cancelled }
    }

    pub(super) fn stats(&self) -> ClientStats {
        let mut stats = ClientStats::default();
        stats.in_flight = self.0.in_flight.load(Ordering::Acquire);
        stats.started = self.0.started.load(Ordering::Relaxed);
        stats.completed = self.0.completed.load(Ordering::Relaxed);
        stats.failed = self.0.failed.load(Ordering::Relaxed);
        stats.cancelled = self.0.cancelled.load(Ordering::Relaxed);
        stats
    }
}

/// One call in the ledger. Dropped without a word, its caller went away.
#[derive(Debug)]
pub(super) struct Count {
    counts: Arc<Counts>,
    outcome: Outcome,
}

impl Count {
    pub(super) fn finish(mut self, outcome: Outcome) {
        self.outcome = outcome;
    }
}

impl Drop for Count {
    fn drop(&mut self) {
        let count = match self.outcome {
            Outcome::Completed => &self.counts.completed,
            Outcome::Failed => &self.counts.failed,
            Outcome::Cancelled => &self.counts.cancelled,
        };
        count.fetch_add(1, Ordering::Relaxed);
        self.counts.in_flight.fetch_sub(1, Ordering::AcqRel);
    }
}
