//! One run of the server's program, ready to be connected to.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::Mutex;

/// How many lines of the server's log are kept for the message of a failure.
const KEPT_LINES: usize = 50;

/// A running server. Dropping it kills it and waits for its end.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    port: u16,
    log: Arc<Mutex<VecDeque<String>>>,
    reader: Option<JoinHandle<()>>,
}

impl Process {
    /// Starts the program and waits until it says that it is ready.
    pub(super) fn start(command: &mut Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let mut lines = BufReader::new(child.stderr.take().expect("piped above"));
        let mut seen = VecDeque::new();
        let port = match wait_until_ready(&mut lines, &mut seen) {
            Some(port) => port,
            None => {
                // It may have closed its log and still run.
                let _ = child.kill();
                let ended = child.wait();
                panic!("nats-server ended before it was ready ({ended:?}): {seen:#?}");
            }
        };
        let log = Arc::new(Mutex::new(seen));
        let kept = log.clone();
        // A full pipe would hold the server up.
        let reader = std::thread::spawn(move || {
            let mut line = String::new();
            while lines.read_line(&mut line).is_ok_and(|read| read > 0) {
                keep(&mut kept.lock(), std::mem::take(&mut line));
            }
        });
        Self { child, port, log, reader: Some(reader) }
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The last lines of its log.
    pub(super) fn log(&self) -> Vec<String> {
        self.log.lock().iter().cloned().collect()
    }

    /// Waits for an end that was asked for.
    pub(super) fn wait(&mut self) {
        // One that has ended already is what is wanted.
        let _ = self.child.wait();
    }
}

/// Reads the log up to the line that says so, and the port on the way there. `None` if the log ends first.
fn wait_until_ready(lines: &mut BufReader<ChildStderr>, seen: &mut VecDeque<String>) -> Option<u16> {
    let mut port = None;
    loop {
        let mut line = String::new();
        if lines.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if let Some((_, address)) = line.split_once("Listening for client connections on ") {
            port = address.trim().rsplit_once(':').and_then(|(_, port)| port.parse().ok());
        }
        let is_ready = line.contains("Server is ready");
        keep(seen, line);
        if is_ready {
            return port;
        }
    }
}

fn keep(log: &mut VecDeque<String>, line: String) {
    if log.len() == KEPT_LINES {
        log.pop_front();
    }
    log.push_back(line);
}

impl Drop for Process {
    fn drop(&mut self) {
        // Also ends one that is frozen; one that has ended already is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}
