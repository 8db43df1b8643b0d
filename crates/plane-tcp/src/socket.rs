//! Sockets: the two halves of a stream, and how they are opened.

use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::path::Path;
use std::pin::Pin;
#[cfg(feature = "tls")]
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use plane_core::{Address, Identity, ProcessIdentity};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream, tcp, unix};

use crate::dial::dial;

use crate::linger::linger;
#[cfg(feature = "tls")]
use crate::tls::Session;

/// A connected stream.
#[derive(Debug)]
pub(crate) enum Socket {
    Tcp(TcpStream),
    #[cfg(feature = "tls")]
    Tls(Arc<Session>),
    Unix(UnixStream),
}

/// The half that the driver reads from.
#[derive(Debug)]
pub(crate) enum ReadHalf {
    Tcp(tcp::OwnedReadHalf),
    #[cfg(feature = "tls")]
    Tls(Arc<Session>),
    Unix(unix::OwnedReadHalf),
}

/// The half that whoever holds the batch writes to.
#[derive(Debug)]
pub(crate) enum WriteHalf {
    Tcp(tcp::OwnedWriteHalf),
    #[cfg(feature = "tls")]
    Tls(Arc<Session>),
    Unix(unix::OwnedWriteHalf),
}

impl Socket {
    /// Connects to an address, before any TLS. Every address that a host name stands for is tried in turn.
    pub(crate) async fn connect(address: &Address) -> io::Result<Self> {
        match address {
            Address::Tcp { host, port } | Address::Tls { host, port } => dial(host, *port).await.map(Self::Tcp),
            Address::Unix(path) => UnixStream::connect(path).await.map(Self::Unix),
            _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "not a tcp://, tls:// or unix:// address")),
        }
    }

    /// Sets what both ends of a TCP connection need.
    pub(crate) fn prepare(&self, unacknowledged: Duration) {
        let Self::Tcp(stream) = self else { return };
        // A 64-byte stream item must not wait for the acknowledgement of the one before.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "cannot set TCP_NODELAY");
        }
        // The keepalive finds a peer that does not answer; this finds one that is gone while bytes are on their way.
        #[cfg(target_os = "linux")]
        if let Err(error) = SockRef::from(stream).set_tcp_user_timeout(Some(unacknowledged)) {
            tracing::debug!(%error, "cannot set TCP_USER_TIMEOUT");
        }
        #[cfg(not(target_os = "linux"))]
        let _ = (unacknowledged, SockRef::from(stream));
    }

    /// The other side, for people.
    pub(crate) fn peer(&self) -> String {
        match self {
            Self::Tcp(stream) => stream.peer_addr().map_or_else(|_| "unknown".to_owned(), |peer| peer.to_string()),
            #[cfg(feature = "tls")]
            Self::Tls(session) => {
                session.stream().peer_addr().map_or_else(|_| "unknown".to_owned(), |peer| peer.to_string())
            }
            Self::Unix(_) => "unix".to_owned(),
        }
    }

    /// What the system knows of the other side.
    pub(crate) fn identity(&self) -> Identity {
        match self {
            Self::Unix(stream) => stream.peer_cred().map_or(Identity::Unknown, |process| {
                Identity::Process(ProcessIdentity::new(process.uid(), process.gid(), process.pid()))
            }),
            _ => Identity::Unknown,
        }
    }

    /// Ends the connection of a peer that was told why.
    pub(crate) async fn linger(&self) {
        if let Self::Tcp(stream) = self {
            linger(stream).await;
        }
    }

    pub(crate) fn split(self) -> (ReadHalf, WriteHalf) {
        match self {
            Self::Tcp(stream) => {
                let (read, write) = stream.into_split();
                (ReadHalf::Tcp(read), WriteHalf::Tcp(write))
            }
            #[cfg(feature = "tls")]
            Self::Tls(session) => (ReadHalf::Tls(session.clone()), WriteHalf::Tls(session)),
            Self::Unix(stream) => {
                let (read, write) = stream.into_split();
                (ReadHalf::Unix(read), WriteHalf::Unix(write))
            }
        }
    }
}

/// Whether somebody listens on a Unix socket.
pub(crate) async fn is_live(path: &Path) -> bool {
    UnixStream::connect(path).await.is_ok()
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            #[cfg(feature = "tls")]
            Self::Tls(session) => session.poll_read(cx, buf),
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            #[cfg(feature = "tls")]
            Self::Tls(session) => session.poll_write(cx, buf),
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            #[cfg(feature = "tls")]
            Self::Tls(session) => {
                session.finish();
                Poll::Ready(Ok(()))
            }
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

impl AsyncRead for ReadHalf {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            #[cfg(feature = "tls")]
            Self::Tls(session) => session.poll_read(cx, buf),
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl ReadHalf {
    /// Reads what is there, whatever the runtime knows of it. What is behind TLS is not looked at like this.
    pub(crate) fn read_now(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let socket = match self {
            Self::Tcp(stream) => SockRef::from(stream.as_ref()),
            #[cfg(feature = "tls")]
            Self::Tls(_) => return Err(io::ErrorKind::WouldBlock.into()),
            Self::Unix(stream) => SockRef::from(stream.as_ref()),
        };
        io::Read::read(&mut &*socket, buffer)
    }

    /// Whether [`read_now`](Self::read_now) can find something.
    pub(crate) fn can_look(&self) -> bool {
        match self {
            #[cfg(feature = "tls")]
            Self::Tls(_) => false,
            _ => true,
        }
    }
}

impl WriteHalf {
    /// Writes what the socket takes now.
    pub(crate) fn try_write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match (self, slices) {
            // A system looks at one piece of memory with less ado than at a list of one.
            (Self::Tcp(stream), [only]) => stream.try_write(only),
            (Self::Tcp(stream), _) => stream.try_write_vectored(slices),
            #[cfg(feature = "tls")]
            (Self::Tls(session), _) => session.try_write_vectored(slices),
            (Self::Unix(stream), _) => stream.try_write_vectored(slices),
        }
    }

    /// Whether the socket keeps what does not fill a segment until more is written; told that it does not, it sends what it
    /// has kept. The system lets it do so for 200 ms at most.
    pub(crate) fn hold(&self, holds: bool) {
        #[cfg(target_os = "linux")]
        let told = match self {
            Self::Tcp(stream) => SockRef::from(stream.as_ref()).set_tcp_cork(holds),
            #[cfg(feature = "tls")]
            Self::Tls(session) => SockRef::from(session.stream()).set_tcp_cork(holds),
            Self::Unix(_) => Ok(()),
        };
        #[cfg(not(target_os = "linux"))]
        let told = {
            let _ = holds;
            Ok::<_, io::Error>(())
        };
        if let Err(error) = told {
            tracing::trace!(%error, "the socket cannot be told to wait for more");
        }
    }

    #[cfg(all(test, target_os = "linux"))]
    pub(crate) fn is_holding(&self) -> bool {
        match self {
            Self::Tcp(stream) => SockRef::from(stream.as_ref()).tcp_cork().expect("it is open"),
            _ => false,
        }
    }

    /// Waits until the socket takes more.
    pub(crate) fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => stream.as_ref().poll_write_ready(cx),
            #[cfg(feature = "tls")]
            Self::Tls(session) => session.stream().poll_write_ready(cx),
            Self::Unix(stream) => stream.as_ref().poll_write_ready(cx),
        }
    }

    /// Bytes that the socket took beside those that a write has told of. They show that the other side still reads.
    pub(crate) fn taken(&self) -> u64 {
        match self {
            #[cfg(feature = "tls")]
            Self::Tls(session) => session.sent(),
            _ => 0,
        }
    }

    /// Tells the other side that nothing more comes.
    pub(crate) fn finish(&self) {
        #[cfg(feature = "tls")]
        if let Self::Tls(session) = self {
            return session.finish();
        }
        self.shut(Shutdown::Write);
    }

    /// Ends both directions, so that the other side is refused what it still sends. Calls may hold on to the socket for
    /// a while, which must not look like a connection that is only half closed.
    pub(crate) fn shutdown(&self) {
        self.shut(Shutdown::Both);
    }

    fn shut(&self, how: Shutdown) {
        let shut = match self {
            Self::Tcp(stream) => SockRef::from(stream.as_ref()).shutdown(how),
            #[cfg(feature = "tls")]
            Self::Tls(session) => SockRef::from(session.stream()).shutdown(how),
            Self::Unix(stream) => SockRef::from(stream.as_ref()).shutdown(how),
        };
        if let Err(error) = shut {
            tracing::trace!(%error, "the socket was closed already");
        }
    }
}
