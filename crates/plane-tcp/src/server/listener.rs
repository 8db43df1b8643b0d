//! What a server listens on, and what it tells others of it.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use plane_core::{Address, Delivery, Error, ErrorKind};
use tokio::net::{TcpListener, TcpSocket, UnixListener};

use crate::config::Listen;
use crate::socket::{Socket, is_live};

/// Connections that the system holds until they are accepted.
const BACKLOG: u32 = 4_096;

/// A bound listener. A Unix socket's file goes with it.
#[derive(Debug)]
pub(crate) enum Listener {
    Tcp(TcpListener),
    Unix { listener: UnixListener, path: PathBuf, file: Option<FileId> },
}

/// Which file a path leads to: device and inode.
type FileId = (u64, u64);

fn file_id(path: &Path) -> Option<FileId> {
    std::fs::metadata(path).ok().map(|file| (file.dev(), file.ino()))
}

impl Listener {
    /// Binds it and tells the address that others reach it by.
    pub(crate) async fn bind(listen: &Listen) -> Result<(Self, Address), Error> {
        match listen {
            Listen::Tcp { bind, advertise } => bind_tcp(*bind, advertise.as_deref()),
            Listen::Unix(path) => bind_unix(path).await,
        }
    }

    pub(crate) async fn accept(&self) -> io::Result<Socket> {
        match self {
            Self::Tcp(listener) => Ok(Socket::Tcp(listener.accept().await?.0)),
            Self::Unix { listener, .. } => Ok(Socket::Unix(listener.accept().await?.0)),
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // The path may lead to a server that came after this one.
        if let Self::Unix { path, file, .. } = self
            && file.is_some()
            && file_id(path) == *file
            && let Err(error) = std::fs::remove_file(&*path)
        {
            tracing::debug!(path = %path.display(), %error, "the socket's file was gone already");
        }
    }
}

fn cannot(what: &str, error: &io::Error) -> Error {
    Error::new(ErrorKind::Unavailable, Delivery::NotSent, format!("cannot listen on {what}: {error}"))
}

fn bind_tcp(bind: SocketAddr, advertise: Option<&str>) -> Result<(Listener, Address), Error> {
    if bind.ip().is_unspecified() && advertise.is_none() {
        let what = format!("{} listens on all addresses: say which host others are told (advertise)", bind.ip());
        return Err(Error::new(ErrorKind::InvalidArgument, Delivery::NotSent, what));
    }
    let listener = listen_tcp(bind).map_err(|error| cannot(&format!("tcp://{bind}"), &error))?;
    let bound = listener.local_addr().map_err(|error| cannot(&format!("tcp://{bind}"), &error))?;
    let address = match advertise {
        Some(host) => Address::Tcp { host: host.into(), port: bound.port() },
        None => Address::tcp(bound),
    };
    Ok((Listener::Tcp(listener), address))
}

fn listen_tcp(bind: SocketAddr) -> io::Result<TcpListener> {
    let socket = if bind.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A server that comes back takes its port again although old connections linger.
    socket.set_reuseaddr(true)?;
    socket.bind(bind)?;
    socket.listen(BACKLOG)
}

async fn bind_unix(path: &Path) -> Result<(Listener, Address), Error> {
    let what = format!("unix://{}", path.display());
    if !path.is_absolute() || path.to_str().is_none() {
        let what = format!("{what} is not an absolute path of UTF-8");
        return Err(Error::new(ErrorKind::InvalidArgument, Delivery::NotSent, what));
    }
    let listener = match UnixListener::bind(path) {
        // What a dead server left behind is replaced; a live one is left alone.
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && !is_live(path).await => {
            match std::fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(cannot(&what, &error)),
                _ => {}
            }
            UnixListener::bind(path)
        }
        bound => bound,
    };
    let listener = listener.map_err(|error| cannot(&what, &error))?;
    let file = file_id(path);
    Ok((Listener::Unix { listener, path: path.to_owned(), file }, Address::unix(path)))
}
