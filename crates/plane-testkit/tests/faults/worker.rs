//! A server that is a process of its own: it can be frozen, killed and asked to end.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use plane_core::Address;
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use tokio::sync::mpsc;

use crate::handlers::serve;
use crate::world::Setup;

/// What this program is started with to be a worker.
pub(crate) const FLAG: &str = "--worker";

/// A worker process. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Worker {
    child: Child,
    pub(crate) address: Address,
}

impl Worker {
    /// One that is ready: `nats` is where NATS is, if calls go through it; `port` 0 is any.
    pub(crate) fn start(setup: Setup, nats: Option<&str>, port: u16) -> Self {
        Self::under("exec \"$@\"", setup, nats, port)
    }

    /// The same, started by a line of shell that ends with `exec "$@"`: what it sets before holds for the worker.
    pub(crate) fn under(line: &str, setup: Setup, nats: Option<&str>, port: u16) -> Self {
        let program = std::env::current_exe().expect("the path of this program");
        let (interval, timeout) = setup.keepalive;
        let keepalive = [interval, timeout].map(|time| time.as_millis().to_string());
        let mut command = Command::new("sh");
        command.args(["-c", line, "sh"]).arg(program).arg(FLAG).args(keepalive).arg(port.to_string()).args(nats);
        Self::run(&mut command)
    }

    /// What the system says of it: a file of its folder below `/proc`.
    pub(crate) fn proc(&self, file: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/{file}", self.child.id())).expect("the worker lives")
    }

    fn run(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("this program starts");
        let mut said = String::new();
        let out = child.stdout.take().expect("piped above");
        BufReader::new(out).read_line(&mut said).expect("the worker says where it is");
        let address = said.trim().parse().unwrap_or_else(|error| panic!("the worker said {said:?}: {error}"));
        Self { child, address }
    }

    /// Stops every thread of it, and waits until they have stopped.
    pub(crate) fn freeze(&self) {
        let id = self.signal(Signal::STOP);
        waitpid(Some(id), WaitOptions::UNTRACED).expect("a child of this process");
    }

    /// Lets it go on.
    pub(crate) fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// Ends it as `kill -9` does.
    pub(crate) fn kill(mut self) {
        self.end();
    }

    fn signal(&self, signal: Signal) -> Pid {
        let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(id, signal).expect("a child of this process");
        id
    }

    fn end(&mut self) {
        // One that has ended already is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.end();
    }
}

/// Serves until standard input ends.
pub(crate) fn run(arguments: &[String]) -> ExitCode {
    let number = |place: usize| arguments.get(place).and_then(|text: &String| text.parse::<u64>().ok()).unwrap_or(0);
    let (interval, timeout) = (Duration::from_millis(number(0)), Duration::from_millis(number(1)));
    let setup = Setup { keepalive: (interval, timeout), ..Setup::default() };
    let port = u16::try_from(number(2)).unwrap_or(0);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let server = match arguments.get(3) {
            Some(url) => setup.nats_server(url).await,
            None => setup.tcp_server(port).await,
        };
        let (report, _seen) = mpsc::channel(1);
        let _registrations = serve(&*server, report).await;
        println!("{}", server.address());
        let end = || std::io::stdin().read_to_end(&mut Vec::new());
        let _ = tokio::task::spawn_blocking(end).await;
    });
    ExitCode::SUCCESS
}
