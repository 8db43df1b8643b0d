//! Two sockets and the bytes between them.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::watch;

use super::faults::{Ending, Faults, Flow};

/// Which way bytes flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the side that dialled the proxy to the server behind it.
    ToServer,
    /// From the server back.
    ToClient,
}

/// One connection through the proxy, as a test holds it.
#[derive(Debug, Clone)]
pub struct ChaosConnection {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    to_server: Side,
    to_client: Side,
    state: watch::Sender<State>,
}

#[derive(Debug)]
struct Side {
    faults: watch::Sender<Faults>,
    forwarded: watch::Sender<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Ending(Ending),
    Ended,
}

impl ChaosConnection {
    pub(super) fn new(to_server: Faults, to_client: Faults) -> Self {
        let side = |faults| Side { faults: watch::Sender::new(faults), forwarded: watch::Sender::new(0) };
        let state = watch::Sender::new(State::Open);
        Self { shared: Arc::new(Shared { to_server: side(to_server), to_client: side(to_client), state }) }
    }

    fn side(&self, direction: Direction) -> &Side {
        match direction {
            Direction::ToServer => &self.shared.to_server,
            Direction::ToClient => &self.shared.to_client,
        }
    }

    /// Does this to what passes in one direction from now on.
    pub fn set(&self, direction: Direction, faults: Faults) {
        self.side(direction).faults.send_replace(faults);
    }

    /// Does this to what passes in both directions from now on.
    pub fn set_both(&self, faults: Faults) {
        self.set(Direction::ToServer, faults);
        self.set(Direction::ToClient, faults);
    }

    /// Ends both sockets now, whatever else is in the way. The first ending stays.
    pub fn end(&self, ending: Ending) {
        self.shared.state.send_if_modified(|state| {
            let is_open = *state == State::Open;
            if is_open {
                *state = State::Ending(ending);
            }
            is_open
        });
    }

    /// How many bytes were passed on in this direction so far.
    #[must_use]
    pub fn bytes(&self, direction: Direction) -> u64 {
        *self.side(direction).forwarded.borrow()
    }

    /// Waits until at least this many bytes were passed on in this direction, or until the connection ended.
    /// Gives how many there were.
    pub async fn forwarded(&self, direction: Direction, at_least: u64) -> u64 {
        let mut forwarded = self.side(direction).forwarded.subscribe();
        tokio::select! {
            biased;
            // The sender lives as long as `self`, so this ends with the value.
            _ = forwarded.wait_for(|bytes| *bytes >= at_least) => {}
            () = self.ended() => {}
        }
        self.bytes(direction)
    }

    /// Whether both sockets are gone.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        *self.shared.state.borrow() == State::Ended
    }

    /// Waits until both sockets are gone.
    pub async fn ended(&self) {
        // The sender lives as long as `self`, so this ends with the state.
        let _ = self.shared.state.subscribe().wait_for(|state| *state == State::Ended).await;
    }

    pub(super) async fn told_to_end(&self) -> Ending {
        let mut state = self.shared.state.subscribe();
        loop {
            if let State::Ending(ending) = *state.borrow_and_update() {
                return ending;
            }
            // The sender lives as long as `self`.
            let _ = state.changed().await;
        }
    }

    /// For a connection that never got as far as bytes.
    pub(super) fn mark_ended(&self) {
        self.shared.state.send_replace(State::Ended);
    }

    /// Passes bytes on until both directions ended, or a fault or the test ends both sockets.
    pub(super) async fn run(&self, client: TcpStream, server: TcpStream) -> io::Result<()> {
        let _mark = MarkEnded(self);
        // Dropped before the mark: who sees the mark sees closed sockets.
        let (mut client, mut server) = (client, server);
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let ending = {
            let (client_reads, client_writes) = client.split();
            let (server_reads, server_writes) = server.split();
            let up = Pump::new(client_reads, server_writes, self.side(Direction::ToServer));
            let down = Pump::new(server_reads, client_writes, self.side(Direction::ToClient));
            tokio::select! {
                ending = self.told_to_end() => ending,
                ended = async { tokio::try_join!(up.run(), down.run()) } => match ended {
                    Ok(_) => Ending::Close,
                    Err(ending) => ending,
                },
            }
        };
        finish(&client, ending)?;
        finish(&server, ending)
    }
}

/// Tells those who wait that the connection ended, also when its task is aborted.
struct MarkEnded<'a>(&'a ChaosConnection);

impl Drop for MarkEnded<'_> {
    fn drop(&mut self) {
        self.0.mark_ended();
    }
}

fn finish(stream: &TcpStream, ending: Ending) -> io::Result<()> {
    let socket = SockRef::from(stream);
    match ending {
        Ending::Reset => socket.set_linger(Some(Duration::ZERO)),
        Ending::Close => {
            // The system resets a socket that is dropped with unread bytes, so they are read first; bounded, because
            // the other side may go on sending.
            let mut unread = [0; BUFFER];
            let _ = (0..1_024).take_while(|_| stream.try_read(&mut unread).is_ok_and(|read| read > 0)).count();
            match socket.shutdown(std::net::Shutdown::Write) {
                Err(error) if error.kind() != io::ErrorKind::NotConnected => Err(error),
                _ => Ok(()),
            }
        }
    }
}

/// One direction.
struct Pump<'a> {
    from: ReadHalf<'a>,
    to: WriteHalf<'a>,
    faults: watch::Receiver<Faults>,
    forwarded: &'a watch::Sender<u64>,
    /// How many bytes came in.
    position: u64,
}

/// What is read at once; the most that the proxy holds for one direction.
const BUFFER: usize = 16 * 1024;

impl<'a> Pump<'a> {
    fn new(from: ReadHalf<'a>, to: WriteHalf<'a>, side: &'a Side) -> Self {
        Self { from, to, faults: side.faults.subscribe(), forwarded: &side.forwarded, position: 0 }
    }

    /// Ends well with the end of the incoming bytes, which is passed on; otherwise says how both sockets end.
    async fn run(mut self) -> Result<(), Ending> {
        let mut buffer = vec![0; BUFFER];
        loop {
            let faults = self.flowing().await;
            if let Some(ending) = faults.ending_at(self.position) {
                return Err(ending);
            }
            let read = tokio::select! {
                _ = self.faults.changed() => continue,
                read = self.from.read(&mut buffer) => read.map_err(|_| Ending::Reset)?,
            };
            if read == 0 {
                return self.pass_end_on().await;
            }
            self.pass_on(&mut buffer[..read]).await?;
        }
    }

    /// Waits while the direction is stalled.
    async fn flowing(&mut self) -> Faults {
        loop {
            let faults = *self.faults.borrow_and_update();
            if faults.flow != Flow::Stall {
                return faults;
            }
            // The sender outlives the pump.
            let _ = self.faults.changed().await;
        }
    }

    async fn pass_end_on(&mut self) -> Result<(), Ending> {
        while self.flowing().await.flow == Flow::Swallow {
            let _ = self.faults.changed().await;
        }
        self.to.shutdown().await.map_err(|_| Ending::Reset)
    }

    async fn pass_on(&mut self, mut bytes: &mut [u8]) -> Result<(), Ending> {
        while !bytes.is_empty() {
            let faults = self.flowing().await;
            if let Some(ending) = faults.ending_at(self.position) {
                return Err(ending);
            }
            let length = faults.piece(self.position, bytes.len());
            let hold = faults.hold(length);
            if !hold.is_zero() {
                tokio::select! {
                    // Other faults now: the piece is planned again.
                    _ = self.faults.changed() => continue,
                    () = tokio::time::sleep(hold) => {}
                }
            }
            let (piece, rest) = bytes.split_at_mut(length);
            faults.corrupt(self.position, piece);
            if faults.flow == Flow::Forward {
                self.to.write_all(piece).await.map_err(|_| Ending::Reset)?;
                self.forwarded.send_modify(|forwarded| *forwarded += length as u64);
            }
            self.position += length as u64;
            bytes = rest;
        }
        Ok(())
    }
}
