//! The server: one listener for any number of endpoints.

mod accept;
mod answering;
mod inline;
#[cfg(test)]
pub(crate) use inline::Handlers;
mod listener;
mod streaming;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use plane_core::{
    AbortReason, Address, BoxFuture, Code, DrainReport, EndpointId, Endpoints, Error, Handler, Health, InstanceId,
    Registration, RequestPlaneServer, ServerStats,
};
use rustc_hash::FxHashMap;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::config::ServerConfig;
use crate::link::{Link, close_links};
use crate::server::listener::Listener;
use crate::watch::Company;

/// What aborted calls may take to send their last frames.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Answers calls over TCP or a Unix socket, for any number of endpoints on one listener.
///
/// Dropping it closes the listener and every connection at once; [`drain`](RequestPlaneServer::drain) lets calls finish.
#[derive(Debug)]
pub struct TcpServer {
    shared: Arc<Shared>,
    phase: watch::Sender<Phase>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: ServerConfig,
    pub(crate) endpoints: Endpoints,
    address: Address,
    pub(crate) links: Mutex<FxHashMap<u64, Arc<Link>>>,
    pub(crate) accepted: AtomicU64,
    /// Which of the connections has read last.
    pub(crate) company: Company,
    /// Cancelled when the listener is closed, so that its address is free.
    pub(crate) unbound: CancellationToken,
}

/// What a server does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Serving,
    Draining,
    Closed,
}

impl TcpServer {
    /// Binds the listener. Nothing is accepted until the driver is polled: spawn it.
    ///
    /// # Errors
    /// `Unavailable` naming the address and the system's reason, `InvalidArgument` for a wildcard without an
    /// advertised host.
    pub async fn bind(config: ServerConfig) -> Result<(Self, ServerDriver), Error> {
        let (listener, address) = Listener::bind(&config.listen).await?;
        // Callers learn from the address that they must speak TLS.
        let address = match address {
            Address::Tcp { host, port } if config.speaks_tls() => Address::Tls { host, port },
            address => address,
        };
        let endpoints = Endpoints::authorized(config.admission, config.authorizer.clone());
        let shared = Arc::new(Shared {
            config,
            endpoints,
            address,
            links: Mutex::default(),
            accepted: AtomicU64::new(0),
            company: Company::default(),
            unbound: CancellationToken::new(),
        });
        let (phase, watched) = watch::channel(Phase::Serving);
        let driver = ServerDriver { accepting: Box::pin(accept::run(listener, shared.clone(), watched)) };
        Ok((Self { shared, phase }, driver))
    }

    fn links(&self) -> Vec<Arc<Link>> {
        self.shared.links.lock().values().cloned().collect()
    }
}

/// Accepts connections and serves them; ends after the server is drained or dropped. Dropping it closes everything.
#[must_use = "nothing is accepted unless the driver is spawned"]
pub struct ServerDriver {
    accepting: BoxFuture<'static, ()>,
}

impl std::fmt::Debug for ServerDriver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerDriver").finish_non_exhaustive()
    }
}

impl Future for ServerDriver {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.accepting.as_mut().poll(cx)
    }
}

impl RequestPlaneServer for TcpServer {
    fn register<'a>(
        &'a self,
        endpoint: EndpointId,
        instance: InstanceId,
        handler: Arc<dyn Handler>,
    ) -> BoxFuture<'a, Result<Registration, Error>> {
        let Shared { endpoints, address, .. } = &*self.shared;
        let registered = endpoints.register(endpoint, instance, address.clone(), handler);
        Box::pin(async { registered })
    }

    fn address(&self) -> Address {
        self.shared.address.clone()
    }

    fn health(&self) -> Health {
        match *self.phase.borrow() {
            _ if self.phase.is_closed() => Health::Unavailable("the server's driver does not run".to_owned()),
            Phase::Serving => self.shared.config.health(),
            Phase::Draining => Health::Unavailable("the server is draining".to_owned()),
            Phase::Closed => Health::Unavailable("the server is closed".to_owned()),
        }
    }

    fn stats(&self) -> ServerStats {
        let mut stats = self.shared.endpoints.stats();
        stats.connections = self.shared.links.lock().len() as u64;
        stats
    }

    fn drain(&self, deadline: Instant) -> BoxFuture<'_, DrainReport> {
        Box::pin(async move {
            self.shared.endpoints.start_draining();
            self.phase.send_replace(Phase::Draining);
            let grace = deadline.saturating_duration_since(tokio::time::Instant::now().into_std());
            for link in self.links() {
                link.with(|connection| connection.go_away(Code::OK, "the server is draining", grace));
            }
            let report = self.shared.endpoints.drain(deadline).await;
            // The address is free once this is done. A driver that nobody polls cannot close its listener.
            if !self.phase.is_closed() {
                let _ = tokio::time::timeout(LAST_WORDS, self.shared.unbound.cancelled()).await;
            }
            let links = self.links();
            for link in &links {
                link.with(|connection| connection.abort_all(AbortReason::Shutdown));
            }
            let last_words = tokio::time::Instant::now().into_std() + LAST_WORDS;
            close_links(&links, last_words, "the server is closed").await;
            self.phase.send_replace(Phase::Closed);
            report
        })
    }
}

impl Drop for TcpServer {
    fn drop(&mut self) {
        self.phase.send_replace(Phase::Closed);
    }
}

impl Shared {
    /// A number for a connection, for the table and the log.
    pub(crate) fn next_connection(&self) -> u64 {
        self.accepted.fetch_add(1, Ordering::Relaxed)
    }
}
