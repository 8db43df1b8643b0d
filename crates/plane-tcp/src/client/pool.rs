//! The connections to one address: a bounded pool that grows only when those open are full.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use plane_core::frame::{Decoder, Hello};
use plane_core::{Address, Code, Delivery, Error, ErrorKind, Peer, Refusals};
use tokio::sync::Semaphore;

use crate::config::{ClientConfig, ConnectionConfig};
use crate::counts::Counts;
use crate::dial::refusal;
use crate::driver::{LinkDriver, NoHandlers};
use crate::failure::Failure;
use crate::hello::exchange;
use crate::hold::Hold;
use crate::link::{Link, Room};
use crate::proto::{Connection, Settings, Side};
use crate::socket::Socket;
use crate::stranger::Speaker;
#[cfg(feature = "tls")]
use crate::tls::without_roots;
use crate::watch::{Between, Company, Watch};

/// The first pause after a failed dial, and the longest; each is drawn between nothing and its bound.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// Dials to one address at once, when many callers wait.
const MAX_DIALS_EACH: usize = 8;

/// What all pools of a client share.
#[derive(Debug)]
pub(crate) struct Dials {
    pub(crate) permits: Semaphore,
    pub(crate) config: Arc<ClientConfig>,
    pub(crate) counts: Arc<Counts>,
    pub(crate) refusals: Refusals,
    /// Which of the connections has read last.
    pub(crate) company: Company,
}

/// The connections to one address.
#[derive(Debug)]
pub(crate) struct Pool {
    address: Address,
    room: Arc<Room>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    links: Vec<Arc<Link>>,
    dialling: usize,
    /// Dials that failed so far, so that those who waited for one can tell.
    failed: u64,
    /// Why the last dial failed; `None` after one that did not.
    failure: Option<Failure>,
    /// When that was.
    failed_at: Option<Instant>,
    /// Failed dials in a row.
    in_a_row: u32,
    /// No dial before this.
    not_before: Option<Instant>,
    closed: bool,
}

/// What a caller finds when it looks for a connection.
enum Found {
    Link(Arc<Link>),
    /// Somebody must open one.
    Dial,
    /// One may have room later.
    Wait,
    Failed(Error),
}

impl Pool {
    pub(crate) fn new(address: Address, counts: Arc<Counts>) -> Self {
        Self {
            address,
            room: Arc::new(Room { counts, hold: Hold::here(), ..Room::default() }),
            state: Mutex::default(),
        }
    }

    /// The oldest connection, which most calls find room on.
    pub(crate) fn first(&self) -> Option<Arc<Link>> {
        self.state.lock().links.first().cloned()
    }

    /// A connection that has room for a call now.
    pub(crate) fn with_room(&self) -> Option<Arc<Link>> {
        let state = self.state.lock();
        if state.closed {
            return None;
        }
        state.links.iter().find(|link| link.has_room()).cloned()
    }

    /// A connection with room for one call, opened if there is none; waits at most until `give_up`.
    ///
    /// # Cancel safety
    /// A dial goes on for other callers.
    pub(crate) async fn wait_for_room(
        self: &Arc<Self>,
        dials: &Arc<Dials>,
        give_up: Instant,
    ) -> Result<Arc<Link>, Error> {
        let failed_before = self.state.lock().failed;
        let _waiting = Waiting::new(&self.room);
        let room = async {
            loop {
                // Registered before the look, so that a change between the look and the wait is not missed.
                let changed = self.room.changed.notified();
                tokio::pin!(changed);
                changed.as_mut().enable();
                match self.find(dials, failed_before) {
                    Found::Link(link) => return Ok(link),
                    Found::Failed(error) => return Err(error),
                    Found::Dial => drop(tokio::spawn(self.clone().dial(dials.clone()))),
                    Found::Wait => changed.await,
                }
            }
        };
        let waited = tokio::time::timeout_at(give_up.into(), room).await;
        waited.unwrap_or_else(|_| Err(self.no_room(dials)))
    }

    fn no_room(&self, dials: &Dials) -> Error {
        let open = self.state.lock().links.len();
        let ClientConfig { pool_size, .. } = *dials.config;
        let what = format!(
            "no connection to {} had room in time: {open} of at most {pool_size} (DYN_TCP_POOL_SIZE) are open",
            self.address
        );
        Error::new(ErrorKind::DeadlineExceeded, Delivery::NotSent, what)
    }

    fn find(&self, dials: &Dials, failed_before: u64) -> Found {
        let mut state = self.state.lock();
        if state.closed {
            let what = "the client was closed";
            return Found::Failed(Error::new(ErrorKind::Cancelled, Delivery::NotSent, what));
        }
        if let Some(link) = state.links.iter().find(|link| link.has_room()) {
            return Found::Link(link.clone());
        }
        state.links.retain(|link| link.peek(Connection::takes_calls));
        let pause = state.not_before.is_some_and(|at| now() < at);
        if state.links.is_empty()
            && state.dialling == 0
            && (pause || state.failed > failed_before)
            && let Some(failure) = &state.failure
        {
            return Found::Failed(Error::new(failure.kind, Delivery::NotSent, failure.text.clone()));
        }
        let waiting = self.room.waiting.load(Ordering::Acquire);
        let most = dials.config.pool_size.saturating_sub(state.links.len());
        let wanted = waiting.div_ceil(dials.config.connection.max_calls as usize).clamp(1, MAX_DIALS_EACH).min(most);
        if state.dialling < wanted && !pause {
            state.dialling += 1;
            return Found::Dial;
        }
        Found::Wait
    }

    /// Opens one more connection for whoever waits.
    async fn dial(self: Arc<Self>, dials: Arc<Dials>) {
        let ClientConfig { connect_timeout, .. } = *dials.config;
        let connected = async {
            let closed = |_| Failure::new(ErrorKind::Cancelled, "the client was closed");
            let _permit = dials.permits.acquire().await.map_err(closed)?;
            dials.counts.dials.fetch_add(1, Ordering::Relaxed);
            tokio::time::timeout(connect_timeout, connect(&self.address, &dials.config)).await.unwrap_or_else(|_| {
                let what = format!("no hello within {connect_timeout:?} (DYN_TCP_CONNECT_TIMEOUT)");
                Err(Failure::new(ErrorKind::Unavailable, what))
            })
        };
        match connected.await {
            Ok((socket, hello, decoder)) => {
                let peer = Arc::new(Peer::new(self.address.to_string(), hello.agent.clone()));
                let settings = settings(&dials.config);
                let side = Side::Dialler(dials.refusals.clone());
                let connection = Connection::new(side, settings, hello, peer, now());
                let (read, write) = socket.split();
                let link = Link::new(connection, write, self.room.clone());
                let watch = Watch::new(dials.config.connection.patience, Between::here(), dials.company.clone());
                let driver = LinkDriver::new(link.clone(), read, decoder, NoHandlers, watch);
                tokio::spawn(driver);
                self.dialled(Ok(link));
            }
            Err(failure) => {
                if let Some(refusal) = failure.refusal {
                    dials.refusals.note(now(), refusal, &self.address.to_string(), &failure.text);
                }
                self.dialled(Err(failure));
            }
        }
    }

    fn dialled(&self, dialled: Result<Arc<Link>, Failure>) {
        let mut state = self.state.lock();
        state.dialling -= 1;
        match dialled {
            Ok(link) => {
                state.in_a_row = 0;
                state.not_before = None;
                state.failure = None;
                if state.closed {
                    link.with(|connection| connection.go_away(Code::OK, "the client was closed", Duration::ZERO));
                } else {
                    state.links.push(link);
                }
            }
            Err(failure) => {
                let text = format!("cannot connect to {}: {}", self.address, failure.text);
                tracing::debug!(address = %self.address, reason = %failure.text, "a dial failed");
                state.failed += 1;
                state.failed_at = Some(now());
                state.failure = Some(Failure { text, ..failure });
                let most = BACKOFF.0.saturating_mul(1 << state.in_a_row.min(10)).min(BACKOFF.1);
                state.in_a_row += 1;
                state.not_before = Some(now() + most.mul_f64(fastrand::f64()));
            }
        }
        drop(state);
        self.room.changed.notify_waiters();
    }

    /// The connections that take calls.
    pub(crate) fn links(&self) -> Vec<Arc<Link>> {
        let mut state = self.state.lock();
        state.links.retain(|link| link.peek(|connection| connection.failure.is_none()));
        state.links.clone()
    }

    /// Why the address cannot be reached, if the last dial failed lately and no connection is open. An address that
    /// nobody has called since tells nothing: its instance may be gone for good.
    pub(crate) fn failing(&self) -> Option<String> {
        let state = self.state.lock();
        if state.failed_at.is_none_or(|at| now() > at + BACKOFF.1) {
            return None;
        }
        let usable = state.links.iter().any(|link| link.peek(Connection::takes_calls));
        state.failure.as_ref().filter(|_| !usable).map(|failure| failure.text.clone())
    }

    /// Whether nothing would be lost if the pool were dropped.
    pub(crate) fn is_unused(&self, now: Instant) -> bool {
        let mut state = self.state.lock();
        state.links.retain(|link| link.peek(Connection::takes_calls));
        state.links.is_empty()
            && state.dialling == 0
            && self.room.waiting.load(Ordering::Acquire) == 0
            && state.not_before.is_none_or(|at| at <= now)
    }

    /// Opens nothing more, and lets every connection end with its last call.
    pub(crate) fn close(&self) {
        let links = {
            let mut state = self.state.lock();
            state.closed = true;
            state.links.clone()
        };
        for link in links {
            link.with(|connection| connection.go_away(Code::OK, "the client was closed", Duration::ZERO));
        }
        self.room.changed.notify_waiters();
    }
}

async fn connect(address: &Address, config: &ClientConfig) -> Result<(Socket, Hello, Decoder), Failure> {
    check_tls(address, config)?;
    let socket = Socket::connect(address).await.map_err(|error| refusal(&error))?;
    let ConnectionConfig { keepalive_interval, keepalive_timeout, .. } = config.connection;
    socket.prepare(keepalive_interval + keepalive_timeout);
    #[cfg(feature = "tls")]
    let socket = match (address, socket, &config.tls) {
        (Address::Tls { host, .. }, Socket::Tcp(stream), Some(tls)) => {
            Socket::Tls(Arc::new(tls.connect(host, stream).await?))
        }
        (_, socket, _) => socket,
    };
    let mut socket = socket;
    let (hello, decoder) = exchange(&mut socket, &config.connection, Speaker::Dialler).await?;
    Ok((socket, hello, decoder))
}

/// Whether the address is one that this side's settings let it dial: nothing is sent to another.
#[cfg(feature = "tls")]
fn check_tls(address: &Address, config: &ClientConfig) -> Result<(), Failure> {
    match (address, &config.tls) {
        (Address::Tls { .. }, Some(tls)) => tls.check(),
        (Address::Tls { .. }, None) => Err(without_roots()),
        (Address::Tcp { .. }, Some(tls)) if tls.is_required() => {
            let what = "the server is without TLS, and this side requires it (DYN_TCP_TLS_REQUIRED)";
            Err(Failure::new(ErrorKind::FailedPrecondition, what))
        }
        _ => Ok(()),
    }
}

#[cfg(not(feature = "tls"))]
fn check_tls(address: &Address, _: &ClientConfig) -> Result<(), Failure> {
    if let Address::Tls { .. } = address {
        let what = "the server speaks TLS, and this build does not: build it with the feature tls";
        return Err(Failure::new(ErrorKind::FailedPrecondition, what));
    }
    Ok(())
}

fn settings(config: &ClientConfig) -> Settings {
    let queue = config.channel_buffer as u64;
    config.connection.settings(config.idle_timeout, queue)
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// A caller that waits, counted while it does.
struct Waiting<'a>(&'a Room);

impl<'a> Waiting<'a> {
    fn new(room: &'a Room) -> Self {
        room.waiting.fetch_add(1, Ordering::AcqRel);
        Self(room)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::AcqRel);
        // Room that was offered to this caller, which may not have used it, goes to the next.
        self.0.offer();
    }
}
