//! From the end of a worker to the error of a call to it.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use plane_manager::EndpointClient;
use plane_testkit::{ChaosProxy, Faults};
use rustix::process::Signal;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::address;
use crate::place::{Place, Plane};
use crate::serving::HANG;
use crate::worker::Worker;

pub(crate) const COLUMNS: &str = "\
| transport | the worker is | times | its caller is told after (least to most) | as |
|---|---|--:|--:|---|";

/// How often each is done, all at once.
const TIMES: usize = 5;

/// Far more than any of them takes.
const NEVER: Duration = Duration::from_secs(60);

/// A call that is as old as this has been accepted, and nothing more is said of it.
const SETTLED: Duration = Duration::from_millis(500);

#[derive(Debug, Clone, Copy)]
enum Death {
    Killed,
    Frozen,
    CutOff,
}

/// The lines of one transport.
pub(crate) async fn measure(plane: Plane, nats: &str) -> Result<String> {
    let mut lines = Vec::new();
    for (death, what) in [(Death::Killed, "killed"), (Death::Frozen, "frozen"), (Death::CutOff, "cut off")] {
        let mut cases = JoinSet::new();
        for _ in 0..TIMES {
            let nats = nats.to_owned();
            cases.spawn(async move { once(plane, &nats, death).await });
        }
        let mut found = Vec::new();
        while let Some(case) = cases.join_next().await {
            found.push(case??);
        }
        found.sort_by_key(|(took, _)| *took);
        let (Some((least, _)), Some((most, kind))) = (found.first(), found.last()) else { bail!("nothing was done") };
        let (least, most) = (least.as_secs_f64(), most.as_secs_f64());
        lines.push(format!("| {plane} | {what} | {TIMES} | {least:.3} s to {most:.3} s | `{kind}` |"));
    }
    Ok(lines.join("\n"))
}

/// One worker, one call to it that is in flight, and the end of the worker.
async fn once(plane: Plane, nats: &str, death: Death) -> Result<(Duration, String)> {
    let place = Place::new(plane, nats)?;
    let (worker, client, proxy) = match (death, plane) {
        (Death::CutOff, Plane::Nats) => {
            let at = nats.strip_prefix("nats://").context("a NATS server's URL begins with nats://")?;
            let proxy = ChaosProxy::start(at.parse().context("give the NATS server's IP address")?).await?;
            let worker =
                Worker::start(&place.with_nats(&format!("nats://{}", proxy.address())), Duration::ZERO).await?;
            (worker, place.manager()?.client(HANG.parse()?), Some(proxy))
        }
        (Death::CutOff, Plane::Tcp) => {
            let worker = Worker::start(&place, Duration::ZERO).await?;
            let proxy = ChaosProxy::start(socket_address(&address(&place, HANG).await?.to_string())?).await?;
            let at = format!("{HANG}=tcp://{}", proxy.address());
            (worker, place.manager_of(&at)?.client(HANG.parse()?), Some(proxy))
        }
        _ => (Worker::start(&place, Duration::ZERO).await?, place.manager()?.client(HANG.parse()?), None),
    };
    told(worker, client, death, proxy).await
}

fn socket_address(address: &str) -> Result<SocketAddr> {
    let at = address.strip_prefix("tcp://").context("the worker is not on TCP")?;
    Ok(at.parse()?)
}

async fn told(
    mut worker: Worker,
    client: EndpointClient,
    death: Death,
    proxy: Option<ChaosProxy>,
) -> Result<(Duration, String)> {
    let calling = tokio::spawn(async move { client.call("").await });
    while worker.report().await?.in_flight == 0 {
        sleep(Duration::from_millis(10)).await;
    }
    sleep(SETTLED).await;
    let began = Instant::now();
    match death {
        Death::Killed => worker.signal(Signal::KILL)?,
        Death::Frozen => worker.signal(Signal::STOP)?,
        Death::CutOff => {
            if let Some(proxy) = &proxy {
                proxy.set_both(Faults::black_hole());
            }
        }
    }
    let Err(error) = timeout(NEVER, calling).await.context("the caller was never told")?? else {
        bail!("a dead worker has answered")
    };
    Ok((began.elapsed(), format!("{:?}, {:?}", error.kind(), error.delivery())))
}
