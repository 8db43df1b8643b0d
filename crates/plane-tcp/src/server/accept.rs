//! Accepts connections, says hello and drives them.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use plane_core::frame::{Decoder, Hello};
use plane_core::{ErrorKind, Identity, Peer, Refusal};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::config::ServerConfig;
use crate::driver::LinkDriver;
use crate::failure::Failure;
use crate::hello::exchange;
use crate::link::{Link, Room};
use crate::proto::{Connection, Side};
use crate::server::inline::Handlers;
use crate::server::listener::Listener;
use crate::server::{Phase, Shared};
use crate::socket::Socket;
use crate::stranger::Speaker;
use crate::watch::{Between, Watch};

/// The first pause when the system has no more descriptors or memory for connections, and the longest.
const PAUSE: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(500));

/// Accepts and serves until the server is closed. Connections are tasks of this future's own set and end with it.
pub(crate) async fn run(listener: Listener, shared: Arc<Shared>, mut phase: watch::Receiver<Phase>) {
    let mut connections = JoinSet::new();
    accept_all(listener, &shared, &mut phase, &mut connections).await;
    shared.unbound.cancel();
    // The listener is closed; those that are connected have until the drain's deadline.
    while *phase.borrow_and_update() != Phase::Closed {
        if phase.changed().await.is_err() {
            break;
        }
    }
    connections.shutdown().await;
}

async fn accept_all(
    listener: Listener,
    shared: &Arc<Shared>,
    phase: &mut watch::Receiver<Phase>,
    connections: &mut JoinSet<()>,
) {
    let mut pause = PAUSE.0;
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(socket) => {
                    pause = PAUSE.0;
                    if connections.len() >= shared.config.max_connections {
                        let limit = shared.config.max_connections;
                        let what = format!("{limit} connections are open (max_connections)");
                        shared.endpoints.refusals().note(now(), Refusal::Connections, &socket.peer(), &what);
                    } else {
                        connections.spawn(serve(socket, shared.clone()));
                    }
                }
                Err(error) if is_about_one_connection(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, ?pause, "cannot accept connections; trying again after a pause");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(PAUSE.1);
                }
            },
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            changed = phase.changed() => {
                if changed.is_err() || *phase.borrow_and_update() != Phase::Serving {
                    return;
                }
            }
        }
    }
}

/// The peer went away before it was accepted, as opposed to the system having run out of something.
fn is_about_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

async fn serve(socket: Socket, shared: Arc<Shared>) {
    let ServerConfig { connection: config, hello_timeout, idle_timeout, accept_notice, .. } = &shared.config;
    socket.prepare(config.keepalive_interval + config.keepalive_timeout);
    let address = socket.peer();
    let greeted = tokio::time::timeout(*hello_timeout, greet(socket, &shared.config)).await;
    let Greeted { socket, identity, hello, decoder } = match greeted {
        Ok(Ok(greeted)) => greeted,
        Ok(Err(failure)) => return refuse(&shared, &address, failure),
        Err(_) => {
            let what = format!("no hello within {hello_timeout:?}");
            let failure = Failure::new(ErrorKind::DeadlineExceeded, what).because(Refusal::HelloTimeout);
            return refuse(&shared, &address, failure);
        }
    };
    let peer = Arc::new(Peer::new(address, hello.agent.clone()).with_identity(identity));
    let settings = config.settings(*idle_timeout, u64::MAX);
    let side = Side::Listener(shared.endpoints.clone());
    let connection = Connection::new(side, settings, hello, peer, now());
    let (read, write) = socket.split();
    let link = Link::new(connection, write, Arc::new(Room::default()));
    let number = shared.next_connection();
    let _listed = Listed::new(&shared, number, link.clone());
    let watch = Watch::new(config.patience, Between::here(), shared.company.clone());
    LinkDriver::new(link, read, decoder, Handlers::new(*accept_notice), watch).await;
}

/// Says why a connection never was one.
fn refuse(shared: &Shared, peer: &str, failure: Failure) {
    let Failure { text, refusal, .. } = failure;
    match refusal {
        // A hello that cannot be understood is told from frames that cannot: it is mostly another version.
        Some(refusal) => {
            let refusal = if refusal == Refusal::Protocol { Refusal::Hello } else { refusal };
            shared.endpoints.refusals().note(now(), refusal, peer, &text);
        }
        None => tracing::debug!(peer, reason = %text, "a connection ended before its hello"),
    }
}

/// A connection whose other side has said who it is and what it speaks.
struct Greeted {
    socket: Socket,
    identity: Identity,
    hello: Hello,
    decoder: Decoder,
}

async fn greet(socket: Socket, config: &ServerConfig) -> Result<Greeted, Failure> {
    #[cfg(feature = "tls")]
    let (mut socket, identity) = match (socket, &config.tls) {
        (Socket::Tcp(stream), Some(tls)) => {
            // Boxed, so that a connection without TLS does not carry what a handshake takes.
            let (session, identity) = Box::pin(tls.accept(stream)).await?;
            (Socket::Tls(Arc::new(session)), identity)
        }
        (socket, _) => {
            let identity = socket.identity();
            (socket, identity)
        }
    };
    #[cfg(not(feature = "tls"))]
    let (mut socket, identity) = {
        let identity = socket.identity();
        (socket, identity)
    };
    let (hello, decoder) = exchange(&mut socket, &config.connection, Speaker::Listener).await?;
    Ok(Greeted { socket, identity, hello, decoder })
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// A connection's place in the server's table, given back however its task ends.
struct Listed<'a> {
    shared: &'a Shared,
    number: u64,
}

impl<'a> Listed<'a> {
    fn new(shared: &'a Shared, number: u64, link: Arc<Link>) -> Self {
        if shared.endpoints.is_draining() {
            // It came in while the drain began, and was not told with the others.
            link.with(|connection| {
                connection.go_away(plane_core::Code::OK, "the server is draining", Duration::ZERO);
            });
        }
        shared.links.lock().insert(number, link);
        Self { shared, number }
    }
}

impl Drop for Listed<'_> {
    fn drop(&mut self) {
        self.shared.links.lock().remove(&self.number);
    }
}
