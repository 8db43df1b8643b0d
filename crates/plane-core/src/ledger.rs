//! What a client counts ([`Ledger`]).

use std::sync::Arc;

use parking_lot::Mutex;

use crate::endpoints::Outcome;
use crate::report::ClientStats;

/// Counts the calls of a client so that each is in exactly one outcome, and a reader never sees a sum that is off.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    stats: Arc<Mutex<ClientStats>>,
}

impl Ledger {
    /// Counts a call as started. It ends with what is returned.
    #[must_use = "dropping it counts the call as cancelled"]
    pub fn begin(&self) -> CallCount {
        let mut stats = self.stats.lock();
        stats.started += 1;
        stats.in_flight += 1;
        CallCount { ledger: self.clone(), outcome: Outcome::Cancelled }
    }

    /// What was counted. What a transport knows beside that, its connections, is zero.
    #[must_use]
    pub fn stats(&self) -> ClientStats {
        *self.stats.lock()
    }
}

/// One call on the books. Dropped without a word it counts as cancelled: its caller went away.
#[derive(Debug)]
pub struct CallCount {
    ledger: Ledger,
    outcome: Outcome,
}

impl CallCount {
    /// Counts the call as ended in this way.
    pub fn finish(mut self, outcome: Outcome) {
        self.outcome = outcome;
    }
}

impl Drop for CallCount {
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
