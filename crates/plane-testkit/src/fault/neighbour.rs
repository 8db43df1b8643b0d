//! A caller beside the fault.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use plane_core::{Address, EndpointId, Request, RequestPlaneClient};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::machine::quantile;
use crate::conformance::Nonce;

/// Between two of its calls.
const PAUSE: Duration = Duration::from_millis(2);
/// Calls before a fault that tell how quick they are without it.
const CALM: usize = 100;
/// What a p99 may be beside a fault, however quick it was before. What is built without optimisation takes several times
/// as long, its handlers and attackers included.
const ALWAYS_FINE: Duration = Duration::from_millis(if cfg!(debug_assertions) { 150 } else { 50 });

/// The p99, or of few calls the p95: among a hundred, one that the scheduler forgot would be the p99.
fn nearly_all(took: &mut [Duration]) -> Duration {
    let share = if took.len() >= 500 { 0.99 } else { 0.95 };
    quantile(took, share)
}

/// Calls an endpoint that echoes, again and again, one call at a time, and checks each answer.
#[derive(Debug)]
pub struct Neighbour {
    shared: Arc<Shared>,
    calls: watch::Receiver<usize>,
    task: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Shared {
    calm: Mutex<Vec<Duration>>,
    beside: Mutex<Vec<Duration>>,
    fault: AtomicBool,
    over: AtomicBool,
}

impl Neighbour {
    pub(super) fn start(client: Arc<dyn RequestPlaneClient>, address: Address, echo: EndpointId) -> Self {
        let shared = Arc::new(Shared::default());
        let (made, calls) = watch::channel(0);
        let task = tokio::spawn({
            let shared = shared.clone();
            async move {
                while !shared.over.load(Ordering::Acquire) {
                    let took = call(&*client, &address, &echo).await;
                    let phase = if shared.fault.load(Ordering::Acquire) { &shared.beside } else { &shared.calm };
                    phase.lock().push(took);
                    made.send_modify(|made| *made += 1);
                    tokio::time::sleep(PAUSE).await;
                }
            }
        });
        Self { shared, calls, task }
    }

    /// Waits until it is known how quick its calls are. What comes after counts as beside the fault.
    ///
    /// # Panics
    /// If one of its calls failed.
    pub async fn is_calm(&mut self) {
        self.has_made(CALM).await;
        self.shared.fault.store(true, Ordering::Release);
    }

    /// Waits until it has made so many more calls.
    ///
    /// # Panics
    /// If one of its calls failed.
    pub async fn goes_on(&mut self, calls: usize) {
        let before = *self.calls.borrow();
        self.has_made(before + calls).await;
    }

    async fn has_made(&mut self, calls: usize) {
        if self.calls.wait_for(|made| *made >= calls).await.is_err() {
            panic!("a call beside the fault failed, see above");
        }
    }

    /// Ends it; says what its calls took at most in 99 of 100 cases, before and beside the fault.
    pub(super) async fn end(self) -> (Duration, Duration) {
        self.shared.over.store(true, Ordering::Release);
        self.task.await.expect("no call beside the fault fails");
        (nearly_all(&mut self.shared.calm.lock()), nearly_all(&mut self.shared.beside.lock()))
    }

    /// What `beside` may be after `calm`, on a machine that adds `delay` by itself.
    pub(super) fn bound(calm: Duration, delay: Duration) -> Duration {
        (3 * calm).max(ALWAYS_FINE) + 2 * delay
    }
}

async fn call(client: &dyn RequestPlaneClient, address: &Address, echo: &EndpointId) -> Duration {
    let message = Nonce::fresh().message(0, 64);
    let began = Instant::now();
    let answer = client.call(address, Request::new(echo.clone(), message.clone())).await;
    let answer = answer.unwrap_or_else(|error| panic!("a call beside the fault failed: {error:?}"));
    let answered = answer.message().await.unwrap_or_else(|error| panic!("an answer beside the fault: {error:?}"));
    assert!(answered == message, "a neighbour got the answer of another call");
    began.elapsed()
}
