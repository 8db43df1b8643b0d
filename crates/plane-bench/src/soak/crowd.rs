//! Callers of one transport, with pauses in which nothing is in flight.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};
use tokio::task::JoinSet;

use crate::acts::{ACTS, Act, Broken, Clients, Ended};

/// Callers at once.
const CALLERS: usize = 24;

/// Broken promises that are kept word for word.
const KEPT: usize = 10;

/// How calls ended, by what they were.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) completed: u64,
    pub(crate) left: u64,
    pub(crate) deadline_passed: u64,
    /// By the kind of their error.
    pub(crate) failed: BTreeMap<String, u64>,
    pub(crate) broken: u64,
    pub(crate) kept: Vec<Broken>,
    /// The most that an error came after its deadline.
    pub(crate) latest: Duration,
}

impl Counts {
    /// Calls that have ended.
    pub(crate) fn calls(&self) -> u64 {
        self.completed + self.left + self.deadline_passed + self.failed.values().sum::<u64>() + self.broken
    }

    fn note(&mut self, act: Act, ended: Result<Ended, Broken>) {
        match ended {
            Ok(Ended::Completed) => self.completed += 1,
            Ok(Ended::Left) => self.left += 1,
            Ok(Ended::DeadlinePassed(late)) => {
                self.deadline_passed += 1;
                self.latest = self.latest.max(late);
            }
            Ok(Ended::Failed(kind)) => *self.failed.entry(format!("{kind:?}")).or_default() += 1,
            Err(broken) => {
                self.broken += 1;
                if self.kept.len() < KEPT {
                    self.kept.push(format!("{act:?}: {broken}"));
                }
            }
        }
    }
}

/// Callers that call until this is dropped.
#[derive(Debug)]
pub(crate) struct Crowd {
    counts: Arc<Mutex<Counts>>,
    /// Held by each call in flight, and by whoever wants none to be.
    gate: Arc<RwLock<()>>,
    callers: JoinSet<()>,
}

impl Crowd {
    pub(crate) fn start(clients: &Clients) -> Self {
        let (counts, gate) = (Arc::<Mutex<Counts>>::default(), Arc::<RwLock<()>>::default());
        let mut callers = JoinSet::new();
        for _ in 0..CALLERS {
            let (clients, counts, gate) = (clients.clone(), counts.clone(), gate.clone());
            callers.spawn(async move {
                loop {
                    let _pass = gate.read().await;
                    let act = ACTS[fastrand::usize(..ACTS.len())];
                    let ended = clients.act(act).await;
                    counts.lock().note(act, ended);
                }
            });
        }
        Self { counts, gate, callers }
    }

    pub(crate) fn counts<T>(&self, look: impl FnOnce(&Counts) -> T) -> T {
        look(&self.counts.lock())
    }

    /// Passes while calls may be made.
    pub(crate) async fn pass(&self) -> OwnedRwLockReadGuard<()> {
        self.gate.clone().read_owned().await
    }

    /// Waits until no caller has a call in flight; none is made until what is returned is dropped.
    pub(crate) async fn hush(&self) -> OwnedRwLockWriteGuard<()> {
        self.gate.clone().write_owned().await
    }

    /// Whether a caller has ended, which none should.
    pub(crate) fn has_lost_a_caller(&mut self) -> bool {
        self.callers.try_join_next().is_some()
    }
}
