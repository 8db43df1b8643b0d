//! A call that a server has taken on.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::address::Instance;
use crate::endpoints::pace::Pace;
use crate::endpoints::served::Served;
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
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// It has one of the server's permits, which comes back when the call is over.
    Running,
    Queued,
    /// The call is over, and its end is counted.
    Over,
}

/// A call that was taken on. It counts against the limits until this is dropped, after its handler has ended.
pub struct Admitted {
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
        if let Ok(permit) = self.served.load.turns.acquire().await {
            permit.forget();
            self.turn = Turn::Running;
            self.served.load.queued.fetch_sub(1, Ordering::AcqRel);
        }
    }

    /// Says how the call ended. A call that is dropped without a word counts as cancelled.
    pub fn finish(mut self, outcome: Outcome) {
        self.outcome = outcome;
    }

    /// Says so of a call that is let go of later.
    pub fn conclude(&mut self, outcome: Outcome) {
        self.outcome = outcome;
    }

    /// Lets go of calls that ended together, and leaves the list empty. Neighbours that ended alike are counted at one go.
    pub fn finish_all(ended: &mut Vec<Self>) {
        for alike in ended.chunk_by_mut(|one, other| one.is_like(other)) {
            let calls = alike.len();
            if let [first, rest @ ..] = alike {
                first.leave(calls);
                rest.iter_mut().for_each(|call| call.turn = Turn::Over);
            }
        }
        ended.clear();
    }

    fn is_like(&self, other: &Self) -> bool {
        self.turn == other.turn && self.outcome == other.outcome && Arc::ptr_eq(&self.served, &other.served)
    }

    /// Counts the end of so many calls like this one.
    fn leave(&mut self, calls: usize) {
        let Served { load, gauge, .. } = &*self.served;
        // The turn first, then the server's gauge: whoever waits for a gauge finds the rest up to date.
        match std::mem::replace(&mut self.turn, Turn::Over) {
            Turn::Queued => {
                load.queued.fetch_sub(calls, Ordering::AcqRel);
            }
            Turn::Running => load.turns.add_permits(calls),
            Turn::Over => return,
        }
        let count = match self.outcome {
            Outcome::Completed => &load.counts.completed,
            Outcome::Failed => &load.counts.failed,
            Outcome::Cancelled => &load.counts.cancelled,
        };
        count.fetch_add(calls as u64, Ordering::Relaxed);
        load.gauge.leave_together(calls);
        gauge.leave_together(calls);
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.leave(1);
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
