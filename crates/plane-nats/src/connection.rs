//! The connection to NATS: made when it is first needed, shared by a client and servers ([`NatsConnection`]).

use std::fmt;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use async_nats::client::{PublishError, PublishErrorKind};
use async_nats::connection::State;
use async_nats::rustls;
use async_nats::{Client, ConnectError, ConnectErrorKind, ConnectOptions, ServerAddr, Subject};
use bytes::Bytes;
use futures_util::{Sink, SinkExt, StreamExt};
use parking_lot::Mutex;
use plane_core::{Delivery, Error, ErrorKind, Health};
use tokio::sync::{OnceCell, broadcast, watch};

use crate::config::{NatsConfig, Tls};
use crate::credentials::Credentials;
use crate::events::Events;
use crate::head;
pub(crate) use crate::outbox::Outbound;
use crate::outbox::Outbox;
use crate::reconnect::Pauses;

/// Messages of one subscription that wait to be taken in. It costs nothing until they come.
const SUBSCRIPTION_CAPACITY: usize = 1 << 20;

/// A connection to NATS that is made when it is first needed, and made again whenever it is lost. Clones are the same.
#[derive(Clone)]
pub struct NatsConnection {
    shared: Arc<Shared>,
}

struct Shared {
    config: NatsConfig,
    client: OnceCell<Client>,
    /// The same client, for what is sent without waiting: nobody waits for this one, so nobody's turn is lost.
    sink: Mutex<Option<Client>>,
    events: Arc<Events>,
    outbox: Arc<Outbox>,
}

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
        let (client, sink) = Default::default();
        Self { shared: Arc::new(Shared { config, client, sink, events, outbox: Arc::default() }) }
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
    /// `Unavailable`, `Unauthenticated` or `InvalidArgument`, all `NotSent`.
    pub async fn client(&self) -> Result<&Client, Error> {
        let client = match self.shared.client.get() {
            Some(client) => client,
            // What happens once is not to make every call's future as large as it is.
            None => Box::pin(self.shared.client.get_or_try_init(|| self.connect_and_send())).await?,
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

    /// Connects, and starts the task that hands over what leaves together. It ends with the connection.
    async fn connect_and_send(&self) -> Result<Client, Error> {
        let client = self.connect().await?;
        *self.shared.sink.lock() = Some(client.clone());
        let mut sender = client.clone();
        let sending = self.shared.outbox.clone().run(async move |message| {
            // Its size was looked at before; what else can fail ends the calls by itself.
            if let Err(error) = sender.feed(message).await {
                tracing::debug!(%error, "a message was not sent");
            }
        });
        tokio::spawn(sending);
        Ok(client)
    }

    async fn connect(&self) -> Result<Client, Error> {
        let config = &self.shared.config;
        let refuse = |kind, what| Error::new(kind, Delivery::NotSent, what);
        let servers = self.servers();
        let addresses: Result<Vec<ServerAddr>, _> = config.servers.iter().map(|url| url.parse()).collect();
        let addresses = addresses.map_err(|error| {
            refuse(ErrorKind::InvalidArgument, format!("{servers}: {error}; NATS_SERVER takes nats://host:port"))
        })?;
        check_files(&config.tls)?;
        let options = authenticate(self.options(), config.effective_credentials()).await?;
        let connecting = options.connect(addresses);
        let connected = tokio::time::timeout(config.connect_timeout, connecting).await.map_err(|_| {
            let limit = config.connect_timeout;
            let what = format!(
                "no NATS server answered at {servers} within {limit:?} (NATS_SERVER, DYN_NATS_CONNECT_TIMEOUT)"
            );
            refuse(ErrorKind::Unavailable, what)
        })?;
        connected.map_err(|error| {
            let (kind, what) = explain(&error, &servers);
            refuse(kind, what).with_source(error)
        })
    }

    fn options(&self) -> ConnectOptions {
        let config = &self.shared.config;
        let (events, pauses) = (self.shared.events.clone(), Pauses::default());
        let mut options = ConnectOptions::new()
            .name("plane")
            // Whatever is asked of NATS itself is answered there as well: a user may be allowed nothing else.
            .custom_inbox_prefix(&config.inbox_prefix)
            // Credit limits what comes to a client, not a number of messages; what comes beyond this would be lost.
            .subscription_capacity(SUBSCRIPTION_CAPACITY)
            .connection_timeout(config.connect_timeout)
            // Three of them unanswered make a lost connection: a frozen server is found about as fast as a dead peer.
            .ping_interval(config.keepalive_interval / 2)
            .max_reconnects(None)
            .reconnect_delay_callback(move |attempt| pauses.before(attempt, Instant::now()))
            .event_callback(move |event| {
                events.note(&event);
                std::future::ready(())
            });
        options = options.require_tls(config.tls.required);
        if let Some(roots) = &config.tls.roots {
            options = options.add_root_certificates(roots.clone());
        }
        if let Some((certificate, key)) = &config.tls.identity {
            options = options.add_client_certificate(certificate.clone(), key.clone());
        }
        options
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

/// The client library does not say which file it cannot read.
fn check_files(tls: &Tls) -> Result<(), Error> {
    let identity = tls.identity.iter().flat_map(|(certificate, key)| [certificate, key]);
    for path in tls.roots.iter().chain(identity) {
        std::fs::File::open(path).map_err(|error| {
            let what = format!("cannot read {} (NATS_TLS_CA, NATS_TLS_CERT, NATS_TLS_KEY): {error}", path.display());
            Error::new(ErrorKind::InvalidArgument, Delivery::NotSent, what).with_source(error)
        })?;
    }
    Ok(())
}

/// What a failed connect means, and what may help.
fn explain(error: &ConnectError, servers: &str) -> (ErrorKind, String) {
    let cannot = format!("cannot connect to NATS at {servers}");
    match (error.kind(), tls_error(error)) {
        (kind @ (ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation), _) => {
            let what = format!(
                "the NATS server at {servers} refuses this user: {kind}; correct NATS_AUTH_* or the user in NATS_SERVER"
            );
            (ErrorKind::Unauthenticated, what)
        }
        (ConnectErrorKind::Tls, _) => {
            (ErrorKind::InvalidArgument, format!("{cannot}: {error}; correct the files of NATS_TLS_*"))
        }
        (_, Some(why @ rustls::Error::InvalidCertificate(_))) => {
            let way_out = "the certificate must be for this name, and signed by a root of NATS_TLS_CA or of the system";
            (ErrorKind::Unauthenticated, format!("{cannot}: {why}; {way_out}"))
        }
        (_, Some(why @ rustls::Error::AlertReceived(_))) => {
            let way_out = "NATS_TLS_CERT must be a certificate that the server takes";
            (ErrorKind::Unauthenticated, format!("{cannot}: {why}; {way_out}"))
        }
        (_, Some(why)) => {
            let way_out = "does the server speak TLS? See NATS_TLS_REQUIRED";
            (ErrorKind::Unavailable, format!("{cannot}: {why}; {way_out}"))
        }
        (_, None) if lacks_descriptors(error) => {
            let way_out = "no descriptor was left on this side; raise its limit (ulimit -n)";
            (ErrorKind::ResourceExhausted, format!("{cannot}: {error}; {way_out}"))
        }
        (_, None) => (ErrorKind::Unavailable, format!("{cannot}: {error}; see NATS_SERVER")),
    }
}

/// Whether the system or the process has as many open files as it may, ENFILE and EMFILE on every Unix.
fn lacks_descriptors(error: &(dyn std::error::Error + 'static)) -> bool {
    let number = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::raw_os_error);
    matches!(number, Some(23 | 24)) || error.source().is_some_and(lacks_descriptors)
}

/// What TLS found wrong, however deep it is.
fn tls_error<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a rustls::Error> {
    let inner = match error.downcast_ref::<std::io::Error>() {
        Some(io) => io.get_ref().map(|inner| inner as &(dyn std::error::Error + 'static)),
        None => error.source(),
    };
    error.downcast_ref().or_else(|| tls_error(inner?))
}

async fn authenticate(options: ConnectOptions, credentials: &Credentials) -> Result<ConnectOptions, Error> {
    Ok(match credentials {
        Credentials::None => options,
        Credentials::UserPassword { user, password } => options.user_and_password(user.clone(), password.clone()),
        Credentials::Token(token) => options.token(token.clone()),
        Credentials::Nkey(seed) => options.nkey(seed.clone()),
        Credentials::File(path) => options.credentials_file(path).await.map_err(|error| {
            let what = format!("cannot read the NATS credentials file {}: {error}", path.display());
            Error::new(ErrorKind::InvalidArgument, Delivery::NotSent, what).with_source(error)
        })?,
    })
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
