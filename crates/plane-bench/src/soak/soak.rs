//! A crowd for each transport, restarts, and looks at every process in the pauses.

use std::fmt::Write;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use plane_core::ClientStats;
use plane_manager::NetworkManager;
use tokio::time::sleep;

use crate::acts::Clients;
use crate::crowd::{Counts, Crowd};
use crate::place::{Place, Plane};
use crate::serving::Report;
use crate::vitals::{Series, Vitals};
use crate::worker::Worker;

/// Looks at every process, over the whole run.
const LOOKS: u32 = 20;

/// The least and the most time between two.
const BETWEEN: (Duration, Duration) = (Duration::from_secs(3), Duration::from_secs(60));

/// From one restart to the next.
const RESTART: Duration = Duration::from_secs(3);

/// What calls in flight have at a restart; handlers that hang, and slow readers, use it up.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);

/// What handlers whose callers have gone may take to end.
const SETTLED: Duration = Duration::from_secs(20);

/// Workers that are restarted, beside one that lives as long as the run.
const YOUNG: usize = 2;

/// Runs both transports at once for this long. Fails if a promise was broken, if counters do not add up, or if memory,
/// descriptors or tasks grow.
pub(crate) async fn run(nats: &str, time: Duration) -> Result<()> {
    let (tcp, nats) = (Place::new(Plane::Tcp, nats)?, Place::new(Plane::Nats, nats)?);
    let mut stages = [Stage::open(&tcp).await?, Stage::open(&nats).await?];
    let mut callers = Series::new("callers, both transports");
    let (began, between) = (Instant::now(), (time / LOOKS).clamp(BETWEEN.0, BETWEEN.1));
    while began.elapsed() < time {
        let [one, other] = &mut stages;
        let (one, other) = tokio::join!(one.play(between), other.play(between));
        one?;
        other?;
        look(&mut stages, &mut callers, began).await?;
    }
    println!("{}", report(&stages, &callers, began.elapsed()));
    let mut broken: Vec<String> =
        stages.iter().flat_map(|stage| stage.crowd.counts(|counts| counts.kept.clone())).collect();
    broken.extend(stages.iter().map(|stage| &stage.elder_vitals).chain([&callers]).filter_map(Series::growth));
    ensure!(broken.is_empty(), "promises were broken:\n  {}", broken.join("\n  "));
    Ok(())
}

/// Hushes both crowds, looks at every process, and lets them go on.
async fn look(stages: &mut [Stage<'_>; 2], callers: &mut Series, began: Instant) -> Result<()> {
    let _quiet = tokio::join!(stages[0].crowd.hush(), stages[1].crowd.hush());
    for stage in stages {
        stage.look(began).await.with_context(|| format!("calls over {}", stage.place.plane))?;
    }
    let own = Vitals::own()?;
    eprintln!("  callers: {} KiB, {} descriptors, {} tasks", own.memory, own.descriptors, own.tasks);
    callers.add(own);
    Ok(())
}

/// Waits until neither side has a call in flight; by then every call that was started is in one outcome.
async fn settled(elder: &mut Worker, manager: &NetworkManager) -> Result<Report> {
    let by = Instant::now() + SETTLED;
    loop {
        let (report, clients) = (elder.report().await?, manager.stats().clients);
        let adds_up = |stats: &ClientStats| {
            stats.in_flight == 0 && stats.started == stats.completed + stats.failed + stats.cancelled
        };
        if report.adds_up() && clients.iter().all(|(_, stats)| adds_up(stats)) {
            return Ok(report);
        }
        ensure!(Instant::now() < by, "the counters do not add up in a pause: {report:?}, {clients:?}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// One transport: its workers and its callers.
#[derive(Debug)]
struct Stage<'a> {
    place: &'a Place,
    manager: NetworkManager,
    crowd: Crowd,
    elder: Worker,
    elder_vitals: Series,
    young: Vec<Worker>,
    restarts: u64,
}

impl<'a> Stage<'a> {
    async fn open(place: &'a Place) -> Result<Self> {
        let elder = Worker::start(place, DRAIN_TIMEOUT).await?;
        let mut young = Vec::new();
        for _ in 0..YOUNG {
            young.push(Worker::start(place, DRAIN_TIMEOUT).await?);
        }
        let manager = place.manager()?;
        let crowd = Crowd::start(&Clients::ready(&manager).await?);
        let elder_vitals = Series::new(format!("a worker over {}", place.plane));
        Ok(Self { place, manager, crowd, elder, elder_vitals, young, restarts: 0 })
    }

    /// Looks at the worker that lives as long as the run; nothing must be in flight.
    async fn look(&mut self, began: Instant) -> Result<()> {
        let report = settled(&mut self.elder, &self.manager).await?;
        let vitals = Vitals::of(self.elder.id()?, report.tasks)?;
        self.elder_vitals.add(vitals);
        let (calls, broken) = self.crowd.counts(|counts| (counts.calls(), counts.broken));
        eprintln!(
            "  {:>5.0} s {}: {calls} calls, {} restarts, {broken} broken promises; a worker: {} KiB, {} descriptors, {} tasks",
            began.elapsed().as_secs_f64(),
            self.place.plane,
            self.restarts,
            vitals.memory,
            vitals.descriptors,
            vitals.tasks,
        );
        Ok(())
    }

    /// Restarts young workers for a while, every other one as a crash does.
    async fn play(&mut self, time: Duration) -> Result<()> {
        let until = Instant::now() + time;
        while Instant::now() < until {
            sleep(RESTART.min(time)).await;
            let _pass = self.crowd.pass().await;
            let leaving = self.young.remove(0);
            if self.restarts.is_multiple_of(2) {
                let last_words = leaving.stop().await?;
                ensure!(last_words.adds_up(), "the counters of a worker do not add up: {last_words:?}");
            } else {
                leaving.kill().await?;
            }
            self.young.push(Worker::start(self.place, DRAIN_TIMEOUT).await?);
            self.restarts += 1;
        }
        ensure!(!self.crowd.has_lost_a_caller(), "a caller has ended by a panic");
        Ok(())
    }
}

fn report(stages: &[Stage<'_>; 2], callers: &Series, took: Duration) -> String {
    let mut out = format!(
        "{:.1} minutes.\n\n| transport | restarts | calls | completed | left | deadline passed | failed by a restart | latest \
         after a deadline | broken promises |\n|---|--:|--:|--:|--:|--:|--:|--:|--:|\n",
        took.as_secs_f64() / 60.0
    );
    for stage in stages {
        stage.crowd.counts(|counts| {
            let Counts { completed, left, deadline_passed, failed, broken, latest, .. } = counts;
            let failed: Vec<_> = failed.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
            let failed = failed.join(", ");
            let (plane, restarts, calls) = (stage.place.plane, stage.restarts, counts.calls());
            // Writing to a string does not fail.
            let _ = writeln!(
                out,
                "| {plane} | {restarts} | {calls} | {completed} | {left} | {deadline_passed} | {failed} | {:.0} ms | {broken} |",
                latest.as_secs_f64() * 1e3,
            );
        });
    }
    out.push_str("\n| process | memory (KiB) | descriptors | tasks |\n|---|---|---|---|\n");
    for series in stages.iter().map(|stage| &stage.elder_vitals).chain([callers]) {
        let _ = writeln!(out, "{series}");
    }
    out
}
