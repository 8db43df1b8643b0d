//! A bare multiplexed loop over TCP: length-prefixed frames, batched writes, one connection. Nothing bounds memory, ends a
//! call whose caller is gone, or notices a peer that is: the floor under everything that does.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use plane_bench::{Caller, DriveError, Ended, Exchange, Shape, Way, items_asked};
use rustc_hash::FxHashMap;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use crate::outgoing::{Outgoing, put_frame, read_more, take_frame};

const ECHO: u8 = 0;
const READY: u8 = 1;
const PACED: u8 = 2;
const ITEM: u8 = 3;
const LAST: u8 = 4;

/// How a server runs the work of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// Where it was read.
    Inline,
    /// In a task of its own.
    Spawning,
}

/// Serves for ever.
pub(crate) async fn serve(listener: TcpListener, style: Style) -> io::Result<()> {
    loop {
        let (socket, _) = listener.accept().await?;
        socket.set_nodelay(true)?;
        tokio::spawn(async move { converse(Arc::new(socket), style).await });
    }
}

async fn converse(socket: Arc<TcpStream>, style: Style) -> io::Result<()> {
    let outgoing = Arc::new(Outgoing::default());
    let _writer = AbortOnDropHandle::new(tokio::spawn({
        let (outgoing, socket) = (outgoing.clone(), socket.clone());
        async move { outgoing.run(&socket).await }
    }));
    let (mut buffer, mut answers) = (BytesMut::new(), BytesMut::new());
    while read_more(&socket, &mut buffer).await? {
        while let Some((id, kind, payload)) = take_frame(&mut buffer) {
            match (style, kind) {
                (Style::Inline, ECHO) => put_frame(&mut answers, id, LAST, &payload),
                (Style::Inline, READY) => {
                    let (items, item) = asked(payload)?;
                    for left in (0..items).rev() {
                        put_frame(&mut answers, id, if left == 0 { LAST } else { ITEM }, &item);
                    }
                }
                // What gives way cannot run where it was read.
                _ => drop(tokio::spawn(answer(outgoing.clone(), id, kind, payload))),
            }
        }
        while !answers.is_empty() {
            match socket.try_write(&answers) {
                Ok(written) => bytes::Buf::advance(&mut answers, written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => socket.writable().await?,
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}

async fn answer(outgoing: Arc<Outgoing>, id: u32, kind: u8, payload: Bytes) -> io::Result<()> {
    if kind == ECHO {
        outgoing.push(id, LAST, &payload);
        return Ok(());
    }
    let (items, item) = asked(payload)?;
    for left in (0..items).rev() {
        if kind == PACED {
            tokio::task::yield_now().await;
        }
        outgoing.push(id, if left == 0 { LAST } else { ITEM }, &item);
    }
    Ok(())
}

fn asked(payload: Bytes) -> io::Result<(u32, Bytes)> {
    items_asked(payload).map_err(|status| io::Error::other(status.to_string()))
}

type Items = mpsc::Sender<(u8, Bytes)>;

/// The calling side: one connection for all.
#[derive(Debug)]
pub(crate) struct Connection {
    outgoing: Arc<Outgoing>,
    calls: Arc<Mutex<FxHashMap<u32, Items>>>,
    next: AtomicU32,
    _tasks: [AbortOnDropHandle<io::Result<()>>; 2],
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> io::Result<Self> {
        let socket = Arc::new(TcpStream::connect(address).await?);
        socket.set_nodelay(true)?;
        let outgoing = Arc::new(Outgoing::default());
        let calls = Arc::<Mutex<FxHashMap<u32, Items>>>::default();
        let writer = tokio::spawn({
            let (outgoing, socket) = (outgoing.clone(), socket.clone());
            async move { outgoing.run(&socket).await }
        });
        let reader = tokio::spawn(read(socket, calls.clone()));
        let tasks = [writer, reader].map(AbortOnDropHandle::new);
        Ok(Self { outgoing, calls, next: AtomicU32::new(0), _tasks: tasks })
    }
}

async fn read(socket: Arc<TcpStream>, calls: Arc<Mutex<FxHashMap<u32, Items>>>) -> io::Result<()> {
    let mut buffer = BytesMut::new();
    while read_more(&socket, &mut buffer).await? {
        while let Some((id, kind, payload)) = take_frame(&mut buffer) {
            let call = {
                let mut calls = calls.lock().unwrap_or_else(PoisonError::into_inner);
                if kind == LAST { calls.remove(&id) } else { calls.get(&id).cloned() }
            };
            if let Some(call) = call {
                // There is room for all items of a call.
                let _ = call.try_send((kind, payload));
            }
        }
    }
    Ok(())
}

/// Calls of one shape.
#[derive(Debug)]
pub(crate) struct LoopCaller {
    connection: Arc<Connection>,
    exchange: Exchange,
    kind: u8,
}

impl LoopCaller {
    pub(crate) fn new(connection: Arc<Connection>, shape: Shape) -> Self {
        let kind = match shape {
            Shape::Unary { .. } => ECHO,
            Shape::Stream { pace: plane_bench::Pace::Ready, .. } => READY,
            Shape::Stream { pace: plane_bench::Pace::Yielding, .. } => PACED,
        };
        Self { connection, exchange: Exchange::new(shape), kind }
    }
}

impl Caller for LoopCaller {
    const WAY: Way = Way::Bare;

    async fn call(&self, began: Instant) -> Result<Ended, DriveError> {
        let mut seen = self.exchange.begin(began);
        let (items, mut coming) = mpsc::channel(self.exchange.items() as usize);
        let id = self.connection.next.fetch_add(1, Ordering::Relaxed);
        self.connection.calls.lock().unwrap_or_else(PoisonError::into_inner).insert(id, items);
        self.connection.outgoing.push(id, self.kind, self.exchange.message());
        while let Some((kind, item)) = coming.recv().await {
            seen.item(item.len());
            if kind == LAST {
                break;
            }
        }
        seen.end()
    }
}
