//! What a case works with.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use plane_core::{Address, EndpointId, Error, Request, RequestPlaneClient, RequestPlaneServer, Response};

use super::ended::{Ended, Started};
use super::leftovers::no_calls;
use super::machine::Machine;
use super::neighbour::Neighbour;
use super::suite::Transport;
use crate::nats::NatsServer;
use crate::{ChaosProxy, Faults};

/// How late after its deadline a call may end.
const AFTER_DEADLINE: Duration = Duration::from_millis(250);
/// What bounds on time allow beside what the machine was late by: tests are built without optimisation, and other
/// programs run beside them.
const SLACK: Duration = Duration::from_millis(400);

/// One case at work. All that it checks by itself is checked when the case is over.
#[derive(Debug, Clone)]
pub struct Scene {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    transport: Transport,
    is_long: bool,
    /// It and the proxy outlive whatever is connected to them: a client library whose server is gone tries for ever.
    nats: Option<Mutex<NatsServer>>,
    proxy: ChaosProxy,
    machine: Machine,
    panics: AtomicUsize,
    clients: Mutex<Vec<Arc<dyn RequestPlaneClient>>>,
    servers: Mutex<Vec<Arc<dyn RequestPlaneServer>>>,
    skipped: Mutex<Option<String>>,
}

impl Scene {
    pub(super) fn new(transport: Transport, is_long: bool, proxy: ChaosProxy) -> Self {
        let shared = Shared {
            transport,
            is_long,
            nats: (transport == Transport::Nats).then(|| Mutex::new(NatsServer::start())),
            proxy,
            machine: Machine::watch(),
            panics: AtomicUsize::new(0),
            clients: Mutex::default(),
            servers: Mutex::default(),
            skipped: Mutex::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// What carries the calls this time.
    #[must_use]
    pub fn transport(&self) -> Transport {
        self.shared.transport
    }

    /// The NATS server of this case, if calls go through one.
    ///
    /// # Panics
    /// If they do not.
    pub fn nats<T>(&self, with: impl FnOnce(&mut NatsServer) -> T) -> T {
        with(&mut self.shared.nats.as_ref().expect("the case is over NATS").lock())
    }

    /// Where it is; `None` if calls go straight to their servers.
    #[must_use]
    pub fn nats_url(&self) -> Option<String> {
        self.shared.nats.as_ref().map(|nats| nats.lock().url())
    }

    /// A proxy that does harm, in front of whatever [`set_upstream`](ChaosProxy::set_upstream) says.
    #[must_use]
    pub fn proxy(&self) -> &ChaosProxy {
        &self.shared.proxy
    }

    /// One of two sizes: for every change, and for a night.
    pub fn size<T>(&self, short: T, long: T) -> T {
        if self.shared.is_long { long } else { short }
    }

    /// Has this client looked at when the case is over.
    pub fn watch_client(&self, client: &Arc<dyn RequestPlaneClient>) {
        self.shared.clients.lock().push(client.clone());
    }

    /// Has this server looked at when the case is over.
    pub fn watch_server(&self, server: &Arc<dyn RequestPlaneServer>) {
        self.shared.servers.lock().push(server.clone());
    }

    /// So many handlers panic in this case; no more may.
    pub fn expect_panics(&self, panics: usize) {
        self.shared.panics.fetch_add(panics, Ordering::AcqRel);
    }

    pub(super) fn expected_panics(&self) -> usize {
        self.shared.panics.load(Ordering::Acquire)
    }

    /// The case cannot run here. It is counted, and an error unless the case says that this may be.
    pub fn skip(&self, why: impl Into<String>) {
        *self.shared.skipped.lock() = Some(why.into());
    }

    pub(super) fn skipped(&self) -> Option<String> {
        self.shared.skipped.lock().clone()
    }

    /// A call, to its end.
    ///
    /// # Panics
    /// If it has a deadline and ends later than 250 ms after it.
    pub async fn call(&self, client: &dyn RequestPlaneClient, address: &Address, request: Request) -> Ended {
        let deadline = request.deadline;
        let ended = Ended::of(client.call(address, request)).await;
        if let Some(deadline) = deadline {
            let late = ended.at.saturating_duration_since(deadline);
            self.assert_within(late, AFTER_DEADLINE, "a call ended after its deadline");
        }
        ended
    }

    /// The same in a task of its own.
    pub fn start(&self, client: &Arc<dyn RequestPlaneClient>, address: &Address, request: Request) -> Started {
        let (scene, client, address) = (self.clone(), client.clone(), address.clone());
        Started(tokio::spawn(async move { scene.call(&*client, &address, request).await }))
    }

    /// The rest of an answer that has begun, read in a task of its own.
    pub fn read(&self, answer: Response) -> Started {
        Started(tokio::spawn(Ended::of_rest(answer)))
    }

    /// An answer that has begun: its first message came.
    ///
    /// # Errors
    /// How the call ended instead.
    ///
    /// # Panics
    /// If it ended in order without a message.
    pub async fn open(
        &self,
        client: &dyn RequestPlaneClient,
        address: &Address,
        request: Request,
    ) -> Result<Response, Error> {
        let mut answer = client.call(address, request).await?;
        match answer.next().await {
            Some(Ok(_)) => Ok(answer),
            Some(Err(error)) => Err(error),
            None => panic!("the answer has no message"),
        }
    }

    /// Takes this as what was promised, and allows for what the machine adds.
    ///
    /// # Panics
    /// If it took longer.
    #[track_caller]
    pub fn assert_within(&self, took: Duration, promised: Duration, what: &str) {
        let allowed = promised + SLACK + 2 * self.shared.machine.delay(1.0);
        assert!(took <= allowed, "{what}: {took:?}; promised were {promised:?}, allowed on this machine {allowed:?}");
    }

    /// A caller beside the fault, once it is known how quick its calls are.
    pub async fn neighbour(
        &self,
        client: &Arc<dyn RequestPlaneClient>,
        address: &Address,
        echo: &EndpointId,
    ) -> Neighbour {
        let mut neighbour = Neighbour::start(client.clone(), address.clone(), echo.clone());
        neighbour.is_calm().await;
        neighbour
    }

    /// The neighbour was not hurt.
    ///
    /// # Panics
    /// If the p99 of its calls is above three times what it was before and above 50 ms, or if one failed.
    pub async fn assert_unhurt(&self, mut neighbour: Neighbour) {
        neighbour.goes_on(50).await;
        let (calm, beside) = neighbour.end().await;
        let delay = self.shared.machine.delay(0.99);
        let bound = Neighbour::bound(calm, delay);
        println!("beside the fault p99 {beside:?}, before {calm:?}, of the machine {delay:?}");
        assert!(beside <= bound, "a caller beside the fault: p99 {beside:?}, at most {bound:?} (before: {calm:?})");
    }

    /// Looks at the memory from now on.
    #[must_use]
    pub fn memory(&self) -> Memory {
        let machine = &self.shared.machine;
        machine.take_peak();
        Memory { scene: self.clone(), before: machine.resident() }
    }

    /// What must hold at the end: no calls in flight, each counted once.
    pub(super) async fn settle(&self) {
        let clients = std::mem::take(&mut *self.shared.clients.lock());
        let servers = std::mem::take(&mut *self.shared.servers.lock());
        no_calls(&clients, &servers).await;
        // Connections that still wait for something in the proxy end as well.
        self.proxy().set_both(Faults::none());
        let gone = Instant::now() + Duration::from_secs(2);
        for client in clients {
            client.close(gone).await;
        }
    }
}

/// The memory of the process since a moment.
#[derive(Debug)]
pub struct Memory {
    scene: Scene,
    before: u64,
}

impl Memory {
    /// How much more than then was held at any time since, in bytes.
    #[must_use]
    pub fn grown(&self) -> u64 {
        self.scene.shared.machine.take_peak().saturating_sub(self.before)
    }

    /// Never more than this was held beyond what was then.
    ///
    /// # Panics
    /// If more was.
    #[track_caller]
    pub fn assert_within(&self, bytes: u64, what: &str) {
        let grown = self.grown();
        println!("{what}: {} KiB at most, allowed {} KiB", grown >> 10, bytes >> 10);
        assert!(grown <= bytes, "{what}: {grown} bytes, allowed are {bytes}");
    }
}
