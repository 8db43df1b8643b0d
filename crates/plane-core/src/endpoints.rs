//! The table of handlers behind every server: who answers what, how many at once, and how that ends.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::RwLock;
use rustc_hash::FxHashMap;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use crate::address::{Address, Instance};
use crate::error::{Delivery, Error, ErrorKind};
use crate::handler::Handler;
use crate::name::{EndpointId, InstanceId};
use crate::status::{Code, Status};
use crate::transport::{DrainReport, ServerStats};

/// How many calls a server takes on at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdmissionLimits {
    /// Handlers running at once. 8,192 by default. Too low leaves the machine idle, too high lets a burst take its
    /// memory.
    pub running: usize,
    /// Calls that wait for their turn beyond those. 1,024 by default. Too high lets calls grow old in the queue.
    pub queued: usize,
}

impl Default for AdmissionLimits {
    fn default() -> Self {
        Self { running: 8_192, queued: 1_024 }
    }
}

/// What a refused caller is told to wait; one in the queue would wait longer.
const RETRY_AFTER: Duration = Duration::from_millis(100);

/// The handlers of one server, by endpoint and instance.
#[derive(Clone)]
pub struct Endpoints {
    shared: Arc<Shared>,
}

struct Shared {
    table: RwLock<FxHashMap<EndpointId, Vec<Arc<Served>>>>,
    limits: AdmissionLimits,
    turns: Arc<Semaphore>,
    draining: AtomicBool,
    gauge: Gauge,
    queued: AtomicUsize,
    counts: Counts,
}

#[derive(Default)]
struct Counts {
    started: AtomicU64,
    completed: AtomicU64,
    failed: AtomicU64,
    cancelled: AtomicU64,
    refused: AtomicU64,
}

/// Calls in flight, and a bell for when they are none.
#[derive(Default)]
struct Gauge {
    calls: AtomicUsize,
    empty: Notify,
}

impl Gauge {
    fn enter(&self) {
        self.calls.fetch_add(1, Ordering::AcqRel);
    }

    fn leave(&self) {
        if self.calls.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.empty.notify_waiters();
        }
    }

    fn now(&self) -> usize {
        self.calls.load(Ordering::Acquire)
    }

    /// Waits until no call is in flight, or until `deadline`; tells how many finished and how many were left.
    async fn wait_until_empty(&self, deadline: Instant) -> DrainReport {
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

/// One handler in the table.
struct Served {
    instance: Instance,
    handler: Arc<dyn Handler>,
    gauge: Gauge,
    pace: Pace,
}

impl Endpoints {
    /// An empty table with these limits.
    #[must_use]
    pub fn new(limits: AdmissionLimits) -> Self {
        let turns = limits.running.clamp(1, Semaphore::MAX_PERMITS);
        Self {
            shared: Arc::new(Shared {
                table: RwLock::default(),
                limits,
                turns: Arc::new(Semaphore::new(turns)),
                draining: AtomicBool::new(false),
                gauge: Gauge::default(),
                queued: AtomicUsize::new(0),
                counts: Counts::default(),
            }),
        }
    }

    /// Puts a handler in the table.
    ///
    /// # Errors
    /// [`ErrorKind::AlreadyExists`] if this instance of the endpoint is there already;
    /// [`ErrorKind::Unavailable`] once the server drains.
    pub fn register(
        &self,
        endpoint: EndpointId,
        instance: InstanceId,
        address: Address,
        handler: Arc<dyn Handler>,
    ) -> Result<Registration, Error> {
        let refuse = |kind, what| Err(Error::new(kind, Delivery::NotSent, what));
        let mut table = self.shared.table.write();
        if self.is_draining() {
            return refuse(ErrorKind::Unavailable, format!("cannot register {endpoint}: the server is draining"));
        }
        let served = table.entry(endpoint.clone()).or_default();
        if served.iter().any(|served| served.instance.id == instance) {
            let what = format!("instance {instance} of {endpoint} is already registered with this server");
            return refuse(ErrorKind::AlreadyExists, what);
        }
        let entry = Arc::new(Served {
            instance: Instance { endpoint, id: instance, address, metadata: BTreeMap::new() },
            handler,
            gauge: Gauge::default(),
            pace: Pace::default(),
        });
        served.push(entry.clone());
        Ok(Registration { shared: self.shared.clone(), served: entry })
    }

    /// Takes a call on, at once or with a place in the queue, or refuses it at once.
    ///
    /// # Errors
    /// No handler was started: [`Code::NOT_FOUND`], [`Code::UNAVAILABLE`] while draining, or
    /// [`Code::RESOURCE_EXHAUSTED`] naming the limit that was hit.
    pub fn admit(&self, endpoint: &str, instance: Option<InstanceId>) -> Result<Admitted, Status> {
        let admitted = self.try_admit(endpoint, instance);
        let counts = &self.shared.counts;
        let count = if admitted.is_ok() { &counts.started } else { &counts.refused };
        count.fetch_add(1, Ordering::Relaxed);
        admitted
    }

    fn try_admit(&self, endpoint: &str, instance: Option<InstanceId>) -> Result<Admitted, Status> {
        if self.is_draining() {
            return Err(Status::unavailable("the server is draining"));
        }
        let served = self.find(endpoint, instance)?;
        let shared = self.shared.clone();
        let turn = match shared.turns.clone().try_acquire_owned() {
            Ok(permit) => Turn::Running(permit),
            Err(_) => {
                let queued = shared.queued.fetch_add(1, Ordering::AcqRel);
                if queued >= shared.limits.queued {
                    shared.queued.fetch_sub(1, Ordering::AcqRel);
                    return Err(self.full());
                }
                Turn::Queued
            }
        };
        shared.gauge.enter();
        served.gauge.enter();
        Ok(Admitted { shared, served, turn, outcome: Outcome::Cancelled })
    }

    fn find(&self, endpoint: &str, instance: Option<InstanceId>) -> Result<Arc<Served>, Status> {
        let table = self.shared.table.read();
        let served = table.get(endpoint).map_or(&[][..], Vec::as_slice);
        let found = match instance {
            Some(id) => served.iter().find(|served| served.instance.id == id),
            None => served.iter().min_by_key(|served| served.gauge.now()),
        };
        found.cloned().ok_or_else(|| {
            let name = endpoint.escape_debug();
            Status::not_found(match instance {
                Some(id) if !served.is_empty() => format!("this server has no instance {id} of endpoint {name}"),
                _ => format!("this server has no endpoint {name}"),
            })
        })
    }

    fn full(&self) -> Status {
        let AdmissionLimits { running, queued } = self.shared.limits;
        let what = format!(
            "the server runs {running} calls (AdmissionLimits::running) and {queued} wait (AdmissionLimits::queued)"
        );
        Status::resource_exhausted(what).with_retry_after(RETRY_AFTER)
    }

    /// Whether [`drain`](Self::drain) was called.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.shared.draining.load(Ordering::Acquire)
    }

    /// Refuses new calls from now on.
    pub fn start_draining(&self) {
        // Under the lock, so that nothing is registered after it.
        let _table = self.shared.table.write();
        self.shared.draining.store(true, Ordering::Release);
    }

    /// Refuses new calls and waits until none is in flight, at most until `deadline`.
    pub async fn drain(&self, deadline: Instant) -> DrainReport {
        self.start_draining();
        self.shared.gauge.wait_until_empty(deadline).await
    }

    /// What was done so far; the number of connections is the transport's to add.
    #[must_use]
    pub fn stats(&self) -> ServerStats {
        let Shared { counts, gauge, queued, .. } = &*self.shared;
        ServerStats {
            started: counts.started.load(Ordering::Relaxed),
            completed: counts.completed.load(Ordering::Relaxed),
            failed: counts.failed.load(Ordering::Relaxed),
            cancelled: counts.cancelled.load(Ordering::Relaxed),
            refused: counts.refused.load(Ordering::Relaxed),
            in_flight: gauge.now() as u64,
            queued: queued.load(Ordering::Relaxed) as u64,
            connections: 0,
        }
    }
}

impl fmt::Debug for Endpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let table = self.shared.table.read();
        f.debug_struct("Endpoints").field("endpoints", &table.keys().collect::<Vec<_>>()).finish_non_exhaustive()
    }
}

/// Whether a handler has been quick so far: then a connection polls it in its own task first, which saves a task for
/// an answer that is ready. One that is slow runs in a task of its own from the start, so that it holds nobody up.
#[derive(Debug, Clone, Default)]
pub struct Pace {
    quick_in_a_row: Arc<AtomicUsize>,
}

impl Pace {
    /// A handler has to be quick this often before it is trusted.
    const PROBATION: usize = 8;

    /// A first poll that takes longer than this holds other calls up.
    const QUICK: Duration = Duration::from_micros(200);

    /// Whether the handler's first polls have been quick lately.
    #[must_use]
    pub fn is_quick(&self) -> bool {
        self.quick_in_a_row.load(Ordering::Relaxed) >= Self::PROBATION
    }

    /// A first poll took this long.
    pub fn note(&self, took: Duration) {
        if took > Self::QUICK {
            self.quick_in_a_row.store(0, Ordering::Relaxed);
        } else if !self.is_quick() {
            self.quick_in_a_row.fetch_add(1, Ordering::Relaxed);
        }
    }
}

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

enum Turn {
    Running(OwnedSemaphorePermit),
    Queued,
    Over,
}

/// A call that was taken on. It counts against the limits until this is dropped, after its handler has ended.
pub struct Admitted {
    shared: Arc<Shared>,
    served: Arc<Served>,
    turn: Turn,
    outcome: Outcome,
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

    /// Whether the handler may be started without waiting.
    #[must_use]
    pub fn is_running(&self) -> bool {
        matches!(self.turn, Turn::Running(_))
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
        if let Ok(permit) = self.shared.turns.clone().acquire_owned().await {
            self.turn = Turn::Running(permit);
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
            Turn::Running(permit) => drop(permit),
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

/// A handler's place in a server's table. Dropping it takes the handler out; its calls in flight go on.
#[must_use = "dropping a registration unregisters the handler"]
pub struct Registration {
    shared: Arc<Shared>,
    served: Arc<Served>,
}

impl Registration {
    /// What was registered, and where it is reached.
    #[must_use]
    pub fn instance(&self) -> &Instance {
        &self.served.instance
    }

    /// Takes the handler out and waits for its calls in flight, at most until `deadline`. What is left then goes on;
    /// the report counts it as `aborted` only in the sense that this wait was.
    pub async fn unregister(self, deadline: Instant) -> DrainReport {
        let served = self.served.clone();
        drop(self);
        served.gauge.wait_until_empty(deadline).await
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let Instance { endpoint, id, .. } = &self.served.instance;
        let mut table = self.shared.table.write();
        if let Some(served) = table.get_mut(endpoint) {
            served.retain(|served| served.instance.id != *id);
            if served.is_empty() {
                table.remove(endpoint);
            }
        }
    }
}

impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Registration").field(&self.served.instance).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handler::handler_fn;
    use crate::message::Response;

    fn table(running: usize, queued: usize) -> Endpoints {
        Endpoints::new(AdmissionLimits { running, queued })
    }

    fn register(table: &Endpoints, name: &str, id: u64) -> Result<Registration, Error> {
        let handler = Arc::new(handler_fn(|_, _| async { Ok(Response::default()) }));
        table.register(name.parse().unwrap(), InstanceId::new(id).unwrap(), Address::mem("t"), handler)
    }

    /// Case A15: call N+Q+1 is refused at once.
    #[tokio::test]
    async fn admission_refuses_beyond_running_and_queued() {
        let table = table(2, 1);
        let _registration = register(&table, "a.b.c", 1).unwrap();
        let first = table.admit("a.b.c", None).unwrap();
        let _second = table.admit("a.b.c", None).unwrap();
        let mut third = table.admit("a.b.c", None).unwrap();
        assert!(first.is_running() && !third.is_running());
        let refused = table.admit("a.b.c", None).unwrap_err();
        assert_eq!((refused.code(), refused.retry_after()), (Code::RESOURCE_EXHAUSTED, Some(RETRY_AFTER)));
        first.finish(Outcome::Completed);
        third.turn().await;
        assert!(third.is_running());
        let stats = table.stats();
        assert_eq!((stats.started, stats.completed, stats.refused, stats.in_flight, stats.queued), (3, 1, 1, 2, 0));
    }

    /// Case C15: two instances of one endpoint, one unregisters, the other goes on.
    #[tokio::test]
    async fn instances_come_and_go_alone() {
        let table = table(8, 0);
        let one = register(&table, "a.b.c", 1).unwrap();
        let two = register(&table, "a.b.c", 2).unwrap();
        assert_eq!(register(&table, "a.b.c", 1).unwrap_err().kind(), ErrorKind::AlreadyExists);
        drop(one);
        assert_eq!(table.admit("a.b.c", InstanceId::new(1)).unwrap_err().code(), Code::NOT_FOUND);
        assert_eq!(table.admit("a.b.c", None).unwrap().instance().id.get(), 2);
        drop(two);
        assert_eq!(table.admit("a.b.c", None).unwrap_err().code(), Code::NOT_FOUND);
    }

    /// Case A14: unregister waits for its calls in flight, bounded, and reports what was left.
    #[tokio::test(start_paused = true)]
    async fn unregister_waits_and_reports() {
        let table = table(8, 0);
        let one = register(&table, "a.b.c", 1).unwrap();
        let quick = table.admit("a.b.c", None).unwrap();
        let stuck = table.admit("a.b.c", None).unwrap();
        let deadline = tokio::time::Instant::now().into_std() + Duration::from_secs(1);
        let waiting = tokio::spawn(one.unregister(deadline));
        tokio::task::yield_now().await;
        quick.finish(Outcome::Completed);
        assert_eq!(waiting.await.unwrap(), DrainReport::new(1, 1));
        drop(stuck);
        assert_eq!(table.stats().in_flight, 0);
    }

    #[tokio::test]
    async fn a_draining_server_takes_nothing_on() {
        let table = table(8, 0);
        let _one = register(&table, "a.b.c", 1).unwrap();
        assert_eq!(table.drain(Instant::now()).await, DrainReport::new(0, 0));
        assert_eq!(table.admit("a.b.c", None).unwrap_err().code(), Code::UNAVAILABLE);
        assert_eq!(register(&table, "a.b.d", 1).unwrap_err().kind(), ErrorKind::Unavailable);
    }
}
