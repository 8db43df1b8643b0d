//! Standard error, whatever is behind it: a disk that is full, a pipe that nobody reads, nothing at all. What is said there
//! is never worth a panic, nor a wait of those who serve.

use std::fmt::Display;
use std::io::{self, Write};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

/// Lines that may wait to be written; more are dropped.
const WAITING: usize = 4_096;

/// What the end of the program waits for what was said.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Says a line on standard error.
pub(crate) fn say(line: impl Display) {
    let line = format!("{line}\n");
    // Whoever is held up by it is this thread alone.
    std::thread::spawn(move || write(line.as_bytes()));
}

/// The same before the program ends; waits for it, but not for long.
pub fn say_last(line: impl Display) {
    let line = format!("{line}\n");
    let (done, written) = sync_channel(1);
    std::thread::spawn(move || {
        write(line.as_bytes());
        // Nobody may wait any more.
        let _ = done.try_send(());
    });
    let _ = written.recv_timeout(LAST_WORDS);
}

fn write(bytes: &[u8]) {
    // There is no other place to tell of it.
    let _ = io::stderr().write_all(bytes);
}

/// Log lines, written by a thread of their own. Dropping it waits for those that wait, but not for long.
#[derive(Debug)]
pub(crate) struct LogLines {
    sender: SyncSender<Line>,
}

#[derive(Debug)]
enum Line {
    Text(Vec<u8>),
    /// Everything before it was written.
    Mark(SyncSender<()>),
}

impl LogLines {
    pub(crate) fn start() -> (Self, LogWriter) {
        let (sender, lines) = sync_channel(WAITING);
        // Ends with the last sender, or with the program.
        std::thread::spawn(move || {
            for line in lines {
                match line {
                    Line::Text(text) => write(&text),
                    Line::Mark(done) => _ = done.try_send(()),
                }
            }
        });
        (Self { sender: sender.clone() }, LogWriter { sender })
    }
}

impl Drop for LogLines {
    fn drop(&mut self) {
        let (done, written) = sync_channel(1);
        // With a full queue nobody reads standard error, and nobody will.
        if self.sender.try_send(Line::Mark(done)).is_ok() {
            let _ = written.recv_timeout(LAST_WORDS);
        }
    }
}

/// Hands each log line to the thread that writes, or drops it.
#[derive(Debug, Clone)]
pub(crate) struct LogWriter {
    sender: SyncSender<Line>,
}

impl Write for LogWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match self.sender.try_send(Line::Text(line.to_vec())) {
            Ok(()) | Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => Ok(line.len()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for LogWriter {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}
