//! Bytes on their way to a socket: whatever is left here while the socket is written leaves with the next write.

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::{Buf, BufMut, BytesMut};
use tokio::net::TcpStream;
use tokio::sync::Notify;

/// Bytes of a frame before its payload: the length of what follows, a call's number, and a kind.
pub(crate) const HEAD: usize = 9;

/// One frame, head and all.
pub(crate) fn put_frame(out: &mut BytesMut, id: u32, kind: u8, payload: &[u8]) {
    out.reserve(HEAD + payload.len());
    out.put_u32(u32::try_from(payload.len() + 5).expect("a message of this program is small"));
    out.put_u32(id);
    out.put_u8(kind);
    out.put_slice(payload);
}

/// The next whole frame, if it has come.
pub(crate) fn take_frame(buffer: &mut BytesMut) -> Option<(u32, u8, bytes::Bytes)> {
    let length = u32::from_be_bytes(buffer.get(..4)?.try_into().ok()?) as usize;
    if buffer.len() < 4 + length {
        // Room for all of it at once.
        buffer.reserve(4 + length - buffer.len());
        return None;
    }
    buffer.advance(4);
    let mut frame = buffer.split_to(length).freeze();
    let (id, kind) = (frame.get_u32(), frame.get_u8());
    Some((id, kind, frame))
}

/// What both sides of a bare loop write from.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    waiting: Mutex<BytesMut>,
    bell: Notify,
}

impl Outgoing {
    fn lock(&self) -> MutexGuard<'_, BytesMut> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves a frame for the next write.
    pub(crate) fn push(&self, id: u32, kind: u8, payload: &[u8]) {
        let mut waiting = self.lock();
        let first = waiting.is_empty();
        put_frame(&mut waiting, id, kind, payload);
        drop(waiting);
        if first {
            self.bell.notify_one();
        }
    }

    /// Writes what was left, for as long as the socket lives.
    pub(crate) async fn run(&self, socket: &TcpStream) -> io::Result<()> {
        loop {
            self.bell.notified().await;
            // Whoever can run now leaves its frame first.
            tokio::task::yield_now().await;
            let mut batch = std::mem::take(&mut *self.lock());
            while batch.has_remaining() {
                match socket.try_write(&batch) {
                    Ok(written) => batch.advance(written),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => socket.writable().await?,
                    Err(error) => return Err(error),
                }
            }
        }
    }
}

/// Reads once more into a buffer; false at the end.
pub(crate) async fn read_more(socket: &TcpStream, buffer: &mut BytesMut) -> io::Result<bool> {
    /// What one read asks for at least.
    const READ: usize = 64 * 1024;
    buffer.reserve(READ);
    loop {
        match socket.try_read_buf(buffer) {
            Ok(read) => return Ok(read > 0),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => socket.readable().await?,
            Err(error) => return Err(error),
        }
    }
}
