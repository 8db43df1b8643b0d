//! The client ([`NatsClient`]).
//!
//! - `runs`: which run of a stored request an answer belongs to.
//! - `call`: one call in flight.
//! - `routes`: which call an answer belongs to.
//! - `inbox`: who reads the answers.
//! - `answer`: the caller's end of a call.
//! - `upload`: the messages of a request that do not fit its first payload.
//! - `vigil`: whether the servers that say nothing are still there.
//! - `stored`: calls that are stored on the way.

mod runs;

mod call;

mod routes;

mod inbox;

mod answer;

mod upload;

mod vigil;

mod stored;

#[cfg(fuzzing)]
pub(crate) mod fuzzing;

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::HeaderMap;
use bytes::Bytes;
use plane_core::{
    Address, Body, BoxFuture, CallCount, ClientStats, Delivery, DrainReport, Error, ErrorKind, Health, Ledger, Request,
    RequestPlaneClient, Response, Transport, check_headers,
};
use tokio::sync::{OnceCell, broadcast, oneshot};
use tokio_util::task::AbortOnDropHandle;

use self::answer::{Answer, Shared};
use self::call::Call;
use self::inbox::Inbox;
use self::routes::Routes;
use crate::connection::{NatsConnection, Outbound, Tried, over_limit, over_payload};
use crate::durable::Store;
use crate::flow::{DEFAULT_CREDIT, Incoming};
use crate::secret::secret_token;
use crate::{head, subject};

/// How long a close waits for what it says to be written.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Makes calls over NATS: to `nats://<prefix>`, where any server of the endpoint may answer, or to the address of one
/// server. All answers come to one inbox of its own.
///
/// Connects, and starts a task that reads the inbox, with the first call; dropping it ends its calls.
#[derive(Debug)]
pub struct NatsClient {
    connection: NatsConnection,
    inbox: String,
    ledger: Ledger,
    shared: Arc<Shared>,
    /// Where requests are stored on their way, if they are.
    store: Option<Store>,
    /// Tells the task that reads the inbox, by its end, that nobody calls any more.
    reader: OnceCell<oneshot::Sender<()>>,
}

impl NatsClient {
    /// A client of this connection.
    #[must_use]
    pub fn new(connection: &NatsConnection) -> Self {
        let config = connection.config();
        // Nobody can guess it, so nobody can answer or abort the calls of another.
        let token = secret_token();
        Self {
            connection: connection.clone(),
            inbox: format!("{}.{token}", config.inbox_prefix),
            ledger: Ledger::default(),
            shared: Arc::new(Shared {
                routes: Routes::new(config.max_calls, token),
                inbox: Inbox::default(),
                controls: crate::controls::Controls::default(),
                request_timeout: config.request_timeout,
                keepalive: config.keepalive_interval + config.keepalive_timeout,
            }),
            store: Store::of(connection),
            reader: OnceCell::new(),
        }
    }

    /// Everything that can refuse the call before the connection is needed.
    fn check(&self, address: &Address, request: &Request) -> Result<(), Error> {
        let refuse = |kind, what| Err(Error::new(kind, Delivery::NotSent, what));
        if self.shared.routes.is_closed() {
            return refuse(ErrorKind::Cancelled, "the client is closed".to_owned());
        }
        let Address::Nats(at) = address else {
            return refuse(
                ErrorKind::InvalidArgument,
                format!("NATS cannot reach {address}: it reaches nats://prefix"),
            );
        };
        if !subject::is_address(at) {
            let shown = address.to_string();
            let what = format!("{} is not nats://prefix or the address of a server on NATS", shown.escape_debug());
            return refuse(ErrorKind::InvalidArgument, what);
        }
        let config = self.connection.config();
        if self.store.is_some() {
            stored::check(&config.prefix, at, request)?;
        }
        check_headers(&request.headers, config.headers)?;
        if let Some(message) = request.body.as_one().filter(|message| message.len() > config.max_message) {
            return Err(over_limit(message.len(), config.max_message));
        }
        if request.deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            return refuse(ErrorKind::DeadlineExceeded, "the deadline had passed before the call was sent".to_owned());
        }
        Ok(())
    }

    /// Whether a call can be made at once.
    fn is_ready(&self) -> bool {
        self.store.is_none() && self.reader.initialized()
    }

    /// Connects and listens, if that has not been done yet.
    async fn ready(&self) -> Result<(), Error> {
        let client = self.connection.client().await?;
        self.reader
            .get_or_try_init(|| async {
                // Before subscribing, so that a refusal is not missed.
                let denied = self.connection.denied();
                let inbox = client.subscribe(format!("{}.*", self.inbox)).await.map_err(|error| {
                    let what = format!("cannot listen for answers at {}: {error}", self.inbox);
                    Error::new(ErrorKind::Unavailable, Delivery::NotSent, what).with_source(error)
                })?;
                let (open, closing) = oneshot::channel();
                let (connection, shared) = (self.connection.clone(), self.shared.clone());
                shared.inbox.open(inbox);
                tokio::spawn(read(connection, shared, self.inbox.clone(), denied, closing));
                Ok::<_, Error>(open)
            })
            .await?;
        match &self.store {
            Some(store) => store.ensure().await,
            None => Ok(()),
        }
    }

    async fn make(&self, address: &Address, request: Request) -> Result<Response, Error> {
        let count = self.ledger.begin();
        let failed = |count: CallCount, error| {
            count.finish(plane_core::Outcome::Failed);
            Err(error)
        };
        if let Err(error) = self.check(address, &request) {
            return failed(count, error);
        }
        // What most calls do not do is kept out of their futures, which are moved as a whole.
        if !self.is_ready()
            && let Err(error) = Box::pin(self.ready_in_time(request.deadline)).await
        {
            return failed(count, error);
        }
        if let Some(store) = &self.store {
            return Box::pin(self.make_stored(store, request, count)).await;
        }
        let Request { endpoint, instance, headers, deadline, body } = request;
        let Address::Nats(at) = address else { return failed(count, wrong_address(address)) };
        let id = self.shared.routes.next_id();
        let subject: async_nats::Subject = subject::call(at, &endpoint, instance).into();
        // Where one server is called, its ear for this call is known before it speaks.
        let control = || subject::control(at, &self.shared.routes.request_id(id)).into();
        let control = subject::is_server_address(at).then(control);
        let config = self.connection.config();
        let incoming = Incoming::new(config.credit, self.connection.max_payload(), config.max_message);
        let call = Arc::new(Call::new(id, subject, control, incoming, config.headers));
        let is_alone = match self.shared.routes.insert(&call) {
            Ok(is_alone) => is_alone,
            Err(error) => return failed(count, error),
        };
        let mut answer = Answer::new(self.shared.clone(), call, deadline, count);
        let mut wire = HeaderMap::new();
        head::add_application(&mut wire, &headers);
        self.add_own_headers(&mut wire, deadline);
        let (payload, rest) = match self.first_payload(&mut wire, body) {
            Ok(parts) => parts,
            Err(error) => return Err(answer.not_sent(error)),
        };
        let headers = Some(wire).filter(|wire| !wire.is_empty());
        let (subject, reply) = (answer.call().subject.clone(), Some(subject::inbox(&self.inbox, id).into()));
        let message = Outbound { subject, reply, headers, payload };
        if is_alone && rest.is_none() {
            answer.reads_inbox();
        } else {
            self.shared.inbox.give_back(&self.shared.routes);
        }
        // One call alone gains nothing by waiting for others.
        let sent = if !is_alone {
            self.connection.publish_with_others(message).await
        } else {
            match self.connection.try_publish(message) {
                Tried::Done(sent) => sent,
                Tried::Later(message) => Box::pin(self.connection.publish(message)).await,
            }
        };
        if let Err(error) = sent {
            return Err(answer.not_sent(error));
        }
        if let Some(rest) = rest {
            let upload = upload::run(self.connection.clone(), answer.call().clone(), rest);
            answer.uploads_with(tokio::spawn(upload).abort_handle());
        }
        answer.begin().await
    }

    async fn ready_in_time(&self, deadline: Option<Instant>) -> Result<(), Error> {
        let Some(deadline) = deadline else { return self.ready().await };
        tokio::time::timeout_at(deadline.into(), self.ready()).await.unwrap_or_else(|_| {
            let what = "the deadline of the call passed before NATS was connected";
            Err(Error::new(ErrorKind::DeadlineExceeded, Delivery::NotSent, what))
        })
    }

    /// What the server does not know without being told. The request id it reads from the reply subject.
    fn add_own_headers(&self, wire: &mut HeaderMap, deadline: Option<Instant>) {
        let credit = self.connection.config().credit;
        if credit != DEFAULT_CREDIT {
            head::set(wire, head::CREDIT, credit);
        }
        if let Some(deadline) = deadline {
            let left = deadline.saturating_duration_since(Instant::now());
            head::set(wire, head::TIMEOUT, head::micros(left));
        }
    }

    /// What travels with the request itself, and what follows it.
    fn first_payload(&self, wire: &mut HeaderMap, body: Body) -> Result<(Bytes, Option<Body>), Error> {
        let limit = self.connection.max_payload();
        let room = limit.saturating_sub(head::wire_len(wire) + head::OWN_BYTES);
        match body.into_one() {
            Ok(message) if message.len() <= room => Ok((message, None)),
            Ok(_) if !self.connection.config().chunking => Err(over_payload(limit)),
            Ok(message) => {
                head::set(wire, head::BODY, head::BODY_STREAM);
                Ok((Bytes::new(), Some(message.into())))
            }
            Err(body) if body.is_empty() => {
                head::set(wire, head::BODY, head::BODY_NONE);
                Ok((Bytes::new(), None))
            }
            Err(body) => {
                head::set(wire, head::BODY, head::BODY_STREAM);
                Ok((Bytes::new(), Some(body)))
            }
        }
    }
}

fn wrong_address(address: &Address) -> Error {
    Error::new(ErrorKind::InvalidArgument, Delivery::NotSent, format!("NATS cannot reach {address}"))
}

/// Hears answers until nobody calls any more or the connection is closed.
async fn read(
    connection: NatsConnection,
    shared: Arc<Shared>,
    inbox_subject: String,
    denied: broadcast::Receiver<Arc<str>>,
    closing: oneshot::Receiver<()>,
) {
    // Every answer wakes this task, so it looks at nothing else.
    let hearing = AbortOnDropHandle::new(tokio::spawn({
        let shared = shared.clone();
        async move { shared.inbox.read(&shared.routes, &shared.controls).await }
    }));
    tokio::select! {
        _ = hearing => {}
        () = attend(&connection, &shared, &inbox_subject, denied) => {}
        _ = closing => shared.controls.tell(&connection).await,
    }
    shared.inbox.close();
}

/// Tells servers what callers want, and ends the calls of a connection or server that is lost.
async fn attend(
    connection: &NatsConnection,
    shared: &Shared,
    inbox_subject: &str,
    mut denied: broadcast::Receiver<Arc<str>>,
) {
    let mut losses = connection.losses();
    let watching = async {
        tokio::join!(
            shared.controls.run(connection),
            vigil::run(connection, shared, inbox_subject),
            shared.end_silent()
        )
    };
    tokio::pin!(watching);
    loop {
        tokio::select! {
            _ = &mut watching => {}
            lost = losses.changed() => {
                if lost.is_err() {
                    return;
                }
                shared.routes.lose_connection();
                shared.controls.clear();
                shared.routes.hope();
            }
            subject = denied.recv() => {
                if let Ok(subject) = subject {
                    shared.routes.deny(&subject);
                }
            }
        }
    }
}

fn closed(_: &Call) -> Error {
    Error::new(ErrorKind::Cancelled, Delivery::Unknown, "the client was closed before the call ended")
}

impl RequestPlaneClient for NatsClient {
    fn call<'a>(&'a self, address: &'a Address, request: Request) -> BoxFuture<'a, Result<Response, Error>> {
        Box::pin(self.make(address, request))
    }

    fn transport(&self) -> Transport {
        Transport::Nats
    }

    fn health(&self) -> Health {
        if self.shared.routes.is_closed() {
            return Health::Unavailable("the client is closed".to_owned());
        }
        self.connection.health()
    }

    fn stats(&self) -> ClientStats {
        let mut stats = self.ledger.stats();
        let is_connected = self.reader.initialized() && self.connection.health() == Health::Ready;
        stats.connections = u64::from(is_connected);
        stats.dials = self.connection.dials();
        stats.unknown_replies = self.shared.routes.strays();
        stats
    }

    fn close(&self, deadline: Instant) -> BoxFuture<'_, DrainReport> {
        Box::pin(async move {
            self.shared.routes.close();
            let report = self.shared.routes.wait_until_empty(deadline).await;
            self.shared.routes.fail_all(&self.shared.controls, closed);
            // With the server gone there is nobody left to tell.
            let _ = tokio::time::timeout(LAST_WORDS, self.shared.controls.tell(&self.connection)).await;
            self.connection.flush(LAST_WORDS).await;
            report
        })
    }
}

impl Drop for NatsClient {
    fn drop(&mut self) {
        self.shared.routes.close();
        self.shared.routes.fail_all(&self.shared.controls, closed);
    }
}
