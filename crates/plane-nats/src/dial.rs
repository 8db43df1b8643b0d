//! Connects to NATS for the first time, and says what was wrong and what may help if that fails ([`connect`]).

use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Instant;

use async_nats::{Client, ConnectError, ConnectErrorKind, ConnectOptions, ServerAddr, rustls};
use plane_core::{Delivery, Error, ErrorKind};

use crate::config::{NatsConfig, Tls};
use crate::credentials::Credentials;
use crate::events::Events;
use crate::reconnect::Pauses;

/// Messages of one subscription that wait to be taken in. It costs nothing until they come.
const SUBSCRIPTION_CAPACITY: usize = 1 << 20;

/// Why there is no connection, for each caller that waited for one.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    kind: ErrorKind,
    what: String,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

impl Failure {
    fn new(kind: ErrorKind, what: impl Into<String>) -> Self {
        Self { kind, what: what.into(), source: None }
    }

    fn because(mut self, source: impl StdError + Send + Sync + 'static) -> Self {
        self.source = Some(Arc::new(source));
        self
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        let error = Self::new(failure.kind, Delivery::NotSent, failure.what);
        match failure.source {
            Some(source) => error.with_source(source),
            None => error,
        }
    }
}

/// Connects with these settings; whatever becomes of the connection is told to `events`.
pub(crate) async fn connect(config: &NatsConfig, events: &Arc<Events>) -> Result<Client, Failure> {
    let servers = config.servers.join(", ");
    let addresses: Result<Vec<ServerAddr>, _> = config.servers.iter().map(|url| url.parse()).collect();
    let addresses = addresses.map_err(|error| {
        Failure::new(ErrorKind::InvalidArgument, format!("{servers}: {error}; NATS_SERVER takes nats://host:port"))
    })?;
    check_files(&config.tls)?;
    let options = authenticate(options(config, events), config.effective_credentials()).await?;
    let connecting = options.connect(addresses);
    let connected = tokio::time::timeout(config.connect_timeout, connecting).await.map_err(|_| {
        let limit = config.connect_timeout;
        let what =
            format!("no NATS server answered at {servers} within {limit:?} (NATS_SERVER, DYN_NATS_CONNECT_TIMEOUT)");
        Failure::new(ErrorKind::Unavailable, what)
    })?;
    connected.map_err(|error| {
        let (kind, what) = explain(&error, &servers);
        Failure::new(kind, what).because(error)
    })
}

fn options(config: &NatsConfig, events: &Arc<Events>) -> ConnectOptions {
    let (events, pauses) = (events.clone(), Pauses::default());
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

/// The client library does not say which file it cannot read.
fn check_files(tls: &Tls) -> Result<(), Failure> {
    let identity = tls.identity.iter().flat_map(|(certificate, key)| [certificate, key]);
    for path in tls.roots.iter().chain(identity) {
        std::fs::File::open(path).map_err(|error| {
            let what = format!("cannot read {} (NATS_TLS_CA, NATS_TLS_CERT, NATS_TLS_KEY): {error}", path.display());
            Failure::new(ErrorKind::InvalidArgument, what).because(error)
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
fn lacks_descriptors(error: &(dyn StdError + 'static)) -> bool {
    let number = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::raw_os_error);
    matches!(number, Some(23 | 24)) || error.source().is_some_and(lacks_descriptors)
}

/// What TLS found wrong, however deep it is.
fn tls_error<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a rustls::Error> {
    let inner = match error.downcast_ref::<std::io::Error>() {
        Some(io) => io.get_ref().map(|inner| inner as &(dyn StdError + 'static)),
        None => error.source(),
    };
    error.downcast_ref().or_else(|| tls_error(inner?))
}

async fn authenticate(options: ConnectOptions, credentials: &Credentials) -> Result<ConnectOptions, Failure> {
    Ok(match credentials {
        Credentials::None => options,
        Credentials::UserPassword { user, password } => options.user_and_password(user.clone(), password.clone()),
        Credentials::Token(token) => options.token(token.clone()),
        Credentials::Nkey(seed) => options.nkey(seed.clone()),
        Credentials::File(path) => options.credentials_file(path).await.map_err(|error| {
            let what = format!("cannot read the NATS credentials file {}: {error}", path.display());
            Failure::new(ErrorKind::InvalidArgument, what).because(error)
        })?,
    })
}
