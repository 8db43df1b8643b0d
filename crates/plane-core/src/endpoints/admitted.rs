//! A call that a server has taken on.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::address::Instance;
use crate::endpoints::pace::Pace;
use crate::endpoints::served::{Served, Shared};
use crate::endpoints::tally::Tally;
use crate::handler::Handler;
use crate::status::{Code, Status};

/// How an admitted call ended, for the counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The handler ended well.
    Completed,
    /// The handler ended with a status other than OK.
    Failed,
    /// The call was aborted.
    Cancelled,
}

impl Outcome {
    /// The outcome that a status other than OK stands for.
    #[must_use]
    pub fn of(status: &Status) -> Self {
        match status.code() {
            Code::OK => Self::Completed,
            Code::CANCELLED => Self::Cancelled,
            _ => Self::Failed,
        }
    }
}

/// Whether a call may run.
pub(super) enum Turn {
    /// It has one of the server's permits, which comes back when the call is over.
    Running,
    Queued,
    Over,
}

/// A call that was taken on. It counts against the limits until this is dropped, after its handler has ended.
pub struct Admitted {
    pub(super) shared: Arc<Shared>,
    pub(super) served: Arc<Served>,
    pub(super) turn: Turn,
    pub(super) outcome: Outcome,
}

impl Admitted {
    /// Who answers.
    #[must_use]
    pub fn instance(&self) -> &Instance {
        &self.served.instance
    }

    /// What answers.
    #[must_use]
    pub fn handler(&self) -> &Arc<dyn Handler> {
        &self.served.handler
    }

    /// Whether the handler has been quick so far.
    #[must_use]
    pub fn pace(&self) -> &Pace {
        &self.served.pace
    }

    /// What the handler has done so far.
    #[must_use]
    pub fn tally(&self) -> &Tally {
        &self.served.tally
    }

    /// Whether the handler may be started without waiting.
    #[must_use]
    pub fn is_running(&self) -> bool {
        matches!(self.turn, Turn::Running)
    }

    /// Waits until the handler may be started.
    ///
    /// # Cancel safety
    /// The place in the queue is lost if the future is dropped.
    pub async fn turn(&mut self) {
        if self.is_running() {
            return;
        }
        // The semaphore is never closed.
        if let Ok(permit) = self.shared.turns.acquire().await {
            permit.forget();
            self.turn = Turn::Running;
            self.shared.queued.fetch_sub(1, Ordering::AcqRel);
        }
    }

    /// Says how the call ended. A call that is dropped without a word counts as cancelled.
    pub fn finish(mut self, outcome: Outcome) {
        self.outcome = outcome;
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        // The turn first, then the server's gauge: whoever waits for a gauge finds the rest up to date.
        match std::mem::replace(&mut self.turn, Turn::Over) {
            Turn::Queued => {
                self.shared.queued.fetch_sub(1, Ordering::AcqRel);
            }
            Turn::Running => self.shared.turns.add_permits(1),
            Turn::Over => {}
        }
        let counts = &self.shared.counts;
        let count = match self.outcome {
            Outcome::Completed => &counts.completed,
            Outcome::Failed => &counts.failed,
            Outcome::Cancelled => &counts.cancelled,
        };
        count.fetch_add(1, Ordering::Relaxed);
        self.shared.gauge.leave();
        self.served.gauge.leave();
    }
}

impl fmt::Debug for Admitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admitted")
            .field("instance", &self.served.instance)
            .field("running", &self.is_running())
            .finish_non_exhaustive()
    }
}
