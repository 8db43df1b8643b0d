//! Large messages through a middle hop, whose memory must stay flat (case C8).

use std::time::Duration;

use anyhow::{Result, ensure};

use crate::pace::{Pace, Paced, check};
use crate::place::Place;
use crate::serving::HOP;
use crate::vitals::{Series, Vitals};
use crate::worker::Worker;

/// One in each call, each way.
const BYTES: usize = 1 << 20;

/// Looks at each worker, over the whole run.
const LOOKS: u32 = 20;

const READY: Duration = Duration::from_secs(10);
const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);

pub(crate) const COLUMNS: &str = "\
| process | memory (KiB) | descriptors | tasks |
|---|---|---|---|";

/// Two workers pass messages on to one another. Fails if a call fails or a worker's memory grows.
pub(crate) async fn run(place: &Place, rate: u32, time: Duration) -> Result<()> {
    let plane = place.plane;
    let mut workers = Vec::new();
    for number in 1..=2 {
        let worker = Worker::start(place, DRAIN_TIMEOUT).await?;
        workers.push((worker, Series::new(format!("hop {number} over {plane}"))));
    }
    let manager = place.manager()?;
    let client = manager.client(HOP.parse()?);
    client.ready(READY).await?;
    let load = Paced::start(&client, Pace { rate, bytes: BYTES, time });
    for _ in 0..LOOKS {
        tokio::time::sleep(time / LOOKS).await;
        for (worker, series) in &mut workers {
            let tasks = worker.report().await?.tasks;
            series.add(Vitals::of(worker.id()?, tasks)?);
        }
    }
    let seen = load.end().await?;
    check(&seen)?;
    eprintln!("  {plane}: {} calls of 1 MiB each way", seen.calls);
    for (worker, series) in workers {
        println!("{series}");
        let growth = series.growth();
        ensure!(growth.is_none(), "{}", growth.unwrap_or_default());
        worker.stop().await?;
    }
    Ok(())
}
