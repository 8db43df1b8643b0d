//! Takes stored requests of one registration, as many as may run, and starts them (docs/nats.md, "Taking requests").

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;
use plane_core::{Code, Delivery, EndpointId, Error, InstanceId, check_token};
use rustc_hash::FxHashSet;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::core::Core;
use super::feed;
use super::stored::{Stored, Verdict};
use super::task::Task;
use crate::durable::{Came, Delivered, Failure, Inbound, Janitor, Store, Word};
use crate::head;

/// Requests that are asked for at once, at most.
const BATCH: usize = 64;

/// How long a server waits before it asks again after it could not.
const ASK_AGAIN: Duration = Duration::from_millis(200);

/// What all registrations of a server share.
#[derive(Debug)]
pub(super) struct Stores {
    store: Arc<Store>,
    janitor: Arc<Janitor>,
    /// The places of the requests that run here now.
    running: Mutex<FxHashSet<u64>>,
}

impl Stores {
    pub(super) fn new(store: Store) -> Arc<Self> {
        Arc::new(Self { store: Arc::new(store), janitor: Arc::default(), running: Mutex::default() })
    }
}

/// Takes the stored requests of one registration.
#[derive(Debug)]
pub(super) struct Worker {
    stores: Arc<Stores>,
    endpoint: EndpointId,
    instance: InstanceId,
    /// One for each request that may run.
    slots: Arc<Semaphore>,
    source: Source,
}

/// Where requests come from, and what was so when it was opened.
#[derive(Debug)]
struct Source {
    inbound: Inbound,
    /// Requests up to this place may have been run before NATS lost count.
    known: u64,
    clock: Clock,
}

/// The NATS server's clock: when it said what time it was.
#[derive(Debug, Clone, Copy)]
struct Clock {
    said: SystemTime,
    heard: Instant,
}

impl Clock {
    /// How long ago this was. Clocks of two machines are never compared.
    fn since(self, time: SystemTime) -> Duration {
        (self.said + self.heard.elapsed()).duration_since(time).unwrap_or_default()
    }
}

impl Source {
    async fn open(store: &Store, endpoint: &EndpointId) -> Result<Self, Error> {
        store.ensure().await?;
        store.ensure_consumer(endpoint).await?;
        let inbound = Inbound::open(store, endpoint).await?;
        let name = &store.names().requests;
        let failed = |failure: Failure| failure.into_error("open the store", Delivery::NotSent);
        let info = store.stream(name).await.map_err(failed)?;
        let clock = Clock { said: info.now.unwrap_or_else(SystemTime::now), heard: Instant::now() };
        Ok(Self { inbound, known: info.state.last, clock })
    }
}

impl Worker {
    /// Opens the store. It gives requests from now on, once [`run`](Self::run) asks for them.
    pub(super) async fn open(
        stores: &Arc<Stores>,
        endpoint: EndpointId,
        instance: InstanceId,
        running: usize,
    ) -> Result<Self, Error> {
        let source = Source::open(&stores.store, &endpoint).await?;
        let slots = Arc::new(Semaphore::new(running.clamp(1, Semaphore::MAX_PERMITS)));
        Ok(Self { stores: stores.clone(), endpoint, instance, slots, source })
    }

    /// Takes requests until this is dropped or `left` is ready, and then gives back what still comes.
    pub(super) async fn run(mut self, core: &Core, left: impl Future<Output = ()>) {
        let stores = self.stores.clone();
        let janitor = stores.janitor.run(&stores.store);
        let taking = async {
            tokio::pin!(left);
            let mut connects = stores.store.connection().connects();
            loop {
                tokio::select! {
                    biased;
                    () = &mut left => break,
                    () = self.take_in(core, &mut connects) => {}
                }
                if !self.reopen(&mut connects, &mut left).await {
                    return;
                }
            }
            self.leave(core).await;
        };
        tokio::select! {
            () = taking => {}
            () = janitor => {}
        }
    }

    /// Asks for nothing more, and gives back what still comes of what was asked for: at once, not after three beats.
    async fn leave(mut self, core: &Core) {
        feed::stop(self.source.inbound.subscriber()).await;
        {
            let left = feed::left(core);
            tokio::pin!(left);
            loop {
                tokio::select! {
                    () = &mut left => break,
                    came = self.source.inbound.next() => match came {
                        Came::Request(request) => self.give_back(core, *request, Duration::ZERO),
                        Came::Nothing => {}
                        Came::Gone => return,
                    },
                }
            }
        }
        feed::forget(self.source.inbound.subscriber()).await;
        while let Came::Request(request) = self.source.inbound.next().await {
            self.give_back(core, *request, Duration::ZERO);
        }
    }

    /// Opens the store again; `false` if the registration ends first.
    async fn reopen(
        &mut self,
        connects: &mut watch::Receiver<u64>,
        left: &mut (impl Future<Output = ()> + Unpin),
    ) -> bool {
        loop {
            tokio::select! {
                biased;
                () = &mut *left => return false,
                _ = connects.changed() => {}
                () = tokio::time::sleep(ASK_AGAIN) => {}
            }
            self.stores.store.forget();
            match Source::open(&self.stores.store, &self.endpoint).await {
                Ok(source) => {
                    self.source = source;
                    return true;
                }
                Err(error) => tracing::debug!(%error, endpoint = %self.endpoint, "the store cannot be opened again"),
            }
        }
    }

    /// Asks for requests and starts them, until the store has to be opened again.
    ///
    /// # Cancel safety
    /// No request is lost if the future is dropped.
    async fn take_in(&mut self, core: &Core, connects: &mut watch::Receiver<u64>) {
        let mut permits: Vec<OwnedSemaphorePermit> = Vec::new();
        loop {
            if !self.source.inbound.is_open() {
                permits.clear();
                permits.extend(self.slots.clone().acquire_owned().await.ok());
                while permits.len() < BATCH {
                    let Ok(permit) = self.slots.clone().try_acquire_owned() else { break };
                    permits.push(permit);
                }
                if self.source.inbound.ask(&self.stores.store, permits.len()).await.is_err() {
                    return;
                }
            }
            tokio::select! {
                biased;
                _ = connects.changed() => return,
                came = self.source.inbound.next() => match came {
                    Came::Request(request) => {
                        match permits.pop() {
                            Some(permit) => self.start(core, *request, permit),
                            // An answer to a question that was given up.
                            None => self.give_back(core, *request, Duration::ZERO),
                        }
                        if permits.is_empty() {
                            self.source.inbound.close();
                        }
                    }
                    Came::Nothing => {}
                    Came::Gone => return,
                },
            }
        }
    }

    fn start(&self, core: &Core, request: Delivered, permit: OwnedSemaphorePermit) {
        let Some(place) = Place::take(&self.stores, request.sequence) else {
            // It still runs here, and says so: NATS was only gone for too long to hear it.
            return;
        };
        let admitted = match core.endpoints().admit(self.endpoint.as_str(), Some(self.instance), &core.parts().peer) {
            Ok(admitted) => admitted,
            // What this worker's authorizer forbids is for another worker, and not at once for this one again.
            Err(status) if status.code() == Code::PERMISSION_DENIED => {
                return self.give_back(core, request, self.stores.store.config().retry_delay.1);
            }
            Err(status) => return self.give_back(core, request, status.retry_after().unwrap_or_default()),
        };
        let looks = request.deliveries > 1 || request.sequence <= self.source.known;
        let elapsed = self.source.clock.since(request.stored);
        let task = Task { stored: self.stored(request), admitted, elapsed, taken_in: Instant::now() };
        let parts = core.parts();
        tokio::spawn(async move {
            let _held = (permit, place);
            task.run(parts, looks).await;
        });
    }

    fn stored(&self, request: Delivered) -> Stored {
        let id = request.headers.get(head::REQUEST_ID).map(|id| id.as_str().to_owned());
        Stored {
            store: self.stores.store.clone(),
            janitor: self.stores.janitor.clone(),
            endpoint: self.endpoint.clone(),
            id: id.filter(|id| check_token(id).is_ok()).unwrap_or_else(|| format!("at-{}", request.sequence)),
            attempt: request.deliveries,
            request,
            given_back: 0,
            is_kept: false,
        }
    }

    /// Leaves a request that was not started to others, and sees that it does not count as a try.
    fn give_back(&self, core: &Core, request: Delivered, delay: Duration) {
        let mut stored = self.stored(request);
        core.tracker().spawn(async move {
            match stored.look().await {
                Ok(None) => {
                    let (_, _) = stored.settle(Verdict::GivenBack, 0, 0).await;
                    stored.conclude(Word::Again(delay)).await;
                }
                // It was answered: whoever takes it next finds that.
                Ok(Some(_)) | Err(_) => stored.conclude(Word::Again(delay)).await,
            }
        });
    }
}

/// A request's place among those that run here.
struct Place {
    stores: Arc<Stores>,
    sequence: u64,
}

impl Place {
    fn take(stores: &Arc<Stores>, sequence: u64) -> Option<Self> {
        let is_new = stores.running.lock().insert(sequence);
        is_new.then(|| Self { stores: stores.clone(), sequence })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.stores.running.lock().remove(&self.sequence);
    }
}
