//! The listener.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, PoisonError, RwLock};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;

use super::connection::{ChaosConnection, Direction};
use super::faults::{Ending, Faults};

/// How many connections one proxy takes in its life; later ones are reset. A test that needs more starts another proxy.
pub const MAX_CONNECTIONS: usize = 65_536;

/// A TCP proxy on loopback, in front of one server. Dropping it resets what is open.
#[derive(Debug)]
pub struct ChaosProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    /// Dropped with the proxy, which ends the accepting task.
    _open: oneshot::Sender<()>,
}

#[derive(Debug)]
struct Shared {
    upstream: RwLock<SocketAddr>,
    connections: watch::Sender<Vec<ChaosConnection>>,
    /// What new connections begin with.
    faults: RwLock<(Faults, Faults)>,
}

impl ChaosProxy {
    /// Listens on a free port of 127.0.0.1 and passes what comes on to `upstream`, in a task of its own.
    ///
    /// # Errors
    /// What the system says about the listener.
    pub async fn start(upstream: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            upstream: RwLock::new(upstream),
            connections: watch::Sender::new(Vec::new()),
            faults: RwLock::default(),
        });
        let (open, closing) = oneshot::channel();
        tokio::spawn(accept(listener, shared.clone(), closing));
        Ok(Self { address, shared, _open: open })
    }

    /// Where the client dials.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sends connections from now on to another server, for example one that was started again.
    pub fn set_upstream(&self, upstream: SocketAddr) {
        *self.shared.upstream.write().unwrap_or_else(PoisonError::into_inner) = upstream;
    }

    /// Does this to what passes in one direction of every connection, those to come included.
    pub fn set(&self, direction: Direction, faults: Faults) {
        let mut first = self.shared.faults.write().unwrap_or_else(PoisonError::into_inner);
        match direction {
            Direction::ToServer => first.0 = faults,
            Direction::ToClient => first.1 = faults,
        }
        // Under the lock, so that a connection accepted meanwhile is not left with the old faults.
        self.connections().iter().for_each(|connection| connection.set(direction, faults));
    }

    /// Does this to what passes in both directions of every connection, those to come included.
    pub fn set_both(&self, faults: Faults) {
        self.set(Direction::ToServer, faults);
        self.set(Direction::ToClient, faults);
    }

    /// Ends every connection that is open now.
    pub fn end_all(&self, ending: Ending) {
        self.connections().iter().for_each(|connection| connection.end(ending));
    }

    /// The connections so far, in the order in which they came, ended ones included.
    #[must_use]
    pub fn connections(&self) -> Vec<ChaosConnection> {
        self.shared.connections.borrow().clone()
    }

    /// Waits for the connection with this number, counted from zero.
    ///
    /// # Panics
    /// If the number is not below [`MAX_CONNECTIONS`], because there would be none for ever.
    pub async fn connection(&self, number: usize) -> ChaosConnection {
        assert!(number < MAX_CONNECTIONS, "a proxy takes {MAX_CONNECTIONS} connections");
        let mut connections = self.shared.connections.subscribe();
        loop {
            if let Some(connection) = connections.borrow_and_update().get(number) {
                return connection.clone();
            }
            // The sender lives as long as `self`.
            let _ = connections.changed().await;
        }
    }

    /// How many bytes were passed on in this direction, over all connections.
    #[must_use]
    pub fn bytes(&self, direction: Direction) -> u64 {
        self.connections().iter().map(|connection| connection.bytes(direction)).sum()
    }
}

impl Drop for ChaosProxy {
    fn drop(&mut self) {
        self.end_all(Ending::Reset);
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, mut closing: oneshot::Receiver<()>) {
    let mut running = JoinSet::new();
    loop {
        let client = tokio::select! {
            biased;
            _ = &mut closing => break,
            accepted = listener.accept() => match accepted {
                Ok((client, _)) => client,
                // A test that ran out of sockets has to see it: the proxy ends.
                Err(_) => break,
            },
        };
        while running.try_join_next().is_some() {}
        match shared.admit() {
            Some(connection) => _ = running.spawn(serve(client, shared.clone(), connection)),
            None => reset(&client),
        }
    }
    drop(listener);
    // They were told to end; each does so in its own task, so that sockets are reset and not merely dropped.
    shared.connections.borrow().iter().for_each(|connection| connection.end(Ending::Reset));
    while running.join_next().await.is_some() {}
}

impl Shared {
    fn admit(&self) -> Option<ChaosConnection> {
        let faults = self.faults.read().unwrap_or_else(PoisonError::into_inner);
        let connection = ChaosConnection::new(faults.0, faults.1);
        let is_admitted = self.connections.send_if_modified(|connections| {
            let has_room = connections.len() < MAX_CONNECTIONS;
            if has_room {
                connections.push(connection.clone());
            }
            has_room
        });
        is_admitted.then_some(connection)
    }
}

async fn serve(client: TcpStream, shared: Arc<Shared>, connection: ChaosConnection) {
    let upstream = *shared.upstream.read().unwrap_or_else(PoisonError::into_inner);
    let dialled = tokio::select! {
        // Once both sockets are there, `run` ends both the same way.
        biased;
        dialled = TcpStream::connect(upstream) => dialled,
        _ = connection.told_to_end() => Err(io::ErrorKind::ConnectionAborted.into()),
    };
    let ended = match dialled {
        Ok(server) => connection.run(client, server).await,
        Err(error) => {
            reset(&client);
            drop(client);
            connection.mark_ended();
            Err(error)
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%upstream, %error, "a connection through the chaos proxy failed");
    }
}

fn reset(stream: &TcpStream) {
    // Best effort: a socket that is gone already needs no reset.
    let _ = socket2::SockRef::from(stream).set_linger(Some(std::time::Duration::ZERO));
}
