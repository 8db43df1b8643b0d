//! Settings of a connection to NATS and of the calls over it. Every setter refuses a value that cannot work.

use std::path::PathBuf;
use std::time::Duration;

use plane_core::{AdmissionLimits, Authorizer, ConfigError, HeaderLimits};

use crate::credentials::{Credentials, split_url, without_secrets};
use crate::delivery::NatsDelivery;
use crate::subject::is_subject;

/// TLS between this side and the NATS server.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tls {
    /// Whether a server without TLS is refused.
    pub required: bool,
    /// A PEM file with further roots to trust.
    pub roots: Option<PathBuf>,
    /// PEM files with this side's certificate and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
}

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// A connection to NATS, and the calls that it makes and answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NatsConfig {
    pub(crate) servers: Vec<String>,
    credentials: Credentials,
    /// What the servers' URLs say; those are kept without it.
    url_credentials: Credentials,
    pub(crate) tls: Tls,
    pub(crate) prefix: String,
    pub(crate) delivery: NatsDelivery,
    pub(crate) inbox_prefix: String,
    pub(crate) max_message: usize,
    pub(crate) chunking: bool,
    pub(crate) credit: u32,
    pub(crate) max_calls: usize,
    pub(crate) headers: HeaderLimits,
    pub(crate) admission: AdmissionLimits,
    pub(crate) authorizer: Option<Authorizer>,
    pub(crate) connect_timeout: Duration,
    pub(crate) request_timeout: Duration,
    pub(crate) accept_notice: Duration,
    pub(crate) keepalive_interval: Duration,
    pub(crate) keepalive_timeout: Duration,
    pub(crate) server_id: Option<u64>,
}

impl Default for NatsConfig {
    fn default() -> Self {
        Self {
            servers: vec!["nats://localhost:4222".to_owned()],
            credentials: Credentials::None,
            url_credentials: Credentials::None,
            tls: Tls::default(),
            prefix: "plane".to_owned(),
            delivery: NatsDelivery::Core,
            inbox_prefix: "_INBOX".to_owned(),
            max_message: 16 * MIB,
            chunking: true,
            credit: 1024 * 1024,
            max_calls: 65_536,
            headers: HeaderLimits::default(),
            admission: AdmissionLimits::default(),
            authorizer: None,
            connect_timeout: Duration::from_secs(3),
            request_timeout: Duration::from_secs(10),
            accept_notice: Duration::from_millis(100),
            keepalive_interval: Duration::from_secs(10),
            keepalive_timeout: Duration::from_secs(5),
            server_id: None,
        }
    }
}

impl NatsConfig {
    /// The servers of the cluster, tried until one answers; `nats://localhost:4222` by default. A URL may name a user
    /// (`nats://user:password@host:port`) or a token (`nats://token@host:port`), for all servers.
    ///
    /// # Errors
    /// [`ConfigError`] if there is none, one is not `nats://host:port` or `tls://host:port`, or two name different users.
    pub fn servers(mut self, urls: impl IntoIterator<Item = impl Into<String>>) -> Result<Self, ConfigError> {
        let urls: Vec<String> = urls.into_iter().map(Into::into).collect();
        let shown: Vec<String> = urls.iter().map(|url| without_secrets(url)).collect();
        let split: Option<Vec<_>> = urls.iter().map(|url| split_url(url)).collect();
        let accepted = "one or more of nats://host:port or tls://host:port";
        ConfigError::check(split.as_ref().is_some_and(|split| !split.is_empty()), "servers", &shown, accepted)?;
        let (places, mut users): (Vec<_>, Vec<_>) = split.unwrap_or_default().into_iter().unzip();
        users.retain(|user| *user != Credentials::None);
        users.dedup();
        ConfigError::check(users.len() <= 1, "servers", &shown, "the same user in the URLs of all servers")?;
        self.servers = places;
        self.url_credentials = users.pop().unwrap_or_default();
        Ok(self)
    }

    /// Who may call what at a server; anybody anything by default. NATS knows who its users are and does not tell, so
    /// every peer is [`Identity::Unknown`](plane_core::Identity::Unknown) here and a rule can go by the endpoint alone:
    /// who may publish to which subject is for the permissions of the NATS server.
    #[must_use]
    pub fn authorizer(mut self, authorizer: Authorizer) -> Self {
        self.authorizer = Some(authorizer);
        self
    }

    /// Who this side is to the server; by default who the servers' URLs say, if they do.
    #[must_use]
    pub fn credentials(mut self, credentials: Credentials) -> Self {
        self.credentials = credentials;
        self
    }

    /// Who this side says it is.
    pub(crate) fn effective_credentials(&self) -> &Credentials {
        match &self.credentials {
            Credentials::None => &self.url_credentials,
            credentials => credentials,
        }
    }

    /// TLS between this side and the server; used if the server asks for it by default.
    #[must_use]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = tls;
        self
    }

    /// What every subject begins with; `plane` by default. Two deployments with different prefixes on one server never
    /// meet.
    ///
    /// # Errors
    /// [`ConfigError`] unless it is one to eight tokens of `A-Z a-z 0-9 _ -` with dots between them.
    pub fn prefix(mut self, prefix: &str) -> Result<Self, ConfigError> {
        let accepted = "one to eight tokens of A-Z a-z 0-9 _ - with dots between them";
        self.prefix = ConfigError::check(is_subject(prefix), "prefix", prefix.to_owned(), accepted)?;
        Ok(self)
    }

    /// How requests reach their servers; straight away and unstored by default.
    #[must_use]
    pub fn delivery(mut self, delivery: NatsDelivery) -> Self {
        self.delivery = delivery;
        self
    }

    /// What the subject of this side's inbox begins with; `_INBOX` by default. A token of its own for each connection
    /// follows it.
    ///
    /// # Errors
    /// [`ConfigError`] unless it is one to eight tokens of `A-Z a-z 0-9 _ -` with dots between them.
    pub fn inbox_prefix(mut self, prefix: &str) -> Result<Self, ConfigError> {
        let accepted = "one to eight tokens of A-Z a-z 0-9 _ - with dots between them";
        self.inbox_prefix = ConfigError::check(is_subject(prefix), "inbox_prefix", prefix.to_owned(), accepted)?;
        Ok(self)
    }

    /// The largest message that is sent or received, in bytes; 16 MiB by default, 1 byte to 64 MiB.
    ///
    /// Too low refuses honest requests; too high lets each call take that much memory. TCP carries larger ones.
    ///
    /// # Errors
    /// [`ConfigError`] outside that range.
    pub fn max_message(mut self, bytes: usize) -> Result<Self, ConfigError> {
        self.max_message =
            ConfigError::check((1..=64 * MIB).contains(&bytes), "max_message", bytes, "1 byte to 64 MiB")?;
        Ok(self)
    }

    /// Whether messages larger than one payload of the NATS server travel in several; true by default. If not, they
    /// fail at once.
    #[must_use]
    pub fn chunking(mut self, chunking: bool) -> Self {
        self.chunking = chunking;
        self
    }

    /// What may be on its way to this side and unread, for each call, in bytes; 1 MiB by default, 1 KiB to 1 GiB.
    ///
    /// Too low makes a stream wait for the reader's round trip; too high lets each call take that much memory.
    ///
    /// # Errors
    /// [`ConfigError`] outside that range.
    pub fn credit(mut self, bytes: u32) -> Result<Self, ConfigError> {
        self.credit = ConfigError::check((1024..=1 << 30).contains(&bytes), "credit", bytes, "1 KiB to 1 GiB")?;
        Ok(self)
    }

    /// Calls that a client may have in flight; 65,536 by default, 1 to 1,000,000.
    ///
    /// # Errors
    /// [`ConfigError`] outside that range.
    pub fn max_calls(mut self, calls: usize) -> Result<Self, ConfigError> {
        self.max_calls = ConfigError::check((1..=1_000_000).contains(&calls), "max_calls", calls, "1 to 1,000,000")?;
        Ok(self)
    }

    /// How many headers a message may carry, and how many bytes of them.
    ///
    /// # Errors
    /// [`ConfigError`] for 64 KiB or more.
    pub fn headers(mut self, limits: HeaderLimits) -> Result<Self, ConfigError> {
        self.headers = ConfigError::check(limits.bytes < 64 * KIB, "headers", limits, "less than 64 KiB")?;
        Ok(self)
    }

    /// How many calls a server takes on at once.
    #[must_use]
    pub fn admission(mut self, limits: AdmissionLimits) -> Self {
        self.admission = limits;
        self
    }

    /// How long connecting may take; 3 s by default, more than zero.
    ///
    /// # Errors
    /// [`ConfigError`] for zero.
    pub fn connect_timeout(mut self, timeout: Duration) -> Result<Self, ConfigError> {
        self.connect_timeout = ConfigError::check(!timeout.is_zero(), "connect_timeout", timeout, "more than zero")?;
        Ok(self)
    }

    /// How long a server may take to accept a call; 10 s by default, more than zero.
    ///
    /// # Errors
    /// [`ConfigError`] for zero.
    pub fn request_timeout(mut self, timeout: Duration) -> Result<Self, ConfigError> {
        self.request_timeout = ConfigError::check(!timeout.is_zero(), "request_timeout", timeout, "more than zero")?;
        Ok(self)
    }

    /// How long a handler may take before its caller is told that it was started; 100 ms by default. It must be well
    /// below the callers' time to be accepted.
    ///
    /// # Errors
    /// [`ConfigError`] for zero or more than 10 s.
    pub fn accept_notice(mut self, after: Duration) -> Result<Self, ConfigError> {
        let holds = !after.is_zero() && after <= Duration::from_secs(10);
        self.accept_notice = ConfigError::check(holds, "accept_notice", after, "more than zero, up to 10 s")?;
        Ok(self)
    }

    /// How often a server says that a quiet call goes on, and how much later than that its caller gives it up; 10 s and
    /// 5 s by default. Both sides should be set alike.
    ///
    /// Too low costs messages and gives up calls on a busy machine; too high finds a dead server late.
    ///
    /// # Errors
    /// [`ConfigError`] if one is below 10 ms.
    pub fn keepalive(mut self, interval: Duration, timeout: Duration) -> Result<Self, ConfigError> {
        let least = Duration::from_millis(10);
        let holds = interval >= least && timeout >= least;
        (self.keepalive_interval, self.keepalive_timeout) =
            ConfigError::check(holds, "keepalive", (interval, timeout), "10 ms or more each")?;
        Ok(self)
    }

    /// The number in a server's own address; random by default. Set it for a server that must be found at the same
    /// address after a restart. Two servers that live at once must differ.
    #[must_use]
    pub fn server_id(mut self, id: u64) -> Self {
        self.server_id = Some(id);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_cannot_work_are_refused_by_name() {
        let config = NatsConfig::default;
        let refused = [
            config().servers(Vec::<String>::new()).unwrap_err().setting(),
            config().servers(["not a url"]).unwrap_err().setting(),
            config().prefix("a.*").unwrap_err().setting(),
            config().prefix("").unwrap_err().setting(),
            config().inbox_prefix("a b").unwrap_err().setting(),
            config().max_message(0).unwrap_err().setting(),
            config().credit(1).unwrap_err().setting(),
            config().keepalive(Duration::ZERO, Duration::from_secs(1)).unwrap_err().setting(),
        ];
        let expected = ["servers", "servers", "prefix", "prefix", "inbox_prefix", "max_message", "credit", "keepalive"];
        assert_eq!(refused, expected);
    }

    #[test]
    fn secrets_are_not_shown() {
        let credentials = Credentials::UserPassword { user: "ann".to_owned(), password: "hunter2".to_owned() };
        let shown = format!("{:?}", NatsConfig::default().credentials(credentials));
        assert!(shown.contains("ann") && !shown.contains("hunter2"), "{shown}");
        let config = NatsConfig::default().servers(["nats://ann:hunter2@a", "nats://b"]).unwrap();
        let shown = format!("{config:?}");
        assert!(shown.contains("ann") && !shown.contains("hunter2"), "{shown}");
        for bad in [&["nats://ann:hunter2@a:99999"][..], &["nats://ann:hunter2@a", "nats://bob:hunter2@b"]] {
            let refused = NatsConfig::default().servers(bad.iter().copied()).unwrap_err();
            assert!(!format!("{refused} {refused:?}").contains("hunter2"), "{refused}");
        }
    }
}
