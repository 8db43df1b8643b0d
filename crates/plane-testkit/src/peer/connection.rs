//! What is sent and expected on one connection.

use bytes::{Buf, Bytes, BytesMut};
use plane_core::frame::{
    Decoder, End, Flags, Frame, FrameLimits, Frames, GoAway, Hello, OpenFields, PREFACE, encode_end,
    encode_message_head, encode_open, encode_pong,
};
use plane_core::{Address, EndpointId, Headers};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::seen::Seen;
use super::within_patience;

/// One side of a connection that a test plays. Its methods panic when something else comes than is expected.
#[derive(Debug)]
pub struct Peer {
    stream: TcpStream,
    decoder: Decoder,
    frames: Option<Frames>,
}

impl Peer {
    pub(super) fn new(stream: TcpStream) -> Self {
        // A frame of a test leaves when the test says so.
        stream.set_nodelay(true).expect("a socket option");
        let decoder = Decoder::new(FrameLimits::default(), 0);
        Self { stream, decoder, frames: None }
    }

    /// Connects without a word, and without TLS whatever the address says.
    ///
    /// # Panics
    /// If nobody listens, or not on TCP.
    pub async fn connect(address: &Address) -> Self {
        let (Address::Tcp { host, port } | Address::Tls { host, port }) = address else {
            panic!("not a TCP address: {address}")
        };
        let connected = within_patience("a connection", TcpStream::connect((&**host, *port))).await;
        Self::new(connected.expect("a listener"))
    }

    /// Connects and exchanges hellos.
    ///
    /// # Panics
    /// If nobody listens, or not to this protocol.
    pub async fn dial(address: &Address) -> Self {
        Self::dial_with(address, &Hello::default()).await
    }

    /// Connects and exchanges hellos, with this said of the peer.
    ///
    /// # Panics
    /// If nobody listens, or not to this protocol.
    pub async fn dial_with(address: &Address, hello: &Hello) -> Self {
        let mut peer = Self::connect(address).await;
        peer.send(|out| hello.encode(out)).await;
        peer.expect_hello().await;
        peer
    }

    /// Sends any bytes.
    ///
    /// # Panics
    /// If the connection is gone.
    pub async fn send_bytes(&mut self, bytes: &[u8]) {
        assert!(self.try_send_bytes(bytes).await, "the connection is gone");
    }

    /// Sends any bytes to somebody who may have closed by now; false if so.
    ///
    /// # Panics
    /// If the other side neither reads nor closes.
    pub async fn try_send_bytes(&mut self, bytes: &[u8]) -> bool {
        within_patience("the other side to read", self.stream.write_all(bytes)).await.is_ok()
    }

    /// Takes in what has come, without waiting for more: whoever sends a lot and reads nothing leaves the other side no
    /// room for its last words.
    pub fn take_in(&mut self) {
        while let Ok(1..) = self.stream.try_read_buf(self.decoder.buffer()) {}
    }

    /// Sends what `encode` appends: the functions of [`plane_core::frame`].
    ///
    /// # Panics
    /// If the connection is gone.
    pub async fn send(&mut self, encode: impl FnOnce(&mut BytesMut)) {
        let mut out = BytesMut::new();
        encode(&mut out);
        self.send_bytes(&out).await;
    }

    /// Starts a call without headers and deadline.
    ///
    /// # Panics
    /// If the connection is gone.
    pub async fn open(&mut self, call: u64, endpoint: &EndpointId, flags: Flags, message: &[u8]) {
        self.send(|out| Self::write_open(out, call, endpoint, flags, message)).await;
    }

    /// Appends the OPEN that [`open`](Self::open) sends, to send many at once.
    pub fn write_open(out: &mut BytesMut, call: u64, endpoint: &EndpointId, flags: Flags, message: &[u8]) {
        let headers = Headers::new();
        let fields = OpenFields { endpoint, instance: None, timeout: None, headers: &headers };
        encode_open(out, call, flags, &fields, message.len());
        out.extend_from_slice(message);
    }

    /// Sends a message or a chunk of one.
    ///
    /// # Panics
    /// If the connection is gone.
    pub async fn message(&mut self, call: u64, flags: Flags, message: &[u8]) {
        self.send(|out| {
            encode_message_head(out, call, flags, message.len());
            out.extend_from_slice(message);
        })
        .await;
    }

    /// Ends this side's direction in order after `count` messages.
    ///
    /// # Panics
    /// If the connection is gone.
    pub async fn end(&mut self, call: u64, count: u64) {
        self.send(|out| encode_end(out, call, Flags::NONE, count, None, None)).await;
    }

    /// Closes this side's half.
    ///
    /// # Panics
    /// If the connection is gone.
    pub async fn half_close(&mut self) {
        self.stream.shutdown().await.expect("an open connection");
    }

    /// Closes with a reset.
    ///
    /// # Panics
    /// Never on a socket that is open.
    pub fn reset(self) {
        socket2::SockRef::from(&self.stream).set_linger(Some(std::time::Duration::ZERO)).expect("a socket option");
    }

    /// The other side's preface and HELLO.
    ///
    /// # Panics
    /// If something else comes first.
    pub async fn expect_hello(&mut self) -> Hello {
        let mut preface = [0; PREFACE.len()];
        within_patience("the preface", self.stream.read_exact(&mut preface)).await.expect("the preface");
        assert_eq!(preface, PREFACE);
        let hello = |frame: Frame<'_>| match frame {
            Frame::Hello(hello) => hello,
            other => panic!("not a HELLO: {other:?}"),
        };
        self.read_with(hello).await.expect("a HELLO before the end")
    }

    /// The next frame but PING, which is answered; `None` once the other side has closed.
    ///
    /// # Panics
    /// If nothing comes.
    pub async fn next(&mut self) -> Option<Seen> {
        // Pings must not prolong the wait.
        within_patience("a frame", self.next_but_ping()).await
    }

    async fn next_but_ping(&mut self) -> Option<Seen> {
        loop {
            let read = self.read_with(|frame| match frame {
                Frame::Ping(opaque) => Err(opaque),
                frame => Ok(Seen::from(frame)),
            });
            match read.await? {
                Ok(seen) => return Some(seen),
                Err(opaque) => {
                    let mut pong = BytesMut::new();
                    encode_pong(&mut pong, opaque);
                    // Who asks may be gone by now; what it sent before is still to be read.
                    self.try_send_bytes(&pong).await;
                }
            }
        }
    }

    /// The next frame that is no PING, ACCEPT or CREDIT.
    ///
    /// # Panics
    /// If nothing comes, or the end.
    pub async fn expect(&mut self) -> Seen {
        loop {
            match self.next().await.expect("a frame before the end") {
                Seen::Accept { .. } | Seen::Credit { .. } => {}
                seen => return seen,
            }
        }
    }

    /// A message or chunk of this call, whether HEADERS come before it or not.
    ///
    /// # Panics
    /// If something else comes.
    pub async fn expect_message(&mut self, call: u64) -> (Flags, Bytes) {
        loop {
            match self.expect().await {
                Seen::Headers { call: found, headers: Ok(_) } if found == call => {}
                Seen::Message { call: found, flags, payload } if found == call => return (flags, payload),
                other => panic!("not a MESSAGE of call {call}: {other:?}"),
            }
        }
    }

    /// The end of this call, and whether no handler was started.
    ///
    /// # Panics
    /// If something else comes.
    pub async fn expect_end(&mut self, call: u64) -> (bool, End) {
        match self.expect().await {
            Seen::End { call: found, not_executed, end } if found == call => (not_executed, end),
            other => panic!("not the END of call {call}: {other:?}"),
        }
    }

    /// A call: its id, flags and first message.
    ///
    /// # Panics
    /// If something else comes.
    pub async fn expect_open(&mut self) -> (u64, Flags, Bytes) {
        match self.expect().await {
            Seen::Open { call, flags, payload, open: Ok(_) } => (call, flags, payload),
            other => panic!("not an OPEN: {other:?}"),
        }
    }

    /// A GOAWAY, whatever frames of calls come before it.
    ///
    /// # Panics
    /// If none comes before the end.
    pub async fn expect_go_away(&mut self) -> GoAway {
        loop {
            if let Seen::GoAway(go_away) = self.next().await.expect("a GOAWAY before the end") {
                return go_away;
            }
        }
    }

    /// The end of the connection, whatever comes before it.
    ///
    /// # Panics
    /// If it does not come.
    pub async fn expect_closed(&mut self) {
        while self.next().await.is_some() {}
    }

    /// The end of the connection, and not a byte before it.
    ///
    /// # Panics
    /// If it does not come, or a byte does.
    pub async fn expect_closed_without_a_word(&mut self) {
        self.expect_closed_after(b"").await;
    }

    /// These bytes, frames or not, and the end of the connection right behind them.
    ///
    /// # Panics
    /// If the end does not come, or other bytes do.
    pub async fn expect_closed_after(&mut self, last: &[u8]) {
        let mut bytes = Vec::new();
        // A reset is an end as well.
        let _ = within_patience("the end of the connection", self.stream.read_to_end(&mut bytes)).await;
        assert!(bytes == last, "these bytes came: {}", bytes.escape_ascii());
    }

    async fn read_with<T>(&mut self, look: impl FnOnce(Frame<'_>) -> T) -> Option<T> {
        loop {
            if let Some(frames) = &mut self.frames {
                if frames.rest().has_remaining() {
                    return frames.next(look).map(|frame| frame.expect("a correct frame"));
                }
                self.frames = None;
            }
            self.frames = self.decoder.frames().expect("correct frames");
            if self.frames.is_some() {
                continue;
            }
            let read = self.stream.read_buf(self.decoder.buffer());
            match within_patience("bytes of the other side", read).await {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }
}
