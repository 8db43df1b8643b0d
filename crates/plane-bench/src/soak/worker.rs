//! A worker process, as the one that started it sees it.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout};
use tokio::time::timeout;

use crate::place::Place;
use crate::serving::{READY, Report};

/// Far more than a worker takes to start or to say something, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A worker that serves. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Worker {
    child: Child,
    asks: ChildStdin,
    says: Lines<BufReader<ChildStdout>>,
}

impl Worker {
    /// Starts a worker and waits until it can be called.
    pub(crate) async fn start(place: &Place, drain_timeout: Duration) -> Result<Self> {
        let drain_timeout = format!("{}ms", drain_timeout.as_millis());
        let mut command = place.command(&["worker", "--drain-timeout", &drain_timeout])?;
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("cannot start a worker")?;
        let asks = child.stdin.take().context("a worker without standard input")?;
        let says = BufReader::new(child.stdout.take().context("a worker without standard output")?).lines();
        let mut worker = Self { child, asks, says };
        let said = worker.line().await.context("a worker did not get ready")?;
        ensure!(said == READY, "a worker said {said:?} instead of being ready");
        Ok(worker)
    }

    pub(crate) fn id(&self) -> Result<u32> {
        self.child.id().context("a worker has ended by itself")
    }

    async fn line(&mut self) -> Result<String> {
        timeout(PATIENCE, self.says.next_line()).await??.context("it ended without a word")
    }

    async fn report_said(&mut self) -> Result<Report> {
        let line = self.line().await?;
        serde_json::from_str(&line).with_context(|| format!("a worker said {line:?}"))
    }

    /// What it says of itself now.
    pub(crate) async fn report(&mut self) -> Result<Report> {
        self.asks.write_all(b"\n").await.context("cannot ask a worker")?;
        self.report_said().await
    }

    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        let id = i32::try_from(self.id()?).ok().and_then(Pid::from_raw).context("a worker without an id")?;
        kill_process(id, signal).context("cannot signal a worker")
    }

    /// Asks it to end and waits until it has; its last words. It must end in order.
    pub(crate) async fn stop(mut self) -> Result<Report> {
        self.signal(Signal::TERM)?;
        let report = self.report_said().await?;
        let status = timeout(PATIENCE, self.child.wait()).await??;
        ensure!(status.success(), "a worker that was asked to end failed: {status}");
        Ok(report)
    }

    /// Ends it at once, as a crash does.
    pub(crate) async fn kill(mut self) -> Result<()> {
        self.child.kill().await.context("cannot kill a worker")
    }
}
