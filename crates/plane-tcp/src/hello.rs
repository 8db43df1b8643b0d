//! The first bytes of a connection: preface and HELLO, or a guess at what the other side is.

use std::io;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use plane_core::frame::{Decoder, Frame, FrameError, FrameLimits, GoAway, Hello, PREFACE, encode_go_away};
use plane_core::{Code, ErrorKind, Refusal};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::config::ConnectionConfig;
use crate::failure::Failure;
use crate::proto::Settings;
use crate::socket::Socket;
use crate::stranger::{Speaker, begins_tls, is_tls_alert, looks_like};

/// A HELLO is small; a peer that has not finished it by then will not.
const MAX_HELLO: usize = 4 * 1024;

impl ConnectionConfig {
    /// What this side says of itself.
    pub(crate) fn hello(&self) -> Hello {
        Hello {
            max_message: self.max_message as u64,
            max_frame: u32::try_from(self.max_frame).unwrap_or(u32::MAX),
            credit: self.credit,
            max_calls: self.max_calls,
            keepalive: self.keepalive_interval,
            agent: self.agent.clone(),
            ..Hello::default()
        }
    }

    /// What one connection is set to. `queue` is how many requests may be queued on it before it counts as full.
    pub(crate) fn settings(&self, idle_timeout: Duration, queue: u64) -> Settings {
        Settings {
            max_message: self.max_message,
            credit: self.credit,
            unwritten: self.unwritten,
            large_messages: self.large_messages,
            max_calls: self.max_calls,
            headers: self.headers,
            keepalive_interval: self.keepalive_interval,
            keepalive_timeout: self.keepalive_timeout,
            idle_timeout,
            abuse: self.abuse,
            queue,
        }
    }

    /// What this side takes.
    pub(crate) fn frame_limits(&self) -> FrameLimits {
        FrameLimits { max_frame: self.max_frame, headers: self.headers }
    }
}

/// Exchanges the hellos; ends with what the other side said and a decoder that may hold bytes behind it.
///
/// A dialler speaks first; a listener answers once it has recognised the other side, so that a stranger gets no bytes
/// that it might take for its own protocol.
pub(crate) async fn exchange(
    socket: &mut Socket,
    config: &ConnectionConfig,
    speaker: Speaker,
) -> Result<(Hello, Decoder), Failure> {
    let mut ours = BytesMut::new();
    config.hello().encode(&mut ours);
    if speaker == Speaker::Dialler {
        socket.write_all(&ours).await.map_err(|error| lost(&error, speaker))?;
    }
    let theirs = match read_hello(socket, config, speaker).await {
        // The other side speaks this protocol, but not so that this side understands: it is told both, then closed.
        Err(failure) if speaker == Speaker::Listener && failure.tell.is_some() => {
            refuse(&mut ours, &failure);
            socket.write_all(&ours).await.map_err(|error| lost(&error, speaker))?;
            return Err(failure);
        }
        theirs => theirs?,
    };
    if speaker == Speaker::Listener {
        socket.write_all(&ours).await.map_err(|error| lost(&error, speaker))?;
    }
    Ok(theirs)
}

/// Appends a GOAWAY that says why.
fn refuse(out: &mut BytesMut, failure: &Failure) {
    let code = failure.tell.unwrap_or(Code::PROTOCOL);
    encode_go_away(out, &GoAway { last_call: 0, code, grace: Duration::ZERO, text: failure.text.clone() });
}

async fn read_hello(
    socket: &mut Socket,
    config: &ConnectionConfig,
    speaker: Speaker,
) -> Result<(Hello, Decoder), Failure> {
    let preface = read_preface(socket, speaker).await?;
    let limits = FrameLimits { max_frame: MAX_HELLO, ..config.frame_limits() };
    let mut decoder = Decoder::new(limits, 0);
    decoder.extend(&preface);
    loop {
        if let Some(mut frames) = decoder.frames()? {
            let first = frames.next(|frame| match frame {
                Frame::Hello(hello) => Ok(hello),
                _ => Err(Failure::violation(Code::PROTOCOL, "the first frame is not a HELLO")),
            });
            let hello = first.ok_or_else(closed)???;
            // What came behind the HELLO goes to a decoder with the connection's own limits.
            let mut rest = Decoder::new(config.frame_limits(), config.shrink_message);
            rest.extend(frames.rest());
            rest.extend(decoder.buffer());
            return Ok((hello, rest));
        }
        let buffer = decoder.buffer();
        if socket.read_buf(buffer).await.map_err(|error| lost(&error, speaker))? == 0 {
            return Err(closed());
        }
    }
}

/// Reads until the preface is there or cannot come any more; gives back what came behind it.
async fn read_preface(socket: &mut Socket, speaker: Speaker) -> Result<BytesMut, Failure> {
    let mut buffer = BytesMut::with_capacity(1024);
    loop {
        let known = buffer.len().min(PREFACE.len());
        if buffer[..known] != PREFACE[..known] {
            if speaker == Speaker::Listener && begins_tls(&buffer) {
                answer_tls(socket).await;
            }
            return Err(stranger(&buffer, speaker));
        }
        if known == PREFACE.len() {
            buffer.advance(PREFACE.len());
            return Ok(buffer);
        }
        if socket.read_buf(&mut buffer).await.map_err(|error| lost(&error, speaker))? == 0 {
            return Err(closed());
        }
    }
}

/// To whoever begins with TLS here: the preface is no TLS, so it knows for certain that this port is a plain one.
async fn answer_tls(socket: &mut Socket) {
    // It may be gone already.
    if socket.write_all(&PREFACE).await.is_ok() {
        socket.linger().await;
    }
}

/// A server that takes only clients with a certificate may say so as late as here.
fn lost(error: &io::Error, speaker: Speaker) -> Failure {
    #[cfg(feature = "tls")]
    if let Some(failure) = crate::tls::explain(error, speaker) {
        return failure;
    }
    #[cfg(not(feature = "tls"))]
    let _ = speaker;
    Failure::new(ErrorKind::Unavailable, format!("the connection was lost during the hello: {error}"))
}

fn closed() -> Failure {
    Failure::new(ErrorKind::Unavailable, "the other side closed the connection during the hello")
}

/// Another version of this protocol, or another protocol altogether.
fn stranger(bytes: &[u8], speaker: Speaker) -> Failure {
    if bytes.len() >= PREFACE.len() && bytes[..7] == PREFACE[..7] {
        let error = FrameError::Version { ours: 1, theirs_min: u16::from(bytes[7]), theirs_max: u16::from(bytes[7]) };
        return error.into();
    }
    let looks_like = looks_like(bytes);
    let text = match speaker {
        Speaker::Dialler if is_tls_alert(bytes) => "the server expects TLS: its address begins with tls://, and \
                                                    DYN_TCP_TLS_CA says which servers to trust"
            .to_owned(),
        Speaker::Listener => format!("the peer does not speak plane/1; it looks like {looks_like}"),
        Speaker::Dialler => format!(
            "the server does not speak plane/1; it looks like {looks_like}. Check the address and DYN_REQUEST_PLANE"
        ),
    };
    Failure::new(ErrorKind::Protocol, text).because(Refusal::Stranger)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_version_is_named() {
        let failure = stranger(b"PLANE\0\0\x02", Speaker::Dialler);
        assert!(failure.text.contains("version 1") && failure.text.contains('2'), "{}", failure.text);
    }
}
