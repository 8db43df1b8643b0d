//! What a client counts.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::endpoints::Outcome;
use crate::report::ClientStats;

/// Counts calls so that each is in exactly one outcome, and a reader never sees a sum that is off.
#[derive(Debug, Clone, Default)]
pub(super) struct Ledger {
    stats: Arc<Mutex<ClientStats>>,
}

impl Ledger {
    /// Counts a call as started.
    pub(super) fn begin(&self) -> Count {
        let mut stats = self.stats.lock();
        stats.started += 1;
        stats.in_flight += 1;
        Count { ledger: self.clone(), outcome: Outcome::Cancelled }
    }

    pub(super) fn stats(&self) -> ClientStats {
        *self.stats.lock()
    }
}

/// One call on the books. Dropped without a word it counts as cancelled: its caller went away.
#[derive(Debug)]
pub(super) struct Count {
    ledger: Ledger,
    outcome: Outcome,
}

impl Count {
    pub(super) fn finish(mut self, outcome: Outcome) {
        self.outcome = outcome;
    }
}

impl Drop for Count {
    fn drop(&mut self) {
        let mut stats = self.ledger.stats.lock();
        stats.in_flight -= 1;
        match self.outcome {
            Outcome::Completed => stats.completed += 1,
            Outcome::Failed => stats.failed += 1,
            Outcome::Cancelled => stats.cancelled += 1,
        }
    }
}
