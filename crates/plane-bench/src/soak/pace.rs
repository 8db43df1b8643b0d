//! Unary calls at a steady rate.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use bytes::Bytes;
use hdrhistogram::Histogram;
use plane_core::{EndpointId, Error, Request};
use plane_manager::EndpointClient;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

/// Callers, unless fewer calls than that are made in a second: one that waits for an answer holds up only its own.
const CALLERS: u32 = 100;

/// How long one call may take: far longer than it should, so that a lost one is not taken for a slow one.
const AT_MOST: Duration = Duration::from_secs(20);

/// Errors that are kept word for word.
const KEPT: usize = 10;

/// What is called, and how often.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// Calls in a second.
    pub(crate) rate: u32,
    /// Bytes of each message, each way.
    pub(crate) bytes: usize,
    pub(crate) time: Duration,
}

/// What all callers have seen.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) calls: u64,
    pub(crate) errors: u64,
    /// The first of them.
    pub(crate) kept: Vec<String>,
    /// From the call to its answer, in nanoseconds.
    pub(crate) took: Histogram<u64>,
}

impl Seen {
    fn new() -> Result<Self> {
        Ok(Self { calls: 0, errors: 0, kept: Vec::new(), took: Histogram::new_with_max(60_000_000_000, 3)? })
    }

    fn note(&mut self, took: Duration, answered: Result<(), String>) {
        self.calls += 1;
        self.took.saturating_record(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
        if let Err(error) = answered {
            self.errors += 1;
            if self.kept.len() < KEPT {
                self.kept.push(error);
            }
        }
    }

    fn add(&mut self, other: Self) -> Result<()> {
        self.calls += other.calls;
        self.errors += other.errors;
        self.kept.extend(other.kept);
        self.kept.truncate(KEPT);
        self.took.add(other.took)?;
        Ok(())
    }
}

/// Calls that are being made at a steady rate.
#[derive(Debug)]
pub(crate) struct Paced {
    callers: JoinSet<Result<Seen>>,
    progress: Arc<Progress>,
}

/// What has been done so far, for whoever watches.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    pub(crate) calls: AtomicU64,
    pub(crate) errors: AtomicU64,
}

impl Paced {
    /// Starts calls at this pace.
    pub(crate) fn start(client: &EndpointClient, pace: Pace) -> Self {
        let Pace { rate, bytes, time } = pace;
        let many = rate.min(CALLERS);
        let every = Duration::from_secs(1).mul_f64(f64::from(many) / f64::from(rate));
        let (now, progress) = (Instant::now(), Arc::new(Progress::default()));
        let mut callers = JoinSet::new();
        for number in 0..many {
            let first = now + every.mul_f64(f64::from(number) / f64::from(many));
            let caller = Caller { client: client.clone(), progress: progress.clone(), every, bytes, until: now + time };
            callers.spawn(caller.run(first));
        }
        Self { callers, progress }
    }

    pub(crate) fn progress(&self) -> &Arc<Progress> {
        &self.progress
    }

    /// Waits for the last call.
    pub(crate) async fn end(mut self) -> Result<Seen> {
        let mut all = Seen::new()?;
        while let Some(ended) = self.callers.join_next().await {
            all.add(ended??)?;
        }
        Ok(all)
    }
}

struct Caller {
    client: EndpointClient,
    progress: Arc<Progress>,
    every: Duration,
    bytes: usize,
    until: Instant,
}

impl Caller {
    async fn run(self, first: Instant) -> Result<Seen> {
        let mut tick = tokio::time::interval_at(first.into(), self.every);
        // A slow call does not make fewer of them: those that it held up follow at once.
        tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut seen = Seen::new()?;
        while Instant::now() < self.until {
            tick.tick().await;
            let began = Instant::now();
            let answered = echo(&self.client, self.bytes).await;
            self.progress.calls.fetch_add(1, Ordering::Relaxed);
            self.progress.errors.fetch_add(u64::from(answered.is_err()), Ordering::Relaxed);
            seen.note(began.elapsed(), answered);
        }
        Ok(seen)
    }
}

/// A call whose answer must be the very bytes that it carried, which no other call has.
async fn echo(client: &EndpointClient, bytes: usize) -> Result<(), String> {
    let mut message = vec![7; bytes];
    message[..16].copy_from_slice(&fastrand::u128(..).to_be_bytes());
    let message = Bytes::from(message);
    let endpoint: &EndpointId = client.endpoint();
    let request = Request::new(endpoint.clone(), message.clone()).with_timeout(AT_MOST);
    let answered = async { client.call(request).await?.message().await };
    match answered.await {
        Ok(answer) if answer == message => Ok(()),
        Ok(_) => Err("the answer was that of another call".to_owned()),
        Err(error) => Err(said(&error)),
    }
}

fn said(error: &Error) -> String {
    format!("{:?}, {:?}: {error}", error.kind(), error.delivery())
}

/// Fails with the first errors if there was one.
pub(crate) fn check(seen: &Seen) -> Result<()> {
    ensure!(seen.errors == 0, "{} of {} calls failed:\n  {}", seen.errors, seen.calls, seen.kept.join("\n  "));
    Ok(())
}
