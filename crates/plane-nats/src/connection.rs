//! The connection to NATS: made when it is first needed, shared by a client and servers ([`NatsConnection`]).

use std::fmt;
use std::pin::{Pin, pin};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use async_nats::client::{PublishError, PublishErrorKind};
use async_nats::connection::State;
use async_nats::{Client, Subject};
use bytes::Bytes;
use futures_util::{Sink, SinkExt, StreamExt};
use parking_lot::Mutex;
use plane_core::{Delivery, Error, ErrorKind, Health};
use tokio::sync::{broadcast, watch};

use crate::config::NatsConfig;
use crate::events::Events;
pub(crate) use crate::outbox::Outbound;
use crate::outbox::Outbox;
use crate::{dial, head};

/// A connection to NATS that is made when it is first needed, and made again whenever it is lost. Clones are the same.
#[derive(Clone)]
pub struct NatsConnection {
    shared: Arc<Shared>,
}

struct Shared {
    config: NatsConfig,
    client: OnceLock<Client>,
    /// The last attempt to connect for the first time.
    attempt: Mutex<Option<watch::Receiver<Attempt>>>,
    /// The same client, for what is sent without waiting: nobody waits for this one, so nobody's turn is lost.
    sink: Mutex<Option<Client>>,
    events: Arc<Events>,
    outbox: Arc<Outbox>,
}

/// How an attempt to connect for the first time ended, once it has.
type Attempt = Option<Result<(), dial::Failure>>;

/// What became of a message that was to be sent without waiting.
pub(crate) enum Tried {
    Done(Result<(), Error>),
    /// It would have to wait.
    Later(Outbound),
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.outbox.close();
    }
}

impl NatsConnection {
    /// A connection with these settings. Nothing is opened yet.
    #[must_use]
    pub fn new(config: NatsConfig) -> Self {
        let events = Arc::new(Events::new());
        let (client, attempt, sink) = Default::default();
        Self { shared: Arc::new(Shared { config, client, attempt, sink, events, outbox: Arc::default() }) }
    }

    pub(crate) fn config(&self) -> &NatsConfig {
        &self.shared.config
    }

    /// The servers it goes to, for messages: without the credentials that a URL may have had in it.
    #[must_use]
    pub fn servers(&self) -> String {
        self.shared.config.servers.join(", ")
    }

    /// Whether calls can be carried now.
    #[must_use]
    pub fn health(&self) -> Health {
        let servers = self.servers();
        match self.shared.client.get().map(Client::connection_state) {
            // Made when it is first needed.
            None => Health::Ready,
            Some(State::Connected) => self.shared.events.health(&servers),
            Some(_) => Health::Unavailable(self.shared.events.why_lost(&servers).1),
        }
    }

    /// The connected client, for whatever else is done over NATS. It connects if nobody has needed it yet.
    ///
    /// # Errors
    /// `Unavailable`, `Unauthenticated`, `ResourceExhausted` or `InvalidArgument`, all `NotSent`.
    ///
    /// # Cancel safety
    /// An attempt that has begun goes on for other callers.
    pub async fn client(&self) -> Result<&Client, Error> {
        let client = match self.shared.client.get() {
            Some(client) => client,
            // What happens once is not to make every call's future as large as it is.
            None => Box::pin(self.first()).await?,
        };
        if client.connection_state() != State::Connected {
            Box::pin(self.wait_while_it_moves(client)).await;
            self.check_connected(client)?;
        }
        Ok(client)
    }

    /// Waits for the next connection if the server that had the last one said that it would shut down, and there are
    /// others: it is made in a moment, and whoever fails meanwhile would fail without need (threat E24).
    async fn wait_while_it_moves(&self, client: &Client) {
        let mut connects = self.connects();
        // Looked at after that: it may have been made before anybody listened.
        if self.is_moving(client) {
            let _ = tokio::time::timeout(self.config().connect_timeout, connects.changed()).await;
        }
    }

    fn is_moving(&self, client: &Client) -> bool {
        let has_others = || self.config().servers.len() > 1 || !client.server_info().connect_urls.is_empty();
        client.connection_state() != State::Connected && self.shared.events.is_leaving() && has_others()
    }

    fn check_connected(&self, client: &Client) -> Result<(), Error> {
        if client.connection_state() == State::Connected {
            return Ok(());
        }
        let (kind, what) = self.shared.events.why_lost(&self.servers());
        Err(Error::new(kind, Delivery::NotSent, what))
    }

    /// The client once it is connected for the first time. Whoever comes meanwhile waits for the same attempt, which goes
    /// on without them: callers with less time than it takes would else never have a connection.
    async fn first(&self) -> Result<&Client, Error> {
        let mut attempt = self.attempt();
        if let Ok(Some(Err(failure))) = attempt.wait_for(Option::is_some).await.as_deref() {
            return Err(failure.clone().into());
        }
        // It is there, unless the attempt ended without a word: with the runtime that it ran on.
        self.shared.client.get().ok_or_else(|| {
            let what = "the runtime that was connecting to NATS has ended";
            Error::new(ErrorKind::Unavailable, Delivery::NotSent, what)
        })
    }

    /// The attempt that goes on or has succeeded, or a new one.
    fn attempt(&self) -> watch::Receiver<Attempt> {
        let mut current = self.shared.attempt.lock();
        let is_of_use = |attempt: &&watch::Receiver<Attempt>| match &*attempt.borrow() {
            Some(ended) => ended.is_ok(),
            None => attempt.has_changed().is_ok(),
        };
        if let Some(attempt) = current.as_ref().filter(is_of_use) {
            return attempt.clone();
        }
        let (ended, attempt) = watch::channel(None);
        let connection = self.clone();
        tokio::spawn(async move {
            let connected = dial::connect(connection.config(), &connection.shared.events).await;
            ended.send_replace(Some(connected.map(|client| connection.start(client))));
        });
        current.insert(attempt).clone()
    }

    /// Starts the task that hands over what leaves together. It ends with the connection.
    fn start(&self, client: Client) {
        *self.shared.sink.lock() = Some(client.clone());
        let mut sender = client.clone();
        let sending = self.shared.outbox.clone().run(async move |message| {
            // Its size was looked at before; what else can fail ends the calls by itself.
            if let Err(error) = sender.feed(message).await {
                tracing::debug!(%error, "a message was not sent");
            }
        });
        tokio::spawn(sending);
        // There is none yet: attempts are made one after the other, and none after one that succeeded.
        let _ = self.shared.client.set(client);
    }

    /// Tells when the connection is lost, from now on: the value is how often it was.
    #[must_use]
    pub fn losses(&self) -> watch::Receiver<u64> {
        self.shared.events.losses()
    }

    /// Tells when the connection is made, from now on; subscriptions are made again before it.
    pub(crate) fn connects(&self) -> watch::Receiver<u64> {
        self.shared.events.connects()
    }

    /// How often it was made.
    pub(crate) fn dials(&self) -> u64 {
        *self.shared.events.connects().borrow()
    }

    /// Subjects that the server does not let this side use, from now on.
    #[must_use]
    pub fn denied(&self) -> broadcast::Receiver<Arc<str>> {
        self.shared.events.denied()
    }

    /// The largest payload with its headers that the server takes now.
    pub(crate) fn max_payload(&self) -> usize {
        self.shared.client.get().map_or(0, Client::max_payload)
    }

    /// Hands a message to the connection; waits while too many wait to be written.
    ///
    /// # Errors
    /// `Unavailable` if the connection is lost: then the message was not sent. `MessageTooLarge` over the server's limit.
    ///
    /// # Cancel safety
    /// The message was not sent if the future is dropped.
    pub(crate) async fn publish(&self, message: Outbound) -> Result<(), Error> {
        let client = self.client().await?;
        // A task that has much to send gives way now and then, as it would if it had to wait.
        tokio::task::coop::consume_budget().await;
        match self.try_send(client, message) {
            Tried::Done(sent) => sent,
            Tried::Later(message) => self.publish_later(client, message).await,
        }
    }

    /// The same for a task that is one of many: what they send leaves together, once all of them had their turn.
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    ///
    /// # Cancel safety
    /// As [`publish`](Self::publish).
    pub(crate) async fn publish_with_others(&self, message: Outbound) -> Result<(), Error> {
        let client = self.client().await?;
        self.publish_later(client, message).await
    }

    /// The same if that needs no waiting.
    pub(crate) fn try_publish(&self, message: Outbound) -> Tried {
        let Some(client) = self.shared.client.get() else { return Tried::Later(message) };
        match self.check_connected(client) {
            Ok(()) => self.try_send(client, message),
            Err(_) if self.is_moving(client) => Tried::Later(message),
            Err(error) => Tried::Done(Err(error)),
        }
    }

    fn try_send(&self, client: &Client, message: Outbound) -> Tried {
        let mut sink = self.shared.sink.lock();
        let Some(sink) = sink.as_mut().filter(|_| self.shared.outbox.is_idle()) else { return Tried::Later(message) };
        let mut sink = Pin::new(sink);
        // With nothing to wake it keeps one place of many in the queue of those who wait, until it is asked again.
        // Neither is a budget that is used up a reason to wait: whoever reads messages gives way by itself.
        let ready = tokio::task::unconstrained(std::future::poll_fn(|cx| sink.as_mut().poll_ready(cx)));
        let sent = match pin!(ready).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Pending => return Tried::Later(message),
            Poll::Ready(ready) => ready.and_then(|()| sink.start_send(message)),
        };
        Tried::Done(sent.map_err(|error| unsent(client, error)))
    }

    async fn publish_later(&self, client: &Client, message: Outbound) -> Result<(), Error> {
        let limit = client.max_payload();
        let headers = message.headers.as_ref().filter(|headers| !headers.is_empty()).map_or(0, head::wire_len);
        if headers + message.payload.len() > limit {
            return Err(over_payload(limit));
        }
        let mut pushing = pin!(self.shared.outbox.push(message));
        // Nearly always there is room at once; only then is it worth listening for the loss of the connection.
        if std::future::poll_fn(|cx| Poll::Ready(pushing.as_mut().poll(cx))).await.is_pending() {
            let mut losses = self.losses();
            tokio::select! {
                () = pushing => {}
                _ = losses.changed() => {
                    let what = "the connection to NATS was lost before the message was sent";
                    return Err(Error::new(ErrorKind::Unavailable, Delivery::NotSent, what));
                }
            }
        }
        Ok(())
    }

    /// Sends a message to itself on a subject of its own, and waits until it comes: what NATS sent before has come too.
    ///
    /// # Errors
    /// `Unavailable` if the connection is lost or that takes longer than `at_most`.
    pub(crate) async fn round_trip(&self, subject: String, at_most: Duration) -> Result<(), Error> {
        let unavailable = |what: String| Error::new(ErrorKind::Unavailable, Delivery::NotSent, what);
        let mut losses = self.losses();
        let there_and_back = async {
            let subject = Subject::from(subject);
            let ear = self.client().await?.subscribe(subject.clone()).await;
            let mut ear = ear.map_err(|error| unavailable(format!("cannot listen at NATS: {error}")))?;
            self.publish(Outbound { subject, reply: None, headers: None, payload: Bytes::new() }).await?;
            ear.next().await.map(drop).ok_or_else(|| unavailable("the connection to NATS is closed".to_owned()))
        };
        tokio::select! {
            done = tokio::time::timeout(at_most, there_and_back) => {
                done.unwrap_or_else(|_| Err(unavailable(format!("NATS did not answer within {at_most:?}"))))
            }
            _ = losses.changed() => Err(unavailable("the connection to NATS is lost".to_owned())),
        }
    }

    /// Waits until everything that was published is written, at most this long.
    pub(crate) async fn flush(&self, at_most: Duration) {
        if let Some(client) = self.shared.client.get() {
            let written = async {
                self.shared.outbox.wait_until_idle().await;
                client.flush().await
            };
            // Of a lost connection nothing more can be had.
            let _ = tokio::time::timeout(at_most, written).await;
        }
    }
}

fn unsent(client: &Client, error: PublishError) -> Error {
    match error.kind() {
        PublishErrorKind::MaxPayloadExceeded => over_payload(client.max_payload()),
        _ => {
            let what = format!("cannot publish to NATS: {error}");
            Error::new(ErrorKind::Unavailable, Delivery::NotSent, what).with_source(error)
        }
    }
}

/// The error of a message that does not fit one payload of the server.
pub(crate) fn over_payload(limit: usize) -> Error {
    let what = format!(
        "a message with its headers is over the NATS server's max_payload of {limit} bytes; allow chunking \
         (DYN_NATS_CHUNKING), raise max_payload, or use TCP"
    );
    Error::new(ErrorKind::MessageTooLarge, Delivery::NotSent, what)
}

/// The error of a message that is over this side's limit.
pub(crate) fn over_limit(bytes: usize, limit: usize) -> Error {
    let what = format!(
        "a message of {bytes} bytes is over the limit of {limit} bytes (DYN_NATS_MAX_MESSAGE_SIZE); use TCP for larger ones"
    );
    Error::new(ErrorKind::MessageTooLarge, Delivery::NotSent, what)
}

impl fmt::Debug for NatsConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsConnection").field("config", &self.shared.config).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_credentials_of_a_url_are_not_shown() {
        let urls = ["nats://ann:p%40ss@one:4222", "tls://ann:p%40ss@two", "ann:p%40ss@three"];
        let connection = NatsConnection::new(NatsConfig::default().servers(urls).unwrap());
        assert_eq!(connection.servers(), "nats://one:4222, tls://two, nats://three");
    }
}
