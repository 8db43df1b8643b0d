//! Settings of calls over NATS.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::check::{Check, SWITCH, TIMEOUT, TIMEOUTS, both, path};
use super::names;
use super::problem::{ConfigProblem, Findings, without_user};
use super::raw::Raw;
use super::servers::{SERVERS, parse_servers};
use super::store::StoreSettings;
use super::values::{parse_duration, parse_size, parse_switch};

const MIB: usize = 1024 * 1024;

const PREFIX: &str = "one to eight tokens of A-Z a-z 0-9 _ - with dots between them";
const SECRET: &str = "up to 4096 bytes of text without control characters";
const LONGEST_SECRET: usize = 4096;

/// Settings of calls over NATS. What each does is in docs/configuration.md. Shown without secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct NatsSettings {
    /// The servers of the cluster (`NATS_SERVER`). `nats://localhost:4222` if there is none, and then only a manager
    /// whose own mode is NATS connects: others would look for a server that nobody told them of.
    pub servers: Vec<String>,
    /// Who this process is to the servers (`NATS_AUTH_*`).
    pub credentials: NatsCredentials,
    /// TLS between this process and the servers (`NATS_TLS_*`).
    pub tls: NatsTls,
    /// What every subject begins with (`DYN_NATS_PREFIX`); `plane` by default.
    pub prefix: String,
    /// What the subjects of answers begin with (`DYN_NATS_INBOX_PREFIX`); `_INBOX` by default.
    pub inbox_prefix: String,
    /// The largest message that is sent or received, in bytes (`DYN_NATS_MAX_MESSAGE_SIZE`); 16 MiB by default, 1 byte to
    /// 64 MiB.
    pub max_message_size: usize,
    /// Whether a message over the server's `max_payload` travels in parts (`DYN_NATS_CHUNKING`); true by default.
    pub chunking: bool,
    /// How long a server may take to accept a call, and how long the first call to an endpoint waits for an instance
    /// (`DYN_NATS_REQUEST_TIMEOUT`); 10 s by default, 1 ms to an hour.
    pub request_timeout: Duration,
    /// How long connecting may take (`DYN_NATS_CONNECT_TIMEOUT`); 3 s by default, 1 ms to an hour.
    pub connect_timeout: Duration,
    /// Where requests are stored until they were answered (`DYN_NATS_DELIVERY=jetstream`). By default they are not, and go
    /// straight to a server.
    pub store: Option<StoreSettings>,
}

impl fmt::Debug for NatsSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { servers, credentials, tls, prefix, inbox_prefix, store, .. } = self;
        f.debug_struct("NatsSettings")
            .field("servers", &servers.iter().map(|url| without_user(url)).collect::<Vec<_>>())
            .field("credentials", credentials)
            .field("tls", tls)
            .field("prefix", prefix)
            .field("inbox_prefix", inbox_prefix)
            .field("max_message_size", &self.max_message_size)
            .field("chunking", &self.chunking)
            .field("request_timeout", &self.request_timeout)
            .field("connect_timeout", &self.connect_timeout)
            .field("store", store)
            .finish()
    }
}

/// Who this process is to the NATS servers. Shown without its secrets.
#[derive(Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum NatsCredentials {
    /// Nobody, or who the URL of the server says.
    #[default]
    None,
    /// A user and a password (`NATS_AUTH_USERNAME`, `NATS_AUTH_PASSWORD`).
    UserPassword {
        /// The user.
        user: String,
        /// The password.
        password: String,
    },
    /// A token (`NATS_AUTH_TOKEN`).
    Token(String),
    /// The seed of an NKey (`NATS_AUTH_NKEY`).
    Nkey(String),
    /// A file with a JWT and its seed (`NATS_AUTH_CREDENTIALS_FILE`).
    File(PathBuf),
}

impl fmt::Debug for NatsCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::UserPassword { user, .. } => write!(f, "UserPassword({user})"),
            Self::Token(_) => f.write_str("Token"),
            Self::Nkey(_) => f.write_str("Nkey"),
            Self::File(path) => write!(f, "File({})", path.display()),
        }
    }
}

/// TLS between this process and the NATS servers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NatsTls {
    /// Whether a server without TLS is refused (`NATS_TLS_REQUIRED`).
    pub required: bool,
    /// A PEM file with further roots to trust (`NATS_TLS_CA`).
    pub ca: Option<PathBuf>,
    /// PEM files with this process's certificate and its key (`NATS_TLS_CERT`, `NATS_TLS_KEY`).
    pub identity: Option<(PathBuf, PathBuf)>,
}

impl Default for NatsSettings {
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            credentials: NatsCredentials::None,
            tls: NatsTls::default(),
            prefix: "plane".to_owned(),
            inbox_prefix: "_INBOX".to_owned(),
            max_message_size: 16 * MIB,
            chunking: true,
            request_timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(3),
            store: None,
        }
    }
}

impl NatsSettings {
    pub(super) fn check(raw: &Raw, findings: &mut Findings) -> Self {
        let default = Self::default();
        let credentials = credentials(raw, findings);
        let tls = tls(raw, findings);
        let store = StoreSettings::check(raw, findings);
        let mut check = Check::new(findings);
        let prefix = |text: &str| is_prefix(text).then(|| text.to_owned());
        Self {
            servers: check.read(names::NATS_SERVER, &raw.nats_server, parse_servers, SERVERS).unwrap_or_default(),
            credentials,
            tls,
            prefix: check.read(names::NATS_PREFIX, &raw.nats_prefix, prefix, PREFIX).unwrap_or(default.prefix),
            inbox_prefix: check
                .read(names::NATS_INBOX_PREFIX, &raw.nats_inbox_prefix, prefix, PREFIX)
                .unwrap_or(default.inbox_prefix),
            max_message_size: check
                .ranged(
                    names::NATS_MAX_MESSAGE_SIZE,
                    &raw.nats_max_message_size,
                    parse_size,
                    1..=64 * MIB,
                    "1 byte to 64MiB, as bytes (16777216) or with a unit (16MiB, 16MB)",
                )
                .unwrap_or(default.max_message_size),
            chunking: check
                .read(names::NATS_CHUNKING, &raw.nats_chunking, parse_switch, SWITCH)
                .unwrap_or(default.chunking),
            request_timeout: check
                .ranged(names::NATS_REQUEST_TIMEOUT, &raw.nats_request_timeout, parse_duration, TIMEOUTS, TIMEOUT)
                .unwrap_or(default.request_timeout),
            connect_timeout: check
                .ranged(names::NATS_CONNECT_TIMEOUT, &raw.nats_connect_timeout, parse_duration, TIMEOUTS, TIMEOUT)
                .unwrap_or(default.connect_timeout),
            store,
        }
    }
}

fn is_prefix(text: &str) -> bool {
    let is_token = |token: &str| {
        (1..=64).contains(&token.len()) && token.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b))
    };
    text.split('.').count() <= 8 && text.split('.').all(is_token)
}

/// The one kind of credentials that is set.
fn credentials(raw: &Raw, findings: &mut Findings) -> NatsCredentials {
    let mut secret = |variable, text: &Option<String>| Check::new(findings).read(variable, text, parse_secret, SECRET);
    let (user, password) = (
        secret(names::NATS_AUTH_USERNAME, &raw.nats_auth_username),
        secret(names::NATS_AUTH_PASSWORD, &raw.nats_auth_password),
    );
    let token = secret(names::NATS_AUTH_TOKEN, &raw.nats_auth_token);
    let nkey = secret(names::NATS_AUTH_NKEY, &raw.nats_auth_nkey);
    let user = both((names::NATS_AUTH_USERNAME, user), (names::NATS_AUTH_PASSWORD, password), findings);
    let file = path(names::NATS_AUTH_CREDENTIALS_FILE, &raw.nats_auth_credentials_file, findings);
    let mut set = [
        (names::NATS_AUTH_USERNAME, user.map(|(user, password)| NatsCredentials::UserPassword { user, password })),
        (names::NATS_AUTH_TOKEN, token.map(NatsCredentials::Token)),
        (names::NATS_AUTH_NKEY, nkey.map(NatsCredentials::Nkey)),
        (names::NATS_AUTH_CREDENTIALS_FILE, file.map(NatsCredentials::File)),
    ]
    .into_iter()
    .filter_map(|(variable, credentials)| Some((variable, credentials?)));
    let Some((first, credentials)) = set.next() else { return NatsCredentials::None };
    for (variable, _) in set {
        findings.refuse(ConfigProblem::new(
            variable,
            "...",
            format!("one kind of credentials; {first} is set as well"),
        ));
    }
    credentials
}

fn parse_secret(text: &str) -> Option<String> {
    let holds = text.len() <= LONGEST_SECRET && !text.contains(char::is_control);
    holds.then(|| text.to_owned())
}

fn tls(raw: &Raw, findings: &mut Findings) -> NatsTls {
    let certificate = path(names::NATS_TLS_CERT, &raw.nats_tls_cert, findings);
    let key = path(names::NATS_TLS_KEY, &raw.nats_tls_key, findings);
    let identity = both((names::NATS_TLS_CERT, certificate), (names::NATS_TLS_KEY, key), findings);
    let ca = path(names::NATS_TLS_CA, &raw.nats_tls_ca, findings);
    let required = Check::new(findings)
        .read(names::NATS_TLS_REQUIRED, &raw.nats_tls_required, parse_switch, SWITCH)
        .unwrap_or(false);
    NatsTls { required, ca, identity }
}
