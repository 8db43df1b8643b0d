//! What one handler has done so far.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use crate::status::Status;

/// What one handler has done so far, for transports whose users look at single handlers. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    started: AtomicU64,
    failed: AtomicU64,
    nanos: AtomicU64,
    last_failure: Mutex<Option<Status>>,
}

/// A [`Tally`] at one moment.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Tallied {
    /// Calls whose handler was started.
    pub started: u64,
    /// Of those, the ones that ended with a status other than OK and were not aborted.
    pub failed: u64,
    /// The time that ended calls took, together.
    pub took: Duration,
    /// The last of those statuses.
    pub last_failure: Option<Status>,
}

impl Tally {
    /// A handler was started.
    pub fn start(&self) {
        self.counts.started.fetch_add(1, Ordering::Relaxed);
    }

    /// A call ended with this status.
    pub fn fail(&self, status: &Status) {
        *self.counts.last_failure.lock() = Some(status.clone());
        self.counts.failed.fetch_add(1, Ordering::Relaxed);
    }

    /// A call ended, well or not, after this time.
    pub fn end(&self, took: Duration) {
        self.counts.nanos.fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// What it says now.
    #[must_use]
    pub fn read(&self) -> Tallied {
        let Counts { started, failed, nanos, last_failure } = &*self.counts;
        Tallied {
            started: started.load(Ordering::Relaxed),
            failed: failed.load(Ordering::Relaxed),
            took: Duration::from_nanos(nanos.load(Ordering::Relaxed)),
            last_failure: last_failure.lock().clone(),
        }
    }
}
