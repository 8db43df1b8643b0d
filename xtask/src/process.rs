//! A program that is started, says when it is ready, and is stopped.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::workspace::shown;

/// From start to the line that says so.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// From SIGTERM to the end of the process.
const STOPPED_WITHIN: Duration = Duration::from_secs(10);
const LOG_LINES: usize = 40;

/// A running program; killed when dropped.
#[derive(Debug)]
pub(crate) struct Process {
    name: &'static str,
    child: Child,
    ready: Receiver<String>,
    log: Arc<Mutex<VecDeque<String>>>,
}

impl Process {
    /// Starts a program that says `ready_mark` on standard error, at any place of a line, once it is ready.
    pub(crate) fn start(name: &'static str, ready_mark: &'static str, command: &mut Command) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", shown(command)))?;
        let log = Arc::new(Mutex::new(VecDeque::new()));
        // One line: a program is ready once.
        let (sender, ready) = sync_channel(1);
        if let Some(stderr) = child.stderr.take() {
            let log = log.clone();
            std::thread::spawn(move || {
                follow(stderr, &log, ready_mark, |line| {
                    // Nobody may be waiting any more.
                    let _ = sender.try_send(line);
                });
            });
        }
        println!("   {name}: process {}, {}", child.id(), shown(command));
        Ok(Self { name, child, ready, log })
    }

    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// The end of what it wrote to standard error.
    pub(crate) fn log(&self) -> String {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let lines: String = log.iter().map(|line| format!("  | {line}\n")).collect();
        format!("the last lines of {}:\n{lines}", self.name)
    }

    /// Waits for the line that says that it is ready.
    pub(crate) fn wait_until_ready(&mut self) -> Result<String> {
        // An end of the program ends its standard error, and with it the channel.
        let line = self.ready.recv_timeout(READY_WITHIN);
        let line = line.with_context(|| format!("{} did not get ready\n{}", self.name, self.log()))?;
        println!("   {}: {line}", self.name);
        Ok(line)
    }

    /// Waits for the line that says that it is ready, and gives the URL in it.
    pub(crate) fn url(&mut self) -> Result<String> {
        let line = self.wait_until_ready()?;
        let url = line.split_whitespace().find(|word| word.starts_with("http://"));
        url.map(|url| url.trim_end_matches('/').to_owned()).with_context(|| format!("no URL in \"{line}\""))
    }

    /// Ends it at once, as `kill -9` does.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.child.kill().with_context(|| format!("cannot kill {}", self.name))?;
        self.child.wait().with_context(|| format!("cannot wait for {}", self.name))?;
        Ok(())
    }

    /// Asks it to stop (SIGTERM) and waits.
    pub(crate) fn stop(&mut self) -> Result<ExitStatus> {
        let asked = Command::new("kill").arg("-TERM").arg(self.child.id().to_string()).status();
        let asked = asked.context("cannot run kill")?;
        ensure!(asked.success(), "cannot ask {} to stop: {asked}", self.name);
        let started = Instant::now();
        while started.elapsed() < STOPPED_WITHIN {
            if let Some(status) = self.child.try_wait().with_context(|| format!("cannot wait for {}", self.name))? {
                return Ok(status);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        anyhow::bail!("{} did not stop within {} s\n{}", self.name, STOPPED_WITHIN.as_secs(), self.log())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Best effort: it may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn follow(stderr: impl Read, log: &Mutex<VecDeque<String>>, ready_mark: &str, ready: impl Fn(String)) {
    for line in BufReader::new(stderr).lines().map_while(Result::ok) {
        if line.contains(ready_mark) {
            ready(line.clone());
        }
        let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
        if log.len() == LOG_LINES {
            log.pop_front();
        }
        log.push_back(line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Process {
        Process::start("test", "ready: ", Command::new("sh").args(["-c", script])).unwrap()
    }

    #[test]
    fn a_ready_line_is_waited_for_and_a_stop_is_obeyed() {
        let mut process =
            shell("trap 'exit 7' TERM; echo log >&2; echo 'ready: x at http://h:1/' >&2; while :; do sleep 0.05; done");
        assert_eq!(process.url().unwrap(), "http://h:1");
        assert!(process.log().contains("| log"));
        assert_eq!(process.stop().unwrap().code(), Some(7));
    }

    #[test]
    fn a_program_that_ends_early_is_noticed_with_its_log() {
        let error = shell("echo 'error: no such thing' >&2").wait_until_ready().unwrap_err();
        assert!(error.to_string().contains("no such thing"));
    }
}
