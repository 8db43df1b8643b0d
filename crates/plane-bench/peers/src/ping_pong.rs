//! Bare ping-pong over TCP: a connection for each call in flight, and nothing but the message and its length on it.

use std::io;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use bytes::BytesMut;
use plane_bench::{Caller, DriveError, Ended, Exchange, Shape, Way};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Serves for ever.
pub(crate) async fn serve(listener: TcpListener) -> io::Result<()> {
    loop {
        let (socket, _) = listener.accept().await?;
        socket.set_nodelay(true)?;
        tokio::spawn(converse(socket));
    }
}

async fn converse(mut socket: TcpStream) -> io::Result<()> {
    let mut buffer = BytesMut::new();
    loop {
        read_message(&mut socket, &mut buffer).await?;
        socket.write_all(&buffer).await?;
    }
}

/// Reads one message with the four bytes of its length.
async fn read_message(socket: &mut TcpStream, buffer: &mut BytesMut) -> io::Result<()> {
    buffer.clear();
    while buffer.len() < 4 || buffer.len() < 4 + length(buffer) {
        if buffer.len() >= 4 {
            let more = 4 + length(buffer) - buffer.len();
            buffer.reserve(more);
        }
        if socket.read_buf(buffer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(())
}

fn length(buffer: &BytesMut) -> usize {
    buffer.first_chunk::<4>().map_or(0, |length| u32::from_be_bytes(*length) as usize)
}

/// Unary calls; each takes a connection of its own while it lasts.
#[derive(Debug)]
pub(crate) struct PingPongCaller {
    address: SocketAddr,
    exchange: Exchange,
    idle: Mutex<Vec<(TcpStream, BytesMut)>>,
}

impl PingPongCaller {
    pub(crate) fn new(address: SocketAddr, shape: Shape) -> Self {
        Self { address, exchange: Exchange::new(shape), idle: Mutex::default() }
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<(TcpStream, BytesMut)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn exchange(&self, began: Instant) -> io::Result<Result<Ended, DriveError>> {
        let mut seen = self.exchange.begin(began);
        let kept = self.idle().pop();
        let (mut socket, mut buffer) = match kept {
            Some(kept) => kept,
            None => {
                let socket = TcpStream::connect(self.address).await?;
                socket.set_nodelay(true)?;
                (socket, BytesMut::new())
            }
        };
        let message = self.exchange.message();
        buffer.clear();
        let length = u32::try_from(message.len()).map_err(io::Error::other)?;
        buffer.extend_from_slice(&length.to_be_bytes());
        buffer.extend_from_slice(message);
        socket.write_all(&buffer).await?;
        read_message(&mut socket, &mut buffer).await?;
        seen.item(buffer.len() - 4);
        self.idle().push((socket, buffer));
        Ok(seen.end())
    }
}

impl Caller for PingPongCaller {
    const WAY: Way = Way::Bare;

    async fn call(&self, began: Instant) -> Result<Ended, DriveError> {
        self.exchange(began).await.map_err(|error| DriveError::Bare(error.into()))?
    }
}
