//! The records of one connection, on its socket ([`Session`]).
//!
//! Callers write in place, from any task and without a waker, while the driver reads. So the two halves share the state
//! of rustls behind a lock, and the socket is asked what it takes or has now, as a plain one is.

use std::io::{self, BufRead, IoSlice, Read, Write};
use std::net::Shutdown;
use std::task::{Context, Poll, ready};

use parking_lot::Mutex;
use rustls::Connection;
use socket2::SockRef;
use tokio::io::ReadBuf;
use tokio::net::TcpStream;

/// One TLS connection.
#[derive(Debug)]
pub(crate) struct Session {
    stream: TcpStream,
    records: Mutex<Records>,
}

#[derive(Debug)]
struct Records {
    tls: Connection,
    /// Bytes of the writer that are in records which the socket has not taken whole. The writer is told that they are
    /// written once it has, so that nothing is thought written that lies here.
    owed: usize,
    /// Bytes of records that the socket took so far.
    sent: u64,
}

impl Session {
    pub(super) fn new(stream: TcpStream, tls: impl Into<Connection>) -> Self {
        Self { stream, records: Mutex::new(Records { tls: tls.into(), owed: 0, sent: 0 }) }
    }

    /// Says and hears what comes before the first byte of the protocol inside.
    ///
    /// # Cancel safety
    /// May be dropped and called again at any time.
    pub(super) async fn handshake(&self) -> io::Result<()> {
        std::future::poll_fn(|cx| self.poll_handshake(cx)).await
    }

    fn poll_handshake(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut records = self.records.lock();
        loop {
            match records.send(&self.stream) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready!(self.stream.poll_write_ready(cx))?;
                    continue;
                }
                sent => sent?,
            }
            if !records.tls.is_handshaking() {
                return Poll::Ready(Ok(()));
            }
            if ready!(self.poll_records(&mut records, cx))? == 0 {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
        }
    }

    /// Takes in what one read of the socket brings; 0 is its end.
    fn poll_records(&self, records: &mut Records, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        loop {
            match records.tls.read_tls(&mut Now(&self.stream)) {
                Ok(0) => return Poll::Ready(Ok(0)),
                Ok(read) => {
                    records.open(&self.stream)?;
                    return Poll::Ready(Ok(read));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready!(self.stream.poll_read_ready(cx))?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// Whether both sides agreed to speak this inside.
    pub(super) fn has_alpn(&self, alpn: &[u8]) -> bool {
        self.records.lock().tls.alpn_protocol() == Some(alpn)
    }

    /// What `look` makes of the certificate that the other side has shown, if it has.
    pub(super) fn peer_certificate<T>(&self, look: impl FnOnce(&[u8]) -> T) -> Option<T> {
        let records = self.records.lock();
        records.tls.peer_certificates().and_then(<[_]>::first).map(|certificate| look(certificate))
    }

    pub(crate) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// The end of the stream, with or without the notice of TLS, is an end like any other: the protocol inside has end
    /// marks of its own, and a peer that is killed gives no notice.
    pub(crate) fn poll_read(&self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut records = self.records.lock();
        while !records.take(buf)? && ready!(self.poll_records(&mut records, cx))? > 0 {}
        Poll::Ready(Ok(()))
    }

    /// Writes what the socket takes now. What was begun is told to be written by a later call with the same bytes.
    pub(crate) fn try_write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut records = self.records.lock();
        records.send(&self.stream)?;
        if records.owed == 0 {
            records.owed = records.tls.writer().write_vectored(slices)?;
            records.send(&self.stream)?;
        }
        Ok(std::mem::take(&mut records.owed))
    }

    pub(crate) fn poll_write(&self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            match self.try_write_vectored(&[IoSlice::new(buf)]) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready!(self.stream.poll_write_ready(cx))?,
                written => return Poll::Ready(written),
            }
        }
    }

    /// Bytes of records that the socket took so far: what tells a slow peer from one that takes nothing.
    pub(crate) fn sent(&self) -> u64 {
        self.records.lock().sent
    }

    /// Tells the other side that nothing more comes.
    pub(crate) fn finish(&self) {
        let mut records = self.records.lock();
        records.tls.send_close_notify();
        if let Err(error) = records.send(&self.stream) {
            tracing::trace!(%error, "the end was not announced");
        }
        drop(records);
        if let Err(error) = SockRef::from(&self.stream).shutdown(Shutdown::Write) {
            tracing::trace!(%error, "the socket was closed already");
        }
    }
}

impl Records {
    /// Copies what was deciphered; true at the end of the stream as well.
    fn take(&mut self, buf: &mut ReadBuf<'_>) -> io::Result<bool> {
        let mut taken = false;
        while buf.remaining() > 0 {
            let mut reader = self.tls.reader();
            let chunk = match reader.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(taken),
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(true),
                chunk => chunk?,
            };
            if chunk.is_empty() {
                return Ok(true);
            }
            let fits = chunk.len().min(buf.remaining());
            buf.put_slice(&chunk[..fits]);
            reader.consume(fits);
            taken = true;
        }
        Ok(true)
    }

    /// Deciphers what was read. The other side is told what is wrong with it, if the socket takes that.
    fn open(&mut self, stream: &TcpStream) -> io::Result<()> {
        let opened = self.tls.process_new_packets();
        match self.send(stream) {
            // What there is to say beside the data goes with the next write.
            Err(error) if opened.is_ok() && error.kind() != io::ErrorKind::WouldBlock => return Err(error),
            _ => {}
        }
        opened.map(drop).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }

    /// Hands all records to the socket; `WouldBlock` if it does not take all of them now.
    fn send(&mut self, stream: &TcpStream) -> io::Result<()> {
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut Now(stream)) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(sent) => self.sent += sent as u64,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// What the socket has or takes at this moment.
struct Now<'a>(&'a TcpStream);

impl Read for Now<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(buf)
    }
}

impl Write for Now<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.try_write(buf)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use plane_testkit::Authority;
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;

    use super::*;
    use crate::config::{ClientConfig, Listen, ServerConfig};
    use crate::socket::Socket;
    use crate::tls::{TlsClientConfig, TlsIdentity, TlsServerConfig};

    /// Both ends of a connection, which holds little that was not read.
    async fn pair() -> (Session, Session) {
        let authority = Authority::new();
        let files = authority.sign("127.0.0.1");
        let tls = TlsServerConfig::new(TlsIdentity::new(files.certificate, files.key));
        let bind = Listen::Tcp { bind: (Ipv4Addr::LOCALHOST, 0).into(), advertise: None };
        let server = ServerConfig::new(bind).tls(tls).unwrap().tls.unwrap();
        let client = ClientConfig::default().tls(TlsClientConfig::new(authority.roots())).unwrap().tls.unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let dialled = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (accepted, _) = listener.accept().await.unwrap();
        SockRef::from(&dialled).set_send_buffer_size(4 << 10).unwrap();
        SockRef::from(&accepted).set_recv_buffer_size(4 << 10).unwrap();
        let (dialled, accepted) = tokio::join!(client.connect("127.0.0.1", dialled), server.accept(accepted));
        (dialled.unwrap(), accepted.unwrap().0)
    }

    /// What the socket does not take at once is not told to be written; what it takes meanwhile shows; and all of it
    /// comes once and in order.
    #[tokio::test]
    async fn what_was_begun_is_told_when_it_is_whole() {
        let (writer, reader) = pair().await;
        let mut reader = Socket::Tls(reader.into());
        let bytes: Vec<u8> = (0..200_000_u32).map(|n| n.to_le_bytes()[0] ^ n.to_le_bytes()[1]).collect();
        let mut progress = 0;
        let writing = async {
            let mut told = 0;
            while told < bytes.len() {
                let before = writer.sent();
                match writer.try_write_vectored(&[IoSlice::new(&bytes[told..])]) {
                    Ok(written) => told += written,
                    Err(error) => {
                        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                        progress += usize::from(writer.sent() > before);
                        writer.stream().writable().await.unwrap();
                    }
                }
            }
        };
        let mut came = vec![0; bytes.len()];
        let reading = async { reader.read_exact(&mut came).await.unwrap() };
        tokio::join!(writing, reading);
        assert!(came == bytes);
        assert!(progress > 0, "no write was seen to go on in parts");
    }
}
