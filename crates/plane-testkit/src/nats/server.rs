//! A server that can be frozen, killed and started again at the same place.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use tempfile::TempDir;

use super::binary;
use super::process::Process;

/// How a [`NatsServer`] is set up.
#[derive(Debug, Clone, Default)]
pub struct NatsServerOptions {
    /// The largest payload with its headers, in bytes; the server's own default (1 MiB) if `None`.
    pub max_payload: Option<usize>,
    /// Whether the server has no JetStream.
    pub without_jetstream: bool,
    /// More lines of the server's configuration file, for example users and their permissions.
    pub configuration: String,
}

/// A real NATS server on a free port of the loopback interface, with JetStream in a directory of its own.
///
/// It is ready as soon as it is made. Dropping it kills it and removes the directory.
#[derive(Debug)]
pub struct NatsServer {
    program: PathBuf,
    options: NatsServerOptions,
    directory: TempDir,
    port: u16,
    process: Option<Process>,
}

impl NatsServer {
    /// A server with default options.
    ///
    /// # Panics
    /// If there is no program to run, saying how to get one, or if it does not become ready, with its log.
    #[must_use]
    pub fn start() -> Self {
        Self::with(NatsServerOptions::default())
    }

    /// A server with these options.
    ///
    /// # Panics
    /// As [`start`](Self::start).
    #[must_use]
    pub fn with(options: NatsServerOptions) -> Self {
        let directory = tempfile::tempdir().expect("a directory for the server's files");
        let mut server = Self { program: binary::find(), options, directory, port: 0, process: None };
        server.run();
        server
    }

    /// The port it listens on, the same after every restart.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where clients connect to.
    #[must_use]
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Where other servers of its cluster connect to. It is said after the server is ready for clients; a server that is in
    /// no cluster never says it.
    pub async fn cluster_port(&self) -> u16 {
        loop {
            let log = self.log();
            let mut lines = log.iter().filter(|line| line.contains("Listening for route connections on "));
            if let Some(port) = lines.next().and_then(|line| line.trim().rsplit_once(':')?.1.parse().ok()) {
                return port;
            }
            tokio::task::yield_now().await;
        }
    }

    /// The last lines of its log; empty while it does not run.
    #[must_use]
    pub fn log(&self) -> Vec<String> {
        self.process.as_ref().map(Process::log).unwrap_or_default()
    }

    /// Stops every thread of the server, and waits until they have stopped: connections stay open and nothing answers.
    ///
    /// # Panics
    /// If the server does not run.
    pub fn freeze(&self) {
        let id = self.signal(Signal::STOP);
        waitpid(Some(id), WaitOptions::UNTRACED).expect("the server is a child of this process");
    }

    /// Lets a frozen server go on.
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// Asks the server to shut down the gentle way: it takes no new connections, says so, and closes the others one by
    /// one.
    pub fn start_lame_duck_mode(&self) {
        self.signal(Signal::USR2);
    }

    /// Asks the server to end in order, and waits for its end.
    pub fn stop(&mut self) {
        self.signal(Signal::TERM);
        if let Some(process) = &mut self.process {
            process.wait();
        }
        self.process = None;
    }

    /// Ends the server at once, as a crash does.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Starts the server again at the same port with the same files; one that still runs is killed first.
    ///
    /// # Panics
    /// If it does not become ready, with its log.
    pub fn restart(&mut self) {
        self.kill();
        self.run();
    }

    /// Starts the server again at the same port without anything that it had stored.
    ///
    /// # Panics
    /// As [`restart`](Self::restart).
    pub fn restart_empty(&mut self) {
        self.kill();
        match std::fs::remove_dir_all(self.store()) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => panic!("cannot remove the store: {error}"),
            _ => self.run(),
        }
    }

    /// Starts the server again with another largest payload, in bytes.
    ///
    /// # Panics
    /// As [`restart`](Self::restart).
    pub fn restart_with_max_payload(&mut self, bytes: usize) {
        self.options.max_payload = Some(bytes);
        self.restart();
    }

    /// Starts the server again with other lines in its configuration file, for example another password.
    ///
    /// # Panics
    /// As [`restart`](Self::restart).
    pub fn restart_with_configuration(&mut self, configuration: &str) {
        configuration.clone_into(&mut self.options.configuration);
        self.restart();
    }

    fn run(&mut self) {
        let path = self.directory.path().join("nats.conf");
        std::fs::write(&path, self.configuration()).expect("the server's configuration can be written");
        let process = Process::start(Command::new(&self.program).arg("--config").arg(&path));
        self.port = process.port();
        self.process = Some(process);
    }

    fn configuration(&self) -> String {
        // The first time the server picks a free port itself; nobody else can take it in between.
        let port = if self.port == 0 { -1 } else { i32::from(self.port) };
        let mut text = format!("listen: \"127.0.0.1:{port}\"\n");
        if !self.options.without_jetstream {
            let _ = writeln!(text, "jetstream {{ store_dir: {:?} }}", self.store());
        }
        if let Some(bytes) = self.options.max_payload {
            let _ = writeln!(text, "max_payload: {bytes}");
        }
        text.push_str(&self.options.configuration);
        text
    }

    fn store(&self) -> PathBuf {
        self.directory.path().join("jetstream")
    }

    fn signal(&self, signal: Signal) -> Pid {
        let id = self.process.as_ref().and_then(|process| i32::try_from(process.id()).ok()).and_then(Pid::from_raw);
        let id = id.expect("the server runs");
        kill_process(id, signal).expect("the server is a child of this process");
        id
    }
}
