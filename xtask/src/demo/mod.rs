//! `cargo xtask demo`: a chat completion over real processes, and what happens when one of them dies.
//!
//! - `build`: the `plane` binary.
//! - `chat`: a streamed chat completion over HTTP.
//! - `verdict`: what was promised and what was seen.

mod build;
mod chat;
mod verdict;

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

use chat::{Answer, Event, Frontend};
use verdict::Verdict;

use crate::nats::NatsServer;
use crate::process::Process;

/// Builds `plane`, starts a worker and a frontend as processes on free loopback ports, streams a chat completion
/// over HTTP, kills the worker in the middle of another, and lets a second worker take the next.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Carry the calls over TCP, which is also what happens without it.
    #[arg(long, conflicts_with = "nats")]
    tcp: bool,
    /// Carry the calls over a NATS server, which is started for the demo (and installed if there is none).
    #[arg(long)]
    nats: bool,
    /// Build with optimisation. Takes longer once and changes nothing of what is shown.
    #[arg(long)]
    release: bool,
}

const MODEL: &str = "demo";
/// What `plane` says once it is ready.
const READY: &str = "ready: ";
const TOKEN_DELAY: Duration = Duration::from_millis(50);
const PROMPT: &str = "A request plane carries every question to a worker and brings each token back as it is made.";
/// Tokens of the second answer that are seen before its worker is killed.
const BEFORE_KILL: usize = 5;
/// A dead worker must show within this; a killed process closes its sockets, so nothing has to time out.
const NOTICED_WITHIN: Duration = Duration::from_secs(5);

pub(crate) fn run(args: &Args) -> Result<()> {
    // TCP is what happens anyway; the flag is there so that a script may say what it means.
    let Args { tcp: _, nats, release } = *args;
    let plane = build::plane(release)?;
    let directory = tempfile::tempdir().context("cannot create a temporary directory for discovery")?;
    let nats = nats.then(|| NatsServer::start(None)).transpose()?;
    let scene = Scene { plane: &plane, directory: &directory, nats: nats.as_ref() };
    let mut verdict = Verdict::default();
    let played = play(&scene, &mut verdict);
    verdict.show();
    played?;
    verdict.finish()
}

struct Scene<'a> {
    plane: &'a std::path::Path,
    directory: &'a TempDir,
    /// What carries the calls; TCP if `None`.
    nats: Option<&'a NatsServer>,
}

impl Scene<'_> {
    /// A `plane` command whose settings are those of the demo, whatever the caller's environment has.
    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(self.plane);
        let ours = |name: &str| name.starts_with("DYN_") || name.starts_with("PLANE_") || name.starts_with("NATS_");
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(ours)) {
            command.env_remove(name);
        }
        command.args(args);
        match self.nats {
            Some(nats) => command.env("DYN_REQUEST_PLANE", "nats").env("NATS_SERVER", nats.url()),
            None => command.env("DYN_REQUEST_PLANE", "tcp").env("DYN_TCP_RPC_HOST", "127.0.0.1"),
        };
        command.env("DYN_DISCOVERY_BACKEND", "file").env("DYN_DISCOVERY_DIR", self.directory.path());
        command
    }

    fn worker(&self, name: &'static str) -> Result<Process> {
        let delay = format!("{}ms", TOKEN_DELAY.as_millis());
        let args = ["worker", "--model", MODEL, "--engine", "echo", "--token-delay", &delay];
        Process::start(name, READY, &mut self.command(&args))
    }

    fn frontend(&self) -> Result<Process> {
        Process::start(
            "frontend",
            READY,
            &mut self.command(&["frontend", "--http-host", "127.0.0.1", "--http-port", "0"]),
        )
    }
}

fn play(scene: &Scene<'_>, verdict: &mut Verdict) -> Result<()> {
    println!("\nA worker (engine echo, a token every {} ms) and a frontend start.", TOKEN_DELAY.as_millis());
    let worker = scene.worker("worker 1")?;
    let mut front = scene.frontend()?;
    let http = Frontend::new(front.url()?);
    http.wait_until_healthy().with_context(|| format!("{}\n{}", worker.log(), front.log()))?;

    println!("\n1. An answer arrives token by token.");
    a_whole_answer(&http, "worker 1", verdict).with_context(|| format!("{}\n{}", worker.log(), front.log()))?;

    println!("\n2. The worker is killed (SIGKILL) in the middle of an answer.");
    an_answer_broken_off(&http, worker, verdict).with_context(|| front.log())?;

    println!("\n3. A second worker takes the next request.");
    let mut second = scene.worker("worker 2")?;
    second.wait_until_ready()?;
    http.wait_until_healthy().with_context(|| format!("{}\n{}", second.log(), front.log()))?;
    a_whole_answer(&http, "worker 2", verdict).with_context(|| format!("{}\n{}", second.log(), front.log()))?;

    println!("\n4. Both are asked to stop.");
    for process in [&mut second, &mut front] {
        let (name, stopped) = (process.name(), process.stop()?);
        verdict.note(stopped.success(), format!("{name} stopped in order when asked ({stopped})"));
    }
    Ok(())
}

fn a_whole_answer(http: &Frontend, who: &str, verdict: &mut Verdict) -> Result<()> {
    println!("   > {PROMPT}");
    let mut answer = http.ask(MODEL, PROMPT)?;
    let end = show(&mut answer, usize::MAX)?;
    let (tokens, first, last) = (answer.tokens(), answer.first(), answer.last());
    let is_whole = matches!(end, Some(Event::Done)) && answer.text().contains(PROMPT);
    verdict.note(is_whole, format!("{who}: the answer is whole and ended in order, after {tokens} events with text"));
    // Half of what the pace demands, so that a busy machine does not decide.
    let at_least = TOKEN_DELAY * u32::try_from(tokens.saturating_sub(1)).unwrap_or(u32::MAX) / 2;
    let is_streamed = tokens > BEFORE_KILL && last.saturating_sub(first) >= at_least;
    let (first, last) = (first.as_millis(), last.as_millis());
    verdict.note(is_streamed, format!("{who}: the first token came after {first} ms, the last after {last} ms"));
    Ok(())
}

fn an_answer_broken_off(http: &Frontend, mut worker: Process, verdict: &mut Verdict) -> Result<()> {
    let mut answer = http.ask(MODEL, &[PROMPT; 8].join(" "))?;
    if let Some(end) = show(&mut answer, BEFORE_KILL)? {
        bail!("the answer ended ({end:?}) before {BEFORE_KILL} tokens came");
    }
    let killed = Instant::now();
    worker.kill()?;
    print!(" [killed] ");
    let end = show(&mut answer, usize::MAX)?;
    let took = killed.elapsed();
    match &end {
        Some(Event::Error(error)) => {
            println!("   error event: {error}");
            let what = format!("killed worker: an error event told the client, {} ms after the kill", took.as_millis());
            verdict.note(took < NOTICED_WITHIN, what);
        }
        Some(Event::Done) => verdict.note(false, "killed worker: the broken answer looked like a whole one ([DONE])"),
        Some(Event::Text(_)) | None => verdict.note(false, "killed worker: the stream ended without an error event"),
    }
    ensure!(answer.next()?.is_none(), "events came after the end of the broken answer");
    Ok(())
}

/// Shows text as it comes, up to `most` events with text; gives the event that ended the answer.
fn show(answer: &mut Answer, most: usize) -> Result<Option<Event>> {
    use std::io::Write;
    if answer.tokens() == 0 {
        print!("   < ");
    }
    let enough = answer.tokens().saturating_add(most);
    while answer.tokens() < enough {
        match answer.next()? {
            Some(Event::Text(text)) => {
                print!("{text}");
                std::io::stdout().flush()?;
            }
            end => {
                println!();
                return Ok(end);
            }
        }
    }
    Ok(None)
}
