//! The first bytes of a connection.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

use crate::config::ConnectionConfig;
use crate::fuzzing::input::Input;
use crate::hello::exchange;
use crate::socket::Socket;
use crate::stranger::Speaker;

/// Greets a peer that says these bytes and then no more: preface and hello, or a stranger's.
///
/// # Panics
/// If a greeting is taken that the protocol does not allow, or a stranger is answered.
pub fn greeting(data: &[u8]) {
    let mut input = Input::new(data);
    let speaker = if input.flip() { Speaker::Listener } else { Speaker::Dialler };
    let said = input.rest();
    let (ours, mut theirs) = UnixStream::pair().expect("a pair of sockets");
    // It fits the socket's buffer.
    theirs.write_all(said).and_then(|()| theirs.shutdown(Shutdown::Write)).expect("an open socket");
    ours.set_nonblocking(true).expect("a socket option");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().expect("a runtime");
    let greeted = runtime.block_on(async {
        let mut socket = Socket::Unix(tokio::net::UnixStream::from_std(ours).expect("a runtime"));
        exchange(&mut socket, &ConnectionConfig::default(), speaker).await
    });
    let mut told = Vec::new();
    theirs.read_to_end(&mut told).expect("an open socket");
    match greeted {
        Ok((hello, decoder)) => {
            assert!(hello.max_frame >= 32 << 10 && (1024..=i32::MAX as u32).contains(&hello.credit), "{hello:?}");
            assert!(hello.agent.len() <= 128 && !hello.agent.chars().any(char::is_control), "{hello:?}");
            assert!(decoder.partial() <= said.len());
        }
        Err(failure) => {
            assert!(!failure.text.is_empty() && failure.text.len() < 8 << 10);
            assert!(!failure.text.chars().any(char::is_control), "{:?}", failure.text);
            // What begins like TLS cannot take the preface for anything.
            let untold = speaker == Speaker::Listener && failure.tell.is_none() && said.first() != Some(&0x16);
            assert!(!untold || told.is_empty(), "a stranger got an answer");
        }
    }
}
