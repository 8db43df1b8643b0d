//! The client: checks a request, finds a connection with room, opens the call and waits for its answer to begin.

mod pool;

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use parking_lot::RwLock;
use plane_core::{
    Address, Body, BoxFuture, ClientStats, Delivery, DrainReport, Error, ErrorKind, Health, Refusals, Request,
    RequestPlaneClient, Response, Transport, check_headers,
};
use rustc_hash::FxHashMap;
use tokio::sync::Semaphore;

use crate::call::CallHandle;
use crate::client::pool::{Dials, Pool};
use crate::config::ClientConfig;
use crate::counts::{Counted, Counts};
use crate::link::{Link, close_links};
use crate::proto::{OpenError, Opening};
use crate::watch::Company;

/// Dials in progress at once, over all addresses.
const MAX_DIALS: usize = 64;

/// How often a call is sent at most, when the connections it was given are lost or go away before it is executed.
const MAX_TRIES: usize = 3;

/// Makes calls over TCP and Unix sockets, over a bounded pool of connections for each address.
///
/// Connections are opened by calls, each with a task of its own that ends with the connection; dropping the client
/// retires them all.
#[derive(Debug)]
pub struct TcpClient {
    config: Arc<ClientConfig>,
    pools: RwLock<FxHashMap<Address, Arc<Pool>>>,
    dials: Arc<Dials>,
    counts: Arc<Counts>,
    closed: AtomicBool,
}

impl TcpClient {
    /// A client with these settings. Opens nothing and spawns nothing.
    #[must_use]
    pub fn new(config: ClientConfig) -> Self {
        let config = Arc::new(config);
        let counts = Arc::new(Counts::default());
        let dials = Dials {
            permits: Semaphore::new(MAX_DIALS),
            config: config.clone(),
            counts: counts.clone(),
            refusals: Refusals::default(),
            company: Company::default(),
        };
        Self { config, pools: RwLock::default(), dials: Arc::new(dials), counts, closed: AtomicBool::new(false) }
    }

    /// One future without further ones inside, and a block, which uses the request where it is: what it holds is moved once,
    /// when it is boxed.
    #[expect(clippy::manual_async_fn, reason = "an async fn moves its request once more")]
    fn call_counted<'a>(
        &'a self,
        address: &'a Address,
        mut request: Request,
    ) -> impl Future<Output = Result<Response, Error>> + Send + 'a {
        async move {
            let request = &mut request;
            let mut counted = Counted::start(&self.counts);
            let mut times = Times::of(request.deadline, self.config.request_timeout);
            self.check(address, request, times.is_late()).map_err(|error| counted.fail(error))?;
            // Whether a connection has room shows when the call is opened: only if it has none all are looked at.
            let mut first = self.pools.read().get(address).and_then(|pool| pool.first());
            let mut stream = take_stream(&mut request.body);
            let mut tries = if stream.is_none() { MAX_TRIES } else { 1 };
            loop {
                let (link, id) = loop {
                    let link = match first.take() {
                        Some(link) => link,
                        None => {
                            let pool = self.pool(address);
                            match pool.with_room() {
                                Some(link) => link,
                                // Boxed, so that a call that finds room at once does not carry what waiting takes.
                                None => {
                                    let give_up = times.give_up();
                                    let waited = Box::pin(pool.wait_for_room(&self.dials, give_up)).await;
                                    times.now = Some(now());
                                    waited.map_err(|error| counted.fail(error))?
                                }
                            }
                        }
                    };
                    let caller = poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
                    let opened = open(&link, request, &mut times, caller).map_err(|error| counted.fail(error))?;
                    if let Some(id) = opened {
                        break (link, id);
                    }
                };
                tries -= 1;
                let mut handle = CallHandle::new(link, id, counted);
                if stream.is_some() || request.body.is_empty() {
                    handle.send_rest(stream.take());
                }
                // Whoever opens a call is woken when there is something to see.
                let mut opened = true;
                let look = |cx: &mut Context<'_>| {
                    if std::mem::take(&mut opened) { Poll::Pending } else { handle.poll_begin(cx) }
                };
                let begun = poll_fn(look).await;
                match begun {
                    Ok(begun) => return Ok(handle.into_response(begun)),
                    Err(error) => {
                        handle.leave();
                        counted = Counted::go_on(&self.counts);
                        times.now = Some(now());
                        if tries == 0 || !is_about_the_connection(&error) || times.is_late() {
                            return Err(counted.fail(error));
                        }
                    }
                }
            }
        }
    }

    fn check(&self, address: &Address, request: &Request, late: bool) -> Result<(), Error> {
        if self.closed.load(Ordering::Acquire) {
            return Err(Error::new(ErrorKind::Cancelled, Delivery::NotSent, "the client was closed"));
        }
        if address.transport() != Transport::Tcp {
            let what = format!("{address} is not reached over tcp: its scheme must be tcp://, tls:// or unix://");
            return Err(Error::new(ErrorKind::InvalidArgument, Delivery::NotSent, what));
        }
        if late {
            let what = "the deadline passed before the call was sent";
            return Err(Error::new(ErrorKind::DeadlineExceeded, Delivery::NotSent, what));
        }
        check_headers(&request.headers, self.config.connection.headers)?;
        let limit = self.config.connection.max_message;
        match request.body.as_one() {
            Some(message) if message.len() > limit => {
                let what = format!(
                    "a message of {} bytes is over this side's limit of {limit} bytes (DYN_TCP_MAX_MESSAGE_SIZE)",
                    message.len()
                );
                Err(Error::new(ErrorKind::MessageTooLarge, Delivery::NotSent, what))
            }
            _ => Ok(()),
        }
    }

    fn pool(&self, address: &Address) -> Arc<Pool> {
        if let Some(pool) = self.pools.read().get(address) {
            return pool.clone();
        }
        let mut pools = self.pools.write();
        // Addresses come and go with instances; those that are not used any more go here.
        pools.retain(|_, pool| !pool.is_unused(now()));
        pools
            .entry(address.clone())
            .or_insert_with(|| Arc::new(Pool::new(address.clone(), self.counts.clone())))
            .clone()
    }

    fn links(&self) -> Vec<Arc<Link>> {
        self.pools.read().values().flat_map(|pool| pool.links()).collect()
    }
}

/// Opens the call, unless the connection has no room for it, which is nobody's fault. The caller is woken when its answer
/// begins.
fn open(link: &Link, request: &Request, times: &mut Times, caller: Waker) -> Result<Option<u64>, Error> {
    let opened = link.with_write(times.now, |connection, now| {
        times.now = Some(now);
        let opening = Opening {
            endpoint: &request.endpoint,
            instance: request.instance,
            headers: &request.headers,
            deadline: request.deadline,
            accept_by: times.accept_by(),
            only: request.body.as_one(),
            reader: Some(caller),
        };
        connection.open(now, opening)
    });
    match opened {
        Ok(id) => Ok(Some(id)),
        Err(OpenError::Full | OpenError::Closing) => Ok(None),
        Err(OpenError::HeadersTooLarge { limit }) => {
            let what = format!("the headers are over the {limit} bytes that fit a frame of the server (its max_frame)");
            Err(Error::new(ErrorKind::MessageTooLarge, Delivery::NotSent, what))
        }
        Err(OpenError::TooLarge { limit }) => {
            let what =
                format!("the message is over the server's limit of {limit} bytes (its DYN_TCP_MAX_MESSAGE_SIZE)");
            Err(Error::new(ErrorKind::MessageTooLarge, Delivery::NotSent, what))
        }
    }
}

/// Until when a call waits for what. The clock is read once that is asked for: of calls that go out together the first has
/// read it for all.
struct Times {
    /// When it was read last for this call.
    now: Option<Instant>,
    accept_by: Option<Instant>,
    deadline: Option<Instant>,
    request_timeout: Duration,
}

impl Times {
    fn of(deadline: Option<Instant>, request_timeout: Duration) -> Self {
        Self { now: deadline.map(|_| now()), accept_by: None, deadline, request_timeout }
    }

    /// The server must have accepted the call by then, however often it is sent.
    fn accept_by(&mut self) -> Instant {
        let Self { now: known, request_timeout, .. } = *self;
        *self.accept_by.get_or_insert_with(|| known.unwrap_or_else(now) + request_timeout)
    }

    /// Nothing more is tried then.
    fn give_up(&mut self) -> Instant {
        let accept_by = self.accept_by();
        self.deadline.map_or(accept_by, |deadline| deadline.min(accept_by))
    }

    /// Whether that time has come, as far as is known.
    fn is_late(&mut self) -> bool {
        self.now.is_some_and(|now| self.give_up() <= now)
    }
}

/// The call was not executed because its connection was lost or going away, not because the server refused it.
fn is_about_the_connection(error: &Error) -> bool {
    let kind = matches!(error.kind(), ErrorKind::Disconnected | ErrorKind::Unavailable);
    kind && error.delivery().is_retry_safe() && error.status().is_none()
}

/// Takes a body out that is sent behind the OPEN; one message, or none, stays for another try.
fn take_stream(body: &mut Body) -> Option<Body> {
    (body.as_one().is_none() && !body.is_empty()).then(|| std::mem::take(body))
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

impl RequestPlaneClient for TcpClient {
    fn call<'a>(&'a self, address: &'a Address, request: Request) -> BoxFuture<'a, Result<Response, Error>> {
        Box::pin(self.call_counted(address, request))
    }

    fn transport(&self) -> Transport {
        Transport::Tcp
    }

    fn health(&self) -> Health {
        if self.closed.load(Ordering::Acquire) {
            return Health::Unavailable("the client was closed".to_owned());
        }
        let failing: Vec<String> = self.pools.read().values().filter_map(|pool| pool.failing()).collect();
        let usable = self.pools.read().values().any(|pool| pool.failing().is_none());
        match (failing.is_empty(), usable) {
            (true, _) => self.config.health(),
            (false, true) => Health::Degraded(failing.join("; ")),
            (false, false) => Health::Unavailable(failing.join("; ")),
        }
    }

    fn stats(&self) -> ClientStats {
        let Counts { started, completed, failed, cancelled, dials } = &*self.counts;
        let mut stats = ClientStats::default();
        stats.completed = completed.load(Ordering::Acquire);
        stats.failed = failed.load(Ordering::Acquire);
        stats.cancelled = cancelled.load(Ordering::Acquire);
        stats.started = started.load(Ordering::Acquire);
        stats.in_flight = stats.started.saturating_sub(stats.completed + stats.failed + stats.cancelled);
        stats.connections = self.pools.read().values().map(|pool| pool.links().len() as u64).sum();
        stats.dials = dials.load(Ordering::Relaxed);
        stats.refusals = self.dials.refusals.counts();
        stats.tls_unverified = self.config.takes_servers_at_their_word().into();
        stats
    }

    fn close(&self, deadline: Instant) -> BoxFuture<'_, DrainReport> {
        Box::pin(async move {
            self.closed.store(true, Ordering::Release);
            for pool in self.pools.read().values() {
                pool.close();
            }
            self.dials.permits.close();
            let links = self.links();
            close_links(&links, deadline, "the client was closed").await
        })
    }
}

impl Drop for TcpClient {
    fn drop(&mut self) {
        for pool in self.pools.read().values() {
            pool.close();
        }
    }
}
