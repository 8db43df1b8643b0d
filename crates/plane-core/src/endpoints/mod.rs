//! The table of handlers behind every server: who answers what, how many at once, and how that ends.

mod gauge;

mod counts;

mod drained;

mod pace;
pub use pace::Pace;

mod tally;
pub use tally::{Tallied, Tally};

mod served;
pub use served::AdmissionLimits;

mod admitted;
pub use admitted::{Admitted, Outcome};

mod last;
pub use last::LastCalled;

mod registration;
pub use registration::Registration;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::RwLock;
use tokio::sync::Semaphore;

use crate::address::{Address, Instance};
use crate::authorizer::Authorizer;
use crate::endpoints::admitted::Turn;
use crate::endpoints::counts::Counts;
use crate::endpoints::drained::drained;
use crate::endpoints::gauge::Gauge;
use crate::endpoints::served::{Load, Served, Shared};
use crate::error::{Delivery, Error, ErrorKind};
use crate::handler::Handler;
use crate::name::{EndpointId, InstanceId};
use crate::peer::Peer;
use crate::refusal::{Refusal, Refusals};
use crate::report::{DrainReport, ServerStats};
use crate::status::Status;

/// What a refused caller is told to wait; one in the queue would wait longer.
const RETRY_AFTER: Duration = Duration::from_millis(100);

/// The handlers of one server, by endpoint and instance.
#[derive(Clone)]
pub struct Endpoints {
    shared: Arc<Shared>,
}

impl Endpoints {
    /// An empty table with these limits, for calls of anybody.
    #[must_use]
    pub fn new(limits: AdmissionLimits) -> Self {
        Self::authorized(limits, None)
    }

    /// The same, for calls that `authorizer` allows.
    #[must_use]
    pub fn authorized(limits: AdmissionLimits, authorizer: Option<Authorizer>) -> Self {
        let turns = limits.running.clamp(1, Semaphore::MAX_PERMITS);
        Self {
            shared: Arc::new(Shared {
                table: RwLock::default(),
                additions: AtomicU64::new(0),
                authorizer,
                load: Arc::new(Load {
                    limits,
                    turns: Semaphore::new(turns),
                    gauge: Gauge::default(),
                    queued: AtomicUsize::new(0),
                    counts: Counts::default(),
                }),
                refusals: Refusals::default(),
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
            tally: Tally::default(),
            load: self.shared.load.clone(),
        });
        served.push(entry.clone());
        self.shared.additions.fetch_add(1, Ordering::Release);
        Ok(Registration { shared: self.shared.clone(), served: entry, guard: None })
    }

    /// Takes a call on, at once or with a place in the queue, or refuses it at once.
    ///
    /// # Errors
    /// No handler was started: [`Code::NOT_FOUND`](crate::Code::NOT_FOUND), [`Code::INVALID_ARGUMENT`](crate::Code::INVALID_ARGUMENT) for
    /// what can be no endpoint, [`Code::PERMISSION_DENIED`](crate::Code::PERMISSION_DENIED) for a peer that may not call it, [`Code::UNAVAILABLE`](crate::Code::UNAVAILABLE) while draining, or
    /// [`Code::RESOURCE_EXHAUSTED`](crate::Code::RESOURCE_EXHAUSTED) naming the limit that was hit.
    pub fn admit(&self, endpoint: &str, instance: Option<InstanceId>, peer: &Peer) -> Result<Admitted, Status> {
        self.admit_after(&mut LastCalled::default(), endpoint, instance, peer)
    }

    /// The same for one of many calls of a connection, mostly to the same handler.
    ///
    /// # Errors
    /// As [`admit`](Self::admit).
    pub fn admit_after(
        &self,
        last: &mut LastCalled,
        endpoint: &str,
        instance: Option<InstanceId>,
        peer: &Peer,
    ) -> Result<Admitted, Status> {
        match self.try_admit(last, endpoint, instance, peer) {
            Ok(admitted) => {
                self.shared.load.counts.started.fetch_add(1, Ordering::Relaxed);
                Ok(admitted)
            }
            Err((refusal, status)) => {
                self.refuse(refusal, peer, &status);
                Err(status)
            }
        }
    }

    /// Counts and logs a call that a transport refuses by itself, for a limit of its own.
    pub fn refuse(&self, refusal: Refusal, peer: &Peer, status: &Status) {
        self.shared.load.counts.refused.fetch_add(1, Ordering::Relaxed);
        self.shared.refusals.note(Instant::now(), refusal, &peer.address, &status.message());
    }

    /// Where a transport notes what it refuses beside calls.
    #[must_use]
    pub fn refusals(&self) -> &Refusals {
        &self.shared.refusals
    }

    fn try_admit(
        &self,
        last: &mut LastCalled,
        endpoint: &str,
        instance: Option<InstanceId>,
        peer: &Peer,
    ) -> Result<Admitted, (Refusal, Status)> {
        let draining = || (Refusal::Draining, Status::unavailable("the server is draining"));
        if self.is_draining() {
            return Err(draining());
        }
        let served = self.find(last, endpoint, instance)?;
        if let Some(authorizer) = &self.shared.authorizer
            && let Err(refused) = authorizer.check(peer, &served.instance.endpoint)
        {
            served.gauge.leave();
            return Err(refused);
        }
        // A drain that began meanwhile either waits for this call or keeps it out.
        let load = &self.shared.load;
        if !load.gauge.enter() {
            served.gauge.leave();
            return Err(draining());
        }
        let turn = match load.turns.try_acquire() {
            Ok(permit) => {
                permit.forget();
                Turn::Running
            }
            Err(_) => {
                let queued = load.queued.fetch_add(1, Ordering::AcqRel);
                if queued >= load.limits.queued {
                    load.queued.fetch_sub(1, Ordering::AcqRel);
                    load.gauge.leave();
                    served.gauge.leave();
                    return Err((Refusal::Admission, self.full()));
                }
                Turn::Queued
            }
        };
        Ok(Admitted { served, turn, outcome: Outcome::Cancelled })
    }

    /// Who is to answer, with the call counted there.
    fn find(
        &self,
        last: &mut LastCalled,
        endpoint: &str,
        instance: Option<InstanceId>,
    ) -> Result<Arc<Served>, (Refusal, Status)> {
        let additions = self.shared.additions.load(Ordering::Acquire);
        if let Some(served) = last.again(additions, endpoint, instance) {
            return Ok(served);
        }
        let table = self.shared.table.read();
        let served = table.get(endpoint).map_or(&[][..], Vec::as_slice);
        let found = match instance {
            Some(id) => served.iter().find(|served| served.instance.id == id),
            None => served.iter().min_by_key(|served| served.gauge.now()),
        };
        // One that is in the table lets calls in: it is closed under the lock when it is taken out.
        let found = found.filter(|served| served.gauge.enter());
        if let ([_], Some(only)) = (served, found) {
            last.note(only, additions);
        }
        found.cloned().ok_or_else(|| match instance {
            Some(id) if !served.is_empty() => {
                let what = format!("this server has no instance {id} of endpoint {endpoint}");
                (Refusal::NotFound, Status::not_found(what))
            }
            // A name that is served is a good one, so only one that is not has to be looked at.
            _ => match endpoint.parse::<EndpointId>() {
                Ok(name) => (Refusal::NotFound, Status::not_found(format!("this server has no endpoint {name}"))),
                Err(error) => (Refusal::InvalidCall, Status::invalid_argument(error.to_string())),
            },
        })
    }

    fn full(&self) -> Status {
        let AdmissionLimits { running, queued } = self.shared.load.limits;
        let what = format!(
            "the server runs {running} calls (AdmissionLimits::running) and {queued} wait (AdmissionLimits::queued)"
        );
        Status::resource_exhausted(what).with_retry_after(RETRY_AFTER)
    }

    /// Whether [`drain`](Self::drain) was called.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.shared.load.gauge.is_closed()
    }

    /// Refuses new calls from now on.
    pub fn start_draining(&self) {
        // Under the lock, so that nothing is registered after it.
        let _table = self.shared.table.write();
        self.shared.load.gauge.close();
    }

    /// Refuses new calls and waits until none is in flight, at most until `deadline`.
    pub async fn drain(&self, deadline: Instant) -> DrainReport {
        self.start_draining();
        drained(&self.shared.load.gauge, deadline).await
    }

    /// What was done so far; the number of connections is the transport's to add.
    #[must_use]
    pub fn stats(&self) -> ServerStats {
        let Load { counts, gauge, queued, .. } = &*self.shared.load;
        ServerStats {
            started: counts.started.load(Ordering::Relaxed),
            completed: counts.completed.load(Ordering::Relaxed),
            failed: counts.failed.load(Ordering::Relaxed),
            cancelled: counts.cancelled.load(Ordering::Relaxed),
            refused: counts.refused.load(Ordering::Relaxed),
            in_flight: gauge.now() as u64,
            queued: queued.load(Ordering::Relaxed) as u64,
            connections: 0,
            refusals: self.shared.refusals.counts(),
        }
    }
}

impl fmt::Debug for Endpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let table = self.shared.table.read();
        f.debug_struct("Endpoints").field("endpoints", &table.keys().collect::<Vec<_>>()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::AtomicBool;
    use std::thread;

    use super::*;
    use crate::handler::handler_fn;
    use crate::message::Response;
    use crate::status::Code;

    fn table(running: usize, queued: usize) -> Endpoints {
        Endpoints::new(AdmissionLimits { running, queued })
    }

    fn peer() -> Peer {
        Peer::new("test", "")
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
        let first = table.admit("a.b.c", None, &peer()).unwrap();
        let _second = table.admit("a.b.c", None, &peer()).unwrap();
        let mut third = table.admit("a.b.c", None, &peer()).unwrap();
        assert!(first.is_running() && !third.is_running());
        let refused = table.admit("a.b.c", None, &peer()).unwrap_err();
        assert_eq!((refused.code(), refused.retry_after()), (Code::RESOURCE_EXHAUSTED, Some(RETRY_AFTER)));
        first.finish(Outcome::Completed);
        third.turn().await;
        assert!(third.is_running());
        let stats = table.stats();
        assert_eq!((stats.started, stats.completed, stats.refused, stats.in_flight, stats.queued), (3, 1, 1, 2, 0));
    }

    /// Of two handlers, with two outcomes, running and queued: each is counted as if it had ended alone.
    #[test]
    fn calls_that_end_together_are_each_counted() {
        let table = table(4, 1);
        let (one, two) = (register(&table, "a.b.c", 1).unwrap(), register(&table, "a.b.d", 1).unwrap());
        let admit = |name| table.admit(name, None, &peer()).unwrap();
        let outcomes = [Outcome::Completed, Outcome::Completed, Outcome::Failed, Outcome::Failed, Outcome::Failed];
        let names = ["a.b.c", "a.b.c", "a.b.c", "a.b.d", "a.b.d"];
        let mut ended: Vec<_> = names.map(admit).into();
        ended.iter_mut().zip(outcomes).for_each(|(call, outcome)| call.conclude(outcome));
        assert_eq!((table.stats().in_flight, table.stats().queued), (5, 1));
        Admitted::finish_all(&mut ended);
        let stats = table.stats();
        assert_eq!((stats.completed, stats.failed, stats.cancelled), (2, 3, 0));
        assert_eq!((stats.in_flight, stats.queued, one.served.gauge.now(), two.served.gauge.now()), (0, 0, 0, 0));
        let again = ["a.b.c"; 5].map(admit);
        assert_eq!(again.each_ref().map(Admitted::is_running), [true, true, true, true, false]);
    }

    /// Case C15: two instances of one endpoint, one unregisters, the other goes on.
    #[tokio::test]
    async fn instances_come_and_go_alone() {
        let table = table(8, 0);
        let one = register(&table, "a.b.c", 1).unwrap();
        let two = register(&table, "a.b.c", 2).unwrap();
        assert_eq!(register(&table, "a.b.c", 1).unwrap_err().kind(), ErrorKind::AlreadyExists);
        drop(one);
        assert_eq!(table.admit("a.b.c", InstanceId::new(1), &peer()).unwrap_err().code(), Code::NOT_FOUND);
        assert_eq!(table.admit("a.b.c", None, &peer()).unwrap().instance().id.get(), 2);
        drop(two);
        assert_eq!(table.admit("a.b.c", None, &peer()).unwrap_err().code(), Code::NOT_FOUND);
    }

    /// Case A14: unregister waits for its calls in flight, bounded, and reports what was left.
    #[tokio::test(start_paused = true)]
    async fn unregister_waits_and_reports() {
        let table = table(8, 0);
        let one = register(&table, "a.b.c", 1).unwrap();
        let quick = table.admit("a.b.c", None, &peer()).unwrap();
        let stuck = table.admit("a.b.c", None, &peer()).unwrap();
        let deadline = tokio::time::Instant::now().into_std() + Duration::from_secs(1);
        let waiting = tokio::spawn(one.unregister(deadline));
        tokio::task::yield_now().await;
        quick.finish(Outcome::Completed);
        assert_eq!(waiting.await.unwrap(), DrainReport::new(1, 1));
        drop(stuck);
        assert_eq!(table.stats().in_flight, 0);
    }

    /// Calls that come while their handler is taken out are waited for or refused; none runs after the wait.
    #[test]
    fn no_call_outlives_an_unregistering() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let table = table(8, 0);
        for _ in 0..10_000 {
            let registration = register(&table, "a.b.c", 1).unwrap();
            let over = AtomicBool::new(false);
            let called = Barrier::new(2);
            thread::scope(|scope| {
                scope.spawn(|| {
                    called.wait();
                    let mut last = LastCalled::default();
                    while let Ok(call) = table.admit_after(&mut last, "a.b.c", None, &peer()) {
                        assert!(!over.load(Ordering::Acquire), "a call runs, and nobody waits for it");
                        drop(call);
                    }
                });
                called.wait();
                let deadline = Instant::now() + Duration::from_secs(10);
                assert_eq!(runtime.block_on(registration.unregister(deadline)).aborted, 0);
                over.store(true, Ordering::Release);
            });
        }
    }

    /// Who was called last is called again, but not once it is gone or another came.
    #[tokio::test]
    async fn whom_a_connection_called_last_may_go() {
        let table = table(8, 0);
        let mut last = LastCalled::default();
        let one = register(&table, "a.b.c", 1).unwrap();
        let mut call = |name, id| table.admit_after(&mut last, name, id, &peer()).map(|call| call.instance().id.get());
        for _ in 0..2 {
            assert_eq!(call("a.b.c", None).unwrap(), 1);
            assert_eq!(call("a.b.c", InstanceId::new(1)).unwrap(), 1);
            assert_eq!(call("a.b.c", InstanceId::new(2)).unwrap_err().code(), Code::NOT_FOUND);
            assert_eq!(call("a.b.d", None).unwrap_err().code(), Code::NOT_FOUND);
        }
        let two = register(&table, "a.b.c", 2).unwrap();
        let held = table.admit("a.b.c", InstanceId::new(1), &peer()).unwrap();
        assert_eq!(call("a.b.c", None).unwrap(), 2, "the first is busier");
        drop((one, held));
        assert_eq!(call("a.b.c", None).unwrap(), 2);
        let handler = Arc::downgrade(&two.served);
        drop(two);
        assert!(handler.upgrade().is_none(), "nobody keeps it");
        assert_eq!(call("a.b.c", None).unwrap_err().code(), Code::NOT_FOUND);
    }

    /// Threat A27: one validator tells what can be no endpoint from what is not served.
    #[test]
    fn what_can_be_no_endpoint_is_told_from_what_is_not_served() {
        let table = table(1, 0);
        let names = ["", ".", "..", "...", "a..b", "a.b", "a.b.c.d", "../../etc/passwd", "/a", "a.b.c\n", "%2e.a.b"];
        let others = ["a.b.c\0", "a.b.*", ">", "a. .c", "\r\n", "\u{430}.b.c"];
        for name in names.into_iter().chain(others) {
            assert_eq!(table.admit(name, None, &peer()).unwrap_err().code(), Code::INVALID_ARGUMENT, "{name:?}");
        }
        assert_eq!(table.admit("a.b.c", None, &peer()).unwrap_err().code(), Code::NOT_FOUND);
        let stats = table.stats();
        assert_eq!((stats.refusals.of(Refusal::InvalidCall), stats.refusals.of(Refusal::NotFound)), (17, 1));
        assert_eq!((stats.refused, stats.refusals.total()), (18, 18));
    }

    #[tokio::test]
    async fn a_draining_server_takes_nothing_on() {
        let table = table(8, 0);
        let _one = register(&table, "a.b.c", 1).unwrap();
        assert_eq!(table.drain(Instant::now()).await, DrainReport::new(0, 0));
        assert_eq!(table.admit("a.b.c", None, &peer()).unwrap_err().code(), Code::UNAVAILABLE);
        assert_eq!(register(&table, "a.b.d", 1).unwrap_err().kind(), ErrorKind::Unavailable);
    }
}
