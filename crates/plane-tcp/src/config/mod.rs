//! Settings of clients, servers and the connections of both. Every setter refuses a value that cannot work.

mod abuse;

use std::net::SocketAddr;
use std::path::PathBuf;
#[cfg(feature = "tls")]
use std::sync::Arc;
use std::time::Duration;

use plane_core::{AdmissionLimits, Authorizer, ConfigError, HeaderLimits, Health};
#[cfg(feature = "tls")]
use plane_core::{Delivery, Error, ErrorKind};

#[cfg(feature = "tls")]
use crate::tls::{Acceptor, Connector, TlsClientConfig, TlsServerConfig};

pub use self::abuse::{AbuseLimits, Rate};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// What both sides of a connection are set to (docs/protocol.md, "HELLO").
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionConfig {
    pub(crate) max_message: usize,
    pub(crate) shrink_message: usize,
    pub(crate) max_frame: usize,
    pub(crate) credit: u32,
    pub(crate) unwritten: usize,
    pub(crate) large_messages: usize,
    pub(crate) max_calls: u32,
    pub(crate) headers: HeaderLimits,
    pub(crate) keepalive_interval: Duration,
    pub(crate) keepalive_timeout: Duration,
    pub(crate) patience: Duration,
    pub(crate) abuse: AbuseLimits,
    pub(crate) agent: String,
}

impl Default for ConnectionConfig {
    fn default() -> Self {
        Self {
            max_message: 32 * MIB,
            shrink_message: 8 * MIB,
            max_frame: 256 * KIB,
            credit: 1024 * 1024,
            unwritten: 4 * MIB,
            large_messages: 64 * MIB,
            max_calls: 512,
            headers: HeaderLimits::default(),
            keepalive_interval: Duration::from_secs(10),
            keepalive_timeout: Duration::from_secs(5),
            patience: Duration::from_micros(50),
            abuse: AbuseLimits::default(),
            agent: concat!("plane/", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }
}

impl ConnectionConfig {
    /// The largest message that is sent or received, in bytes; 32 MiB by default, 1 byte to 1 GiB.
    ///
    /// Too low refuses honest requests; too high lets each call take that much memory. A shrink threshold above it is
    /// lowered to it.
    ///
    /// # Errors
    /// [`ConfigError`] outside that range.
    pub fn max_message(mut self, bytes: usize) -> Result<Self, ConfigError> {
        self.max_message =
            ConfigError::check((1..=1024 * MIB).contains(&bytes), "max_message", bytes, "1 byte to 1 GiB")?;
        self.shrink_message = self.shrink_message.min(bytes);
        Ok(self)
    }

    /// An emptied receive buffer above this many bytes shrinks to its initial size; 8 MiB by default, at most the
    /// largest message.
    ///
    /// # Errors
    /// [`ConfigError`] if it is above the largest message.
    pub fn shrink_message(mut self, bytes: usize) -> Result<Self, ConfigError> {
        let accepted = "0 bytes up to max_message";
        self.shrink_message = ConfigError::check(bytes <= self.max_message, "shrink_message", bytes, accepted)?;
        Ok(self)
    }

    /// The largest frame body that is received, in bytes; 256 KiB by default, 32 KiB to 16 MiB.
    ///
    /// Too low costs a head for every few bytes; too high lets one message hold up its neighbours.
    ///
    /// # Errors
    /// [`ConfigError`] outside that range.
    pub fn max_frame(mut self, bytes: usize) -> Result<Self, ConfigError> {
        self.max_frame =
            ConfigError::check((32 * KIB..=16 * MIB).contains(&bytes), "max_frame", bytes, "32 KiB to 16 MiB")?;
        Ok(self)
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

    /// What one connection may hold that is encoded and unwritten before senders wait, in bytes; 4 MiB by default,
    /// 64 KiB or more.
    ///
    /// # Errors
    /// [`ConfigError`] below 64 KiB.
    pub fn unwritten(mut self, bytes: usize) -> Result<Self, ConfigError> {
        self.unwritten = ConfigError::check(bytes >= 64 * KIB, "unwritten", bytes, "64 KiB or more")?;
        Ok(self)
    }

    /// What messages that are larger than the window of their call may hold on one connection beyond those windows, in
    /// bytes, until they are read; 64 MiB by default. One more of the largest size may come in any case, for a call
    /// that waits for it.
    ///
    /// Too low makes large messages of one connection wait for one another; too high lets one peer take that much memory.
    #[must_use]
    pub fn large_messages(mut self, bytes: usize) -> Self {
        self.large_messages = bytes;
        self
    }

    /// Calls that the other side may have in flight on one connection; 512 by default, 1 to 1,000,000.
    ///
    /// # Errors
    /// [`ConfigError`] outside that range.
    pub fn max_calls(mut self, calls: u32) -> Result<Self, ConfigError> {
        self.max_calls = ConfigError::check((1..=1_000_000).contains(&calls), "max_calls", calls, "1 to 1,000,000")?;
        Ok(self)
    }

    /// How many headers a message may carry; 64 headers and 16 KiB by default.
    ///
    /// # Errors
    /// [`ConfigError`] above 65,535 headers or 64 KiB less one byte.
    pub fn headers(mut self, limits: HeaderLimits) -> Result<Self, ConfigError> {
        let fits = limits.count <= 65_535 && limits.bytes <= 65_535;
        self.headers = ConfigError::check(fits, "headers", limits, "at most 65,535 headers and 65,535 bytes")?;
        Ok(self)
    }

    /// After this long without a byte from the other side it is asked for a sign of life, and how long it may take to
    /// answer; 10 s and 5 s by default, 10 ms or more each.
    ///
    /// A dead peer is found within the sum. Too low takes a busy peer for a dead one.
    ///
    /// # Errors
    /// [`ConfigError`] below 10 ms or above a day.
    pub fn keepalive(mut self, interval: Duration, timeout: Duration) -> Result<Self, ConfigError> {
        let range = Duration::from_millis(10)..=Duration::from_secs(86_400);
        self.keepalive_interval =
            ConfigError::check(range.contains(&interval), "keepalive_interval", interval, "10 ms to a day")?;
        self.keepalive_timeout =
            ConfigError::check(range.contains(&timeout), "keepalive_timeout", timeout, "10 ms to a day")?;
        Ok(self)
    }

    /// How long a connection looks for what comes next before its task sleeps, where that is likely to come sooner than
    /// a task would be woken: 50 µs by default, at most 1 ms, zero for never.
    ///
    /// It looks where what it waited for has just come within 300 µs, while no other connection of the client or server is
    /// busy and no handler of it at work, and as long as that mostly finds something. In a process with one core it looks for
    /// lone calls alone. A thread of the runtime does nothing else for that long, so too much holds other tasks up; with too
    /// little an answer waits for a task to be woken.
    ///
    /// # Errors
    /// [`ConfigError`] above 1 ms.
    pub fn patience(mut self, patience: Duration) -> Result<Self, ConfigError> {
        let most = Duration::from_millis(1);
        self.patience = ConfigError::check(patience <= most, "patience", patience, "nothing to 1 ms")?;
        Ok(self)
    }

    /// What the other side may do before it is taken for an enemy; see [`AbuseLimits`] for each.
    ///
    /// # Errors
    /// [`ConfigError`] if a time is not 1 ms to an hour, or a rate allows nothing at once.
    pub fn abuse(mut self, limits: AbuseLimits) -> Result<Self, ConfigError> {
        self.abuse = limits.check()?;
        Ok(self)
    }
}

/// What a client is set to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientConfig {
    pub(crate) connection: ConnectionConfig,
    pub(crate) pool_size: usize,
    pub(crate) channel_buffer: usize,
    pub(crate) connect_timeout: Duration,
    pub(crate) request_timeout: Duration,
    pub(crate) idle_timeout: Duration,
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<Arc<Connector>>,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            connection: ConnectionConfig::default(),
            pool_size: 50,
            channel_buffer: 100,
            connect_timeout: Duration::from_secs(3),
            request_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(270),
            #[cfg(feature = "tls")]
            tls: None,
        }
    }
}

impl ClientConfig {
    /// What its connections are set to.
    #[must_use]
    pub fn connection(mut self, connection: ConnectionConfig) -> Self {
        self.connection = connection;
        self
    }

    /// Connections per address, at most; 50 by default, 1 to 10,000. Grown only when those open are full.
    ///
    /// # Errors
    /// [`ConfigError`] outside that range.
    pub fn pool_size(mut self, connections: usize) -> Result<Self, ConfigError> {
        self.pool_size =
            ConfigError::check((1..=10_000).contains(&connections), "pool_size", connections, "1 to 10,000")?;
        Ok(self)
    }

    /// Requests that may be queued and unwritten on a connection before it counts as full; 100 by default, 1 to
    /// 1,000,000.
    ///
    /// # Errors
    /// [`ConfigError`] outside that range.
    pub fn channel_buffer(mut self, requests: usize) -> Result<Self, ConfigError> {
        self.channel_buffer =
            ConfigError::check((1..=1_000_000).contains(&requests), "channel_buffer", requests, "1 to 1,000,000")?;
        Ok(self)
    }

    /// How long a connection may take to be ready, the hello exchange included; 3 s by default, 1 ms to an hour.
    ///
    /// # Errors
    /// [`ConfigError`] outside that range.
    pub fn connect_timeout(mut self, timeout: Duration) -> Result<Self, ConfigError> {
        self.connect_timeout = ConfigError::check(is_timeout(timeout), "connect_timeout", timeout, "1 ms to an hour")?;
        Ok(self)
    }

    /// How long the server may take to accept a call or to begin its answer; 10 s by default, 1 ms to an hour.
    ///
    /// # Errors
    /// [`ConfigError`] outside that range.
    pub fn request_timeout(mut self, timeout: Duration) -> Result<Self, ConfigError> {
        self.request_timeout = ConfigError::check(is_timeout(timeout), "request_timeout", timeout, "1 ms to an hour")?;
        Ok(self)
    }

    /// A connection without calls is closed after this long; 270 s by default, 1 ms or more.
    ///
    /// # Errors
    /// [`ConfigError`] below that.
    pub fn idle_timeout(mut self, timeout: Duration) -> Result<Self, ConfigError> {
        self.idle_timeout =
            ConfigError::check(timeout >= Duration::from_millis(1), "idle_timeout", timeout, "1 ms or more")?;
        Ok(self)
    }

    /// How it speaks TLS to servers at `tls://` addresses; without this they cannot be called. Reads the files.
    ///
    /// # Errors
    /// `InvalidArgument` naming the variable and the file that cannot be used.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, tls: TlsClientConfig) -> Result<Self, Error> {
        self.tls = Some(Arc::new(Connector::new(tls)?));
        Ok(self)
    }

    /// Whether what was set can still be used as it is.
    pub(crate) fn health(&self) -> Health {
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            return tls.health();
        }
        Health::Ready
    }

    /// Whether servers are not asked to prove who they are, although they speak TLS.
    pub(crate) fn takes_servers_at_their_word(&self) -> bool {
        #[cfg(feature = "tls")]
        return self.tls.as_ref().is_some_and(|tls| tls.is_unverified());
        #[cfg(not(feature = "tls"))]
        return false;
    }
}

fn is_timeout(timeout: Duration) -> bool {
    (Duration::from_millis(1)..=Duration::from_secs(3600)).contains(&timeout)
}

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Listen {
    /// A TCP address; port 0 lets the system choose.
    Tcp {
        /// What to bind.
        bind: SocketAddr,
        /// The host that others are told; the bound address if `None`, which must then not be a wildcard.
        advertise: Option<String>,
    },
    /// A Unix socket. A file that a dead server left behind is replaced, one in use is an error.
    Unix(PathBuf),
}

/// What a server is set to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerConfig {
    pub(crate) listen: Listen,
    pub(crate) connection: ConnectionConfig,
    pub(crate) admission: AdmissionLimits,
    pub(crate) max_connections: usize,
    pub(crate) hello_timeout: Duration,
    pub(crate) accept_notice: Duration,
    pub(crate) idle_timeout: Duration,
    pub(crate) authorizer: Option<Authorizer>,
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<Arc<Acceptor>>,
}

impl ServerConfig {
    /// A server that listens there, with the defaults for all else.
    #[must_use]
    pub fn new(listen: Listen) -> Self {
        Self {
            listen,
            connection: ConnectionConfig::default(),
            admission: AdmissionLimits::default(),
            max_connections: 4_096,
            hello_timeout: Duration::from_secs(5),
            accept_notice: Duration::from_millis(100),
            idle_timeout: Duration::from_secs(300),
            authorizer: None,
            #[cfg(feature = "tls")]
            tls: None,
        }
    }

    /// What its connections are set to.
    #[must_use]
    pub fn connection(mut self, connection: ConnectionConfig) -> Self {
        self.connection = connection;
        self
    }

    /// How many calls it takes on at once.
    #[must_use]
    pub fn admission(mut self, limits: AdmissionLimits) -> Self {
        self.admission = limits;
        self
    }

    /// Who may call what; anybody anything by default. What a peer has proven is in
    /// [`Peer::identity`](plane_core::Peer::identity): its certificate with mutual TLS, its process on a Unix socket.
    #[must_use]
    pub fn authorizer(mut self, authorizer: Authorizer) -> Self {
        self.authorizer = Some(authorizer);
        self
    }

    /// Connections that are open at once; 4,096 by default, at least 1. One more is closed at once.
    ///
    /// # Errors
    /// [`ConfigError`] for zero.
    pub fn max_connections(mut self, connections: usize) -> Result<Self, ConfigError> {
        self.max_connections = ConfigError::check(connections > 0, "max_connections", connections, "1 or more")?;
        Ok(self)
    }

    /// How long a connection may take to say hello; 5 s by default, 1 ms to an hour.
    ///
    /// # Errors
    /// [`ConfigError`] outside that range.
    pub fn hello_timeout(mut self, timeout: Duration) -> Result<Self, ConfigError> {
        self.hello_timeout = ConfigError::check(is_timeout(timeout), "hello_timeout", timeout, "1 ms to an hour")?;
        Ok(self)
    }

    /// After this long without an answer the caller is told that its call was accepted; 100 ms by default, at least
    /// 1 ms. Must be well below the callers' request timeout.
    ///
    /// # Errors
    /// [`ConfigError`] outside 1 ms to an hour.
    pub fn accept_notice(mut self, after: Duration) -> Result<Self, ConfigError> {
        self.accept_notice = ConfigError::check(is_timeout(after), "accept_notice", after, "1 ms to an hour")?;
        Ok(self)
    }

    /// A connection without calls is closed after this long; 300 s by default, longer than the clients' so that they
    /// close first.
    ///
    /// # Errors
    /// [`ConfigError`] below 1 ms.
    pub fn idle_timeout(mut self, timeout: Duration) -> Result<Self, ConfigError> {
        self.idle_timeout =
            ConfigError::check(timeout >= Duration::from_millis(1), "idle_timeout", timeout, "1 ms or more")?;
        Ok(self)
    }

    /// Speaks TLS, and nothing else: the address begins with `tls://`. For TCP alone. Reads the files.
    ///
    /// # Errors
    /// `InvalidArgument` naming the variable and the file that cannot be used, or for a Unix socket.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, tls: TlsServerConfig) -> Result<Self, Error> {
        if matches!(self.listen, Listen::Unix(_)) {
            let what = "TLS is for TCP: who connects to a Unix socket is known from the operating system";
            return Err(Error::new(ErrorKind::InvalidArgument, Delivery::NotSent, what));
        }
        self.tls = Some(Arc::new(Acceptor::new(tls)?));
        Ok(self)
    }

    /// Whether what was set can still be used as it is.
    pub(crate) fn health(&self) -> Health {
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            return tls.health();
        }
        Health::Ready
    }

    /// Whether callers must speak TLS.
    pub(crate) fn speaks_tls(&self) -> bool {
        #[cfg(feature = "tls")]
        return self.tls.is_some();
        #[cfg(not(feature = "tls"))]
        return false;
    }
}
