//! The server ([`NatsServer`]).
//!
//! - `call`: one call in flight.
//! - `calls`: all of them.
//! - `callers`: who says that it is there, and is missed.
//! - `stored`: what becomes of a stored request.
//! - `saying`: what is said of a call before its end.
//! - `clock`: what keeps time for a call.
//! - `asked`: what the headers of a request say.
//! - `quick`: answers that are there at once.
//! - `answer`: the way of an answer to its caller.
//! - `core`: takes in what comes, and takes calls on.
//! - `feed`: the subjects that servers share, and how one leaves them.
//! - `micro`: what servers say to those who look for services.
//! - `task`: one run of a stored request.
//! - `worker`: takes stored requests.

mod call;

mod calls;

mod callers;

mod stored;

mod saying;

mod clock;

mod asked;

mod quick;

mod answer;

mod core;

mod feed;

mod micro;

mod task;

mod worker;

use std::fmt;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use async_nats::Subscriber;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use plane_core::{
    AbortReason, Address, BoxFuture, Delivery, DrainReport, EndpointId, Endpoints, Error, ErrorKind, Handler, Health,
    Instance, InstanceId, Registration, RequestPlaneServer, ServerStats,
};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinError, JoinSet};

use self::core::Core;
use self::feed::Feed;
use self::micro::{Questions, Service};
use self::worker::{Stores, Worker};
use crate::connection::NatsConnection;
use crate::durable::Store;
use crate::secret::secret;
use crate::subject;

/// The queue group of every server, so that NATS gives each call to one of them.
const QUEUE: &str = "plane";

/// How long a server that ends waits for its last words to be written.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How long a server that leaves a subject waits until NATS has confirmed it.
const LEAVING: Duration = Duration::from_secs(3);

/// Messages of one subscription that are taken in before anything else has its turn.
const MESSAGES_A_TURN: usize = 64;

/// Registrations that may wait for the driver to listen for them.
const NEW_LISTENERS: usize = 64;

/// Answers calls over NATS, for any number of endpoints.
///
/// Each endpoint is reached at `<prefix>.<endpoint>`, shared with other servers, at `<prefix>.<endpoint>.<instance>`,
/// and below the server's own [`address`](RequestPlaneServer::address). Dropping the server aborts its calls;
/// [`drain`](RequestPlaneServer::drain) it to let them finish.
#[derive(Debug)]
pub struct NatsServer {
    core: Arc<Core>,
    listeners: mpsc::Sender<Listener>,
    /// Where requests are stored on their way, if they are, and who is to take them.
    stored: Option<(Arc<Stores>, mpsc::Sender<Hired>)>,
    closing: watch::Sender<Closing>,
    /// Its sender goes with the driver.
    driven: watch::Receiver<()>,
}

/// How far the server's end is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Closing {
    No,
    /// Calls to any server go to others from now on.
    Draining,
    /// Nothing is listened to any more.
    Closed,
}

/// What reads the server's subscriptions. The server answers as long as this is polled; it ends with the server.
#[must_use = "the server answers as long as its driver is polled"]
pub struct ServerDriver(Pin<Box<dyn Future<Output = ()> + Send>>);

impl Future for ServerDriver {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0.as_mut().poll(cx)
    }
}

impl fmt::Debug for ServerDriver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServerDriver")
    }
}

/// What listens for one registration.
struct Listener {
    calls: Feed,
    questions: Questions,
}

/// What takes the stored requests of one registration, until that ends.
type Hired = (Worker, oneshot::Receiver<()>);

impl NatsServer {
    /// A server on this connection, connecting it if need be, and what drives it: spawn it or poll it beside.
    ///
    /// # Errors
    /// What connecting can fail with: [`ErrorKind::Unavailable`], [`ErrorKind::Unauthenticated`] or
    /// [`ErrorKind::InvalidArgument`]; also [`ErrorKind::PermissionDenied`] if it may not use its own subjects, and
    /// `Unavailable` if it does not hear itself in time.
    pub async fn bind(connection: &NatsConnection) -> Result<(Self, ServerDriver), Error> {
        let client = connection.client().await?;
        let config = connection.config();
        let id = config.server_id.unwrap_or_else(secret);
        let address = subject::server_address(&config.prefix, id);
        let mut denied = connection.denied();
        let own = client.subscribe(format!("{address}.>")).await.map_err(|error| cannot_listen(&address, &error))?;
        let endpoints = Endpoints::authorized(config.admission, config.authorizer.clone());
        let core = Arc::new(Core::new(connection.clone(), address, endpoints));
        let (listeners, new_listeners) = mpsc::channel(NEW_LISTENERS);
        let (closing, closed) = watch::channel(Closing::No);
        let (driving, driven) = watch::channel(());
        let (hire, hired) = mpsc::channel(NEW_LISTENERS);
        let working = work(core.clone(), hired, closed.clone());
        let driver = drive(core.clone(), own, new_listeners, closed);
        let driver = async move {
            let _driving = driving;
            // Requests are given back while the rest of the server still listens.
            tokio::join!(driver, working);
        };
        let stored = Store::of(connection).map(|store| (Stores::new(store), hire));
        let (server, mut driver) = (Self { core, listeners, stored, closing, driven }, ServerDriver(Box::pin(driver)));
        tokio::select! {
            heard = server.core.hear_itself(&mut denied, &[]) => heard?,
            () = &mut driver => return Err(lost()),
        }
        Ok((server, driver))
    }

    /// Listens to an endpoint's own subjects, and waits until NATS passes on what comes there. Dropping what is
    /// returned ends that.
    async fn listen(&self, registration: &Registration) -> Result<[oneshot::Sender<()>; 2], Error> {
        let Instance { endpoint, id, .. } = registration.instance();
        let client = self.core.connection().client().await?;
        let prefix = &self.core.connection().config().prefix;
        let subscribe = async |subject: String| {
            client.queue_subscribe(subject, QUEUE.to_owned()).await.map_err(|error| cannot_listen(prefix, &error))
        };
        let mut denied = self.core.connection().denied();
        let subjects = [subject::call(prefix, endpoint, None), subject::call(prefix, endpoint, Some(*id))];
        let any = subscribe(subjects[0].clone()).await?;
        let this = subscribe(subjects[1].clone()).await?;
        let (registered, unregistered) = oneshot::channel();
        let calls = Feed { any, this, unregistered };
        let (found, unregistered) = oneshot::channel();
        let service = Service::new(&self.core, registration);
        let questions = service.listen(client, unregistered).await.map_err(|error| cannot_listen("$SRV", &error))?;
        self.listeners.send(Listener { calls, questions }).await.map_err(|_| lost())?;
        // NATS handles what one connection sends in order: what comes back was sent after the subscriptions.
        self.core.hear_itself(&mut denied, &subjects).await?;
        // What NATS refuses it says before, but the client library tells of it in a task of its own: it has had time for
        // that when another message has come. Were it later still, `health` tells.
        self.core.hear_itself(&mut denied, &subjects).await?;
        Ok([registered, found])
    }

    /// Takes an endpoint's stored requests, if requests are stored.
    async fn hire(&self, registration: &Registration) -> Result<Option<oneshot::Sender<()>>, Error> {
        let Some((stores, hire)) = &self.stored else { return Ok(None) };
        let Instance { endpoint, id, .. } = registration.instance();
        let running = self.core.connection().config().admission.running;
        let worker = Worker::open(stores, endpoint.clone(), *id, running).await?;
        let (registered, unregistered) = oneshot::channel();
        hire.send((worker, unregistered)).await.map_err(|_| lost())?;
        Ok(Some(registered))
    }
}

fn cannot_listen(what: &str, error: &async_nats::SubscribeError) -> Error {
    let what = format!("cannot listen at {what} on NATS: {error}");
    Error::new(ErrorKind::Unavailable, Delivery::NotSent, what)
}

fn lost() -> Error {
    Error::new(ErrorKind::Unavailable, Delivery::NotSent, "the driver of the NATS server has ended")
}

/// Takes stored requests for every registration until the server is closed and what was taken is given back.
async fn work(core: Arc<Core>, mut hired: mpsc::Receiver<Hired>, mut closing: watch::Receiver<Closing>) {
    let mut workers = FuturesUnordered::new();
    let drained = closing.clone();
    let mut closed = pin!(closing.wait_for(|closing| *closing == Closing::Closed));
    loop {
        tokio::select! {
            Some((worker, unregistered)) = hired.recv() => {
                let mut drained = drained.clone();
                let left = async move {
                    tokio::select! {
                        _ = unregistered => {}
                        _ = drained.wait_for(|closing| *closing >= Closing::Draining) => {}
                    }
                };
                workers.push(worker.run(&core, left));
            }
            Some(()) = workers.next() => {}
            _ = &mut closed => break,
        }
    }
    let _ = tokio::time::timeout(2 * LAST_WORDS, async { while workers.next().await.is_some() {} }).await;
}

/// Takes in everything that comes to the server until it is closed.
async fn drive(
    core: Arc<Core>,
    mut own: Subscriber,
    mut new_listeners: mpsc::Receiver<Listener>,
    closing: watch::Receiver<Closing>,
) {
    // In tasks of their own: what comes to one of them wakes nothing else.
    let mut listening = JoinSet::new();
    let start = |listening: &mut JoinSet<()>, Listener { calls, questions }| {
        listening.spawn(calls.run(core.clone(), closing.clone()));
        listening.spawn(questions.run(core.clone(), closing.clone()));
    };
    let mut losses = core.connection().losses();
    let connection = core.connection().clone();
    let telling = core.controls().run(&connection);
    tokio::pin!(telling);
    let config = core.connection().config();
    let missing = callers::watch(core.callers(), core.calls(), config.keepalive_interval + config.keepalive_timeout);
    tokio::pin!(missing);
    let mut closed = closing.clone();
    let closed = closed.wait_for(|closing| *closing == Closing::Closed);
    tokio::pin!(closed);
    loop {
        tokio::select! {
            message = own.next() => match message {
                Some(message) => core.take(message),
                None => break,
            },
            Some(listener) = new_listeners.recv() => start(&mut listening, listener),
            Some(ended) = listening.join_next() => unpanicked(ended),
            () = &mut telling => {}
            () = &mut missing => {}
            lost = losses.changed() => {
                if lost.is_ok() {
                    core.lose_connection();
                }
            }
            _ = &mut closed => break,
        }
    }
    new_listeners.close();
    while let Ok(listener) = new_listeners.try_recv() {
        start(&mut listening, listener);
    }
    let leaving = async {
        // What NATS cannot give to others it returns to the server's own address: they end first.
        loop {
            tokio::select! {
                ended = listening.join_next() => match ended {
                    Some(ended) => unpanicked(ended),
                    None => break,
                },
                Some(message) = own.next() => core.take(message),
            }
        }
        feed::end_own(&core, own).await;
    };
    let _ = tokio::time::timeout(LEAVING, leaving).await;
    core.end(LAST_WORDS).await;
}

/// A bug in what listens is one of the driver.
fn unpanicked(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && let Ok(panic) = error.try_into_panic()
    {
        std::panic::resume_unwind(panic);
    }
}

impl RequestPlaneServer for NatsServer {
    fn register<'a>(
        &'a self,
        endpoint: EndpointId,
        instance: InstanceId,
        handler: Arc<dyn Handler>,
    ) -> BoxFuture<'a, Result<Registration, Error>> {
        Box::pin(async move {
            let registration = self.core.endpoints().register(endpoint, instance, self.address(), handler)?;
            let hired = self.hire(&registration).await?;
            let registered = self.listen(&registration).await?;
            Ok(registration.with_guard((hired, registered)))
        })
    }

    fn address(&self) -> Address {
        match &self.stored {
            // What is stored is for any server.
            Some(_) => Address::Nats(self.core.connection().config().prefix.as_str().into()),
            None => Address::Nats(self.core.address().into()),
        }
    }

    fn health(&self) -> Health {
        if self.core.endpoints().is_draining() {
            return Health::Unavailable("the server is draining".to_owned());
        }
        self.core.connection().health()
    }

    fn stats(&self) -> ServerStats {
        let mut stats = self.core.endpoints().stats();
        stats.connections = u64::from(self.core.connection().health() == Health::Ready);
        stats
    }

    fn drain(&self, deadline: Instant) -> BoxFuture<'_, DrainReport> {
        Box::pin(async move {
            self.core.endpoints().start_draining();
            self.closing.send_replace(Closing::Draining);
            let report = self.core.endpoints().drain(deadline).await;
            self.core.calls().abort_all(AbortReason::Shutdown);
            // Those who were aborted are told so.
            let _ = tokio::time::timeout(LAST_WORDS, self.core.calls().wait_until_empty()).await;
            self.closing.send_replace(Closing::Closed);
            let mut driven = self.driven.clone();
            // It changes by its end alone.
            let _ = tokio::time::timeout(LEAVING + 2 * LAST_WORDS, driven.changed()).await;
            report
        })
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        self.core.endpoints().start_draining();
        self.core.calls().abort_all(AbortReason::Shutdown);
        self.closing.send_replace(Closing::Closed);
    }
}
