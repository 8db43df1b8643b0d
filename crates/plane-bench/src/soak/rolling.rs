//! Unary calls at a steady rate while workers are restarted one after the other.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use hdrhistogram::Histogram;
use plane_core::ClientStats;
use plane_manager::NetworkManager;

use crate::pace::{Pace, Paced, Progress, Seen, check};
use crate::place::Place;
use crate::serving::ECHO;
use crate::worker::Worker;

/// How a rolling restart is done.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Workers that serve at once, less the one that is restarted.
    pub(crate) workers: usize,
    /// Calls in a second.
    pub(crate) rate: u32,
    pub(crate) time: Duration,
    /// After each restart.
    pub(crate) pause: Duration,
}

/// Bytes of a message, each way.
const BYTES: usize = 128;

const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);
const PROGRESS: Duration = Duration::from_secs(5);
const READY: Duration = Duration::from_secs(10);

/// Restarts workers until the time is over. Fails with the first errors if a single call failed.
pub(crate) async fn run(place: &Place, plan: &Plan) -> Result<()> {
    ensure!(plan.workers > 1, "with one worker alone there is nobody to answer while it is restarted");
    let mut workers = VecDeque::new();
    for _ in 0..plan.workers {
        workers.push_back(Worker::start(place, DRAIN_TIMEOUT).await?);
    }
    let manager = place.manager()?;
    let client = manager.client(ECHO.parse()?);
    client.ready(READY).await?;
    let load = Paced::start(&client, Pace { rate: plan.rate, bytes: BYTES, time: plan.time });
    let restarts = {
        let telling = tell(place, load.progress());
        tokio::pin!(telling);
        tokio::select! {
            restarts = restart(place, plan, &mut workers) => restarts?,
            () = &mut telling => 0,
        }
    };
    let seen = load.end().await?;
    report(place, plan, restarts, &seen, &manager);
    for worker in workers {
        worker.stop().await?;
    }
    check(&seen)
}

/// Stops the oldest worker, starts a new one, and so on; gives how often.
async fn restart(place: &Place, plan: &Plan, workers: &mut VecDeque<Worker>) -> Result<u64> {
    let until = Instant::now() + plan.time;
    let mut restarts = 0;
    while Instant::now() < until {
        if let Some(oldest) = workers.pop_front() {
            let last_words = oldest.stop().await?;
            ensure!(last_words.adds_up(), "the counters of a worker do not add up: {last_words:?}");
        }
        workers.push_back(Worker::start(place, DRAIN_TIMEOUT).await?);
        restarts += 1;
        tokio::time::sleep(plan.pause).await;
    }
    Ok(restarts)
}

/// Says now and then how far it is.
async fn tell(place: &Place, progress: &Progress) {
    let mut tick = tokio::time::interval(PROGRESS);
    loop {
        tick.tick().await;
        let (calls, errors) = (progress.calls.load(Ordering::Relaxed), progress.errors.load(Ordering::Relaxed));
        eprintln!("  {}: {calls} calls, {errors} errors", place.plane);
    }
}

/// What the lines of the report say.
pub(crate) const COLUMNS: &str = "\
| transport | workers | calls | calls/s | tried again elsewhere | restarts | errors | p50 | p99 | p99.9 | longest |
|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|";

fn report(place: &Place, plan: &Plan, restarts: u64, seen: &Seen, manager: &NetworkManager) {
    let stats = manager.stats().clients;
    let started: u64 = stats.iter().map(|(_, ClientStats { started, .. })| started).sum();
    let Seen { calls, errors, took, .. } = seen;
    println!(
        "| {} | {} | {calls} | {} | {} | {restarts} | {errors} | {} | {} | {} | {} |",
        place.plane,
        plan.workers,
        calls / plan.time.as_secs().max(1),
        started.saturating_sub(*calls),
        millis(took, 0.5),
        millis(took, 0.99),
        millis(took, 0.999),
        millis(took, 1.0),
    );
}

fn millis(took: &Histogram<u64>, quantile: f64) -> String {
    format!("{:.2} ms", Duration::from_nanos(took.value_at_quantile(quantile)).as_secs_f64() * 1e3)
}
