//! A peer that is dialled.

use std::net::Ipv4Addr;

use plane_core::Address;
use plane_core::frame::Hello;
use tokio::net::TcpListener;

use super::connection::Peer;
use super::within_patience;

/// Listens for a client under test, on a free port of the loopback address.
#[derive(Debug)]
pub struct PeerListener {
    listener: TcpListener,
}

impl PeerListener {
    /// Listens.
    ///
    /// # Panics
    /// If the system has no port.
    pub async fn bind() -> Self {
        Self { listener: TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port") }
    }

    /// What the client is to be told.
    ///
    /// # Panics
    /// Never: the listener is bound.
    #[must_use]
    pub fn address(&self) -> Address {
        Address::tcp(self.listener.local_addr().expect("a bound listener"))
    }

    /// The next connection, before a byte was read or written.
    ///
    /// # Panics
    /// If none comes.
    pub async fn accept_silent(&self) -> Peer {
        let (stream, _) = within_patience("a connection", self.listener.accept()).await.expect("a connection");
        Peer::new(stream)
    }

    /// The next connection, with the hellos exchanged.
    ///
    /// # Panics
    /// If none comes, or not with a HELLO.
    pub async fn accept(&self) -> Peer {
        self.accept_with(&Hello::default()).await
    }

    /// The next connection, with this said of the peer.
    ///
    /// # Panics
    /// If none comes, or not with a HELLO.
    pub async fn accept_with(&self, hello: &Hello) -> Peer {
        let mut peer = self.accept_silent().await;
        peer.send(|out| hello.encode(out)).await;
        peer.expect_hello().await;
        peer
    }
}
