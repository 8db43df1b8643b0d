//! Dials a host that may stand for several addresses.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use plane_core::ErrorKind;
use tokio::net::{TcpStream, lookup_host};
use tokio::task::JoinSet;

use crate::failure::Failure;

/// An address that has not answered after this long does not hold up the next one: it may be a dead end that takes the
/// whole connect timeout.
const NEXT_AFTER: Duration = Duration::from_millis(250);

/// Connects to the first of the host's addresses that answers.
pub(crate) async fn dial(host: &str, port: u16) -> io::Result<TcpStream> {
    let mut addresses = lookup_host((host, port)).await?;
    let nothing = || io::Error::new(io::ErrorKind::NotFound, "the host name stands for no address");
    let first = addresses.next().ok_or_else(nothing)?;
    match addresses.next() {
        None => TcpStream::connect(first).await,
        Some(second) => first_of([first, second].into_iter().chain(addresses)).await,
    }
}

/// Tries them in order. The next one has its turn when one fails, or beside those that take long; the others are given
/// up once one is connected.
async fn first_of(addresses: impl Iterator<Item = SocketAddr>) -> io::Result<TcpStream> {
    let mut addresses = addresses.fuse();
    let mut dials = JoinSet::new();
    let mut failed = None;
    loop {
        if let Some(address) = addresses.next() {
            dials.spawn(TcpStream::connect(address));
        }
        let Some(done) = next_within(&mut dials).await else { continue };
        match done {
            Some(Ok(stream)) => return Ok(stream),
            Some(Err(error)) => failed = Some(error),
            // All have failed, and none is left.
            None => return Err(failed.unwrap_or_else(|| io::ErrorKind::NotFound.into())),
        }
    }
}

/// How the next dial ended, `Some(None)` if there is none; `None` if all take long.
async fn next_within(dials: &mut JoinSet<io::Result<TcpStream>>) -> Option<Option<io::Result<TcpStream>>> {
    let joined = tokio::time::timeout(NEXT_AFTER, dials.join_next()).await.ok()?;
    Some(joined.map(|dialled| dialled.unwrap_or_else(|_| Err(io::ErrorKind::Interrupted.into()))))
}

/// What a dial that failed says: about the other side, unless this side has no descriptors left.
pub(crate) fn refusal(error: &io::Error) -> Failure {
    match error.raw_os_error() {
        Some(ENFILE | EMFILE) => {
            let what = format!("{error}: no descriptor was left on this side; raise its limit (ulimit -n)");
            Failure::new(ErrorKind::ResourceExhausted, what)
        }
        _ => Failure::new(ErrorKind::Unavailable, error.to_string()),
    }
}

/// The system, and the process, have as many open files as they may; the numbers are those of every Unix.
const ENFILE: i32 = 23;
const EMFILE: i32 = 24;

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Instant;

    use tokio::net::TcpListener;

    use super::*;

    async fn listening() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    /// An address where nobody listens.
    async fn refusing() -> SocketAddr {
        listening().await.1
    }

    /// An address that does not answer: its queue of connections is full. They are held as long as it is.
    async fn silent() -> (socket2::Socket, Vec<TcpStream>, SocketAddr) {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
        socket.listen(0).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        let mut held = Vec::new();
        while let Ok(Ok(stream)) = tokio::time::timeout(NEXT_AFTER / 2, TcpStream::connect(address)).await {
            held.push(stream);
        }
        (socket, held, address)
    }

    /// Threat C27: a dead address, by either way to be dead, does not hide the living one behind it.
    #[tokio::test]
    async fn the_second_address_is_tried() {
        let (_listener, living) = listening().await;
        let (_socket, _held, silent) = silent().await;
        for dead in [refusing().await, silent] {
            let began = Instant::now();
            let stream = first_of([dead, living].into_iter()).await.unwrap();
            assert_eq!(stream.peer_addr().unwrap(), living);
            // Far below what a dial to an address that does not answer takes.
            assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
        }
    }

    #[tokio::test]
    async fn with_none_that_answers_the_reason_is_told() {
        let error = first_of([refusing().await, refusing().await].into_iter()).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }

    #[test]
    fn a_lack_of_descriptors_is_not_blamed_on_the_other_side() {
        for number in [EMFILE, ENFILE] {
            assert_eq!(refusal(&io::Error::from_raw_os_error(number)).kind, ErrorKind::ResourceExhausted);
        }
        assert_eq!(refusal(&io::ErrorKind::ConnectionRefused.into()).kind, ErrorKind::Unavailable);
    }
}
