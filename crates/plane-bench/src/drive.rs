//! The calling side: makes the calls of a cell for a while.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::task::JoinSet;

use crate::caller::{Caller, DriveError};
use crate::cell::Cell;
use crate::sample::{Recorder, Sample};

/// The runtime of one side: with so many threads, one for each core if not given.
///
/// # Errors
/// The system refuses its threads or its poll.
pub fn runtime(threads: Option<u16>) -> std::io::Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = threads {
        builder.worker_threads(usize::from(threads.max(1)));
    }
    builder.enable_all().build()
}

/// Calls for at least `time`, after a tenth of it to warm up. Each caller makes at least one call.
///
/// # Errors
/// The first call that failed or brought the wrong answer.
pub async fn drive<C: Caller>(caller: C, cell: Cell, time: Duration) -> Result<Sample, DriveError> {
    let caller = Arc::new(caller);
    round(&caller, cell, time / 10).await?;
    let started = Instant::now();
    let recorder = round(&caller, cell, time).await?;
    Ok(recorder.sample(cell.name, C::WAY, started.elapsed()))
}

/// So many calls of one caller are recorded at one go, because each of that takes a lock.
const TOGETHER: usize = 8;

async fn round<C: Caller>(caller: &Arc<C>, cell: Cell, time: Duration) -> Result<Recorder, DriveError> {
    let until = Instant::now() + time;
    // One for each thread: with one for each caller what is measured would have little of the cache.
    let threads = tokio::runtime::Handle::current().metrics().num_workers();
    let recorders: Arc<[Mutex<Recorder>]> = (0..threads.max(1)).map(|_| Mutex::default()).collect();
    let mut callers = JoinSet::new();
    for index in 0..cell.shape.in_flight() {
        let (caller, recorders) = (caller.clone(), recorders.clone());
        callers.spawn(async move {
            let recorder = &recorders[index % recorders.len()];
            let mut calls = Vec::with_capacity(TOGETHER);
            let mut began = Instant::now();
            loop {
                let ended = caller.call(began).await?;
                // The next call begins at once. To read the clock again would be a part of what is measured.
                began = ended.at;
                calls.push(ended);
                if calls.len() == TOGETHER || ended.at >= until {
                    let mut recorder = recorder.lock();
                    calls.drain(..).for_each(|ended| recorder.note(&ended));
                }
                if ended.at >= until {
                    return Ok(());
                }
            }
        });
    }
    while let Some(ended) = callers.join_next().await {
        ended.map_err(DriveError::Caller)??;
    }
    let mut all = Recorder::default();
    recorders.iter().for_each(|recorder| all.merge(&recorder.lock()));
    Ok(all)
}
