//! The end of a connection whose peer was told why ([`linger`]).

use std::io;
use std::net::Shutdown;
use std::time::Duration;

use socket2::SockRef;
use tokio::net::TcpStream;

/// How long a peer that was told why its connection ends may take to stop sending. A socket that is closed while bytes
/// come is reset, and a reset may overtake what the peer was told.
pub(crate) const LINGER: Duration = Duration::from_secs(1);

/// Says that nothing more comes, and drops what does until the other side has closed as well, or its time is over.
pub(crate) async fn linger(stream: &TcpStream) {
    if SockRef::from(stream).shutdown(Shutdown::Write).is_err() {
        return;
    }
    let drop_all = async {
        let mut dropped = [0; 1024];
        while stream.readable().await.is_ok() {
            match stream.try_read(&mut dropped) {
                Ok(0) => return,
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return,
                _ => {}
            }
        }
    };
    // Whether it was in time makes no difference: the connection is closed.
    let _ = tokio::time::timeout(LINGER, drop_all).await;
}
