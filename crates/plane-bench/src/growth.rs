//! How cost grows: with calls in flight, with connections, with the size of messages; and what small calls notice of large
//! messages on their connection.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use plane_bench::{Caller, Cell, DriveError, Ended, PlaneCaller, Shape, Spread, Way, drive, micros};
use plane_core::{Address, RequestPlaneClient};
use plane_tcp::{ClientConfig, TcpClient};
use serde::{Deserialize, Serialize};

use crate::{child, output};

/// One place on a curve.
#[derive(Debug, Clone, Copy)]
struct Point {
    curve: Curve,
    /// How the table calls it.
    name: &'static str,
    bytes: usize,
    in_flight: usize,
    /// Clients with connections of their own, which take turns.
    clients: usize,
    /// Bytes of messages that go to and fro beside, one at a time, on the same connection.
    beside: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Curve {
    InFlight,
    Connections,
    Sizes,
    Beside,
}

impl Curve {
    const ALL: [Self; 4] = [Self::InFlight, Self::Connections, Self::Sizes, Self::Beside];

    fn title(self) -> &'static str {
        match self {
            Self::InFlight => "calls in flight, 128 B each way",
            Self::Connections => "connections, 1,000 calls of 128 B in flight in all",
            Self::Sizes => "bytes of a message, each way, 4 calls in flight",
            Self::Beside => "8 calls of 128 B in flight, beside one message at a time on the same connection",
        }
    }
}

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

const fn in_flight(name: &'static str, in_flight: usize) -> Point {
    Point { curve: Curve::InFlight, name, bytes: 128, in_flight, clients: 1, beside: 0 }
}

const fn connections(name: &'static str, clients: usize) -> Point {
    Point { curve: Curve::Connections, name, bytes: 128, in_flight: 1_000, clients, beside: 0 }
}

const fn size(name: &'static str, bytes: usize) -> Point {
    Point { curve: Curve::Sizes, name, bytes, in_flight: 4, clients: 1, beside: 0 }
}

const fn beside(name: &'static str, beside: usize) -> Point {
    Point { curve: Curve::Beside, name, bytes: 128, in_flight: 8, clients: 1, beside }
}

const POINTS: [Point; 21] = [
    in_flight("1", 1),
    in_flight("10", 10),
    in_flight("100", 100),
    in_flight("1,000", 1_000),
    in_flight("10,000", 10_000),
    connections("1 or 2", 1),
    connections("10", 10),
    connections("100", 100),
    size("0 B", 0),
    size("128 B", 128),
    size("1 KiB", KIB),
    size("4 KiB", 4 * KIB),
    size("16 KiB", 16 * KIB),
    size("64 KiB", 64 * KIB),
    size("256 KiB", 256 * KIB),
    size("1 MiB", MIB),
    size("4 MiB", 4 * MIB),
    size("32 MiB", 32 * MIB),
    beside("nothing", 0),
    beside("1 MiB", MIB),
    beside("32 MiB", 32 * MIB),
];

/// What one measurement of a point gave.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Grown {
    place: usize,
    calls_per_second: f64,
    mib_per_second: f64,
    p50_us: f64,
    p99_us: f64,
    caller_mib: f64,
    server_mib: f64,
}

/// Measures every point in each round, with both sides in new processes each time, so that memory is that of the point.
pub(crate) async fn run(pin: Option<u16>, rounds: u16, time: Duration) -> Result<String> {
    let mut all = Vec::new();
    for round in 1..=rounds {
        for (place, point) in POINTS.iter().enumerate() {
            let grown = measure_apart(pin, place, time).await.with_context(|| format!("at {point:?}"))?;
            eprintln!(
                "  round {round} of {rounds}, {}: {}: {:.0} calls/s",
                point.curve.title(),
                point.name,
                grown.calls_per_second
            );
            all.push(grown);
        }
    }
    Ok(report(&all))
}

async fn measure_apart(pin: Option<u16>, place: usize, time: Duration) -> Result<Grown> {
    let mut server = child(pin, &["serve"], true)?;
    let mut lines = output(&mut server)?;
    let address = lines.next_line().await?.context("the serving side ended before it said where it is")?;
    let id = server.id().context("the serving side is gone")?.to_string();
    let (place, time) = (place.to_string(), time.as_millis().to_string());
    let args = ["grow", "--address", &address, "--server", &id, "--place", &place, "--time", &time];
    let mut client = child(pin, &args, false)?;
    let mut lines = output(&mut client)?;
    let line = lines.next_line().await?;
    let ended = client.wait().await.context("cannot wait for the calling side")?;
    ensure!(ended.success(), "the calling side failed: {ended}");
    drop(server.stdin.take());
    let ended = server.wait().await.context("cannot wait for the serving side")?;
    ensure!(ended.success(), "the serving side failed: {ended}");
    serde_json::from_str(&line.context("the calling side said nothing")?).context("the calling side said nonsense")
}

/// The calling side of one point.
pub(crate) async fn measure(address: &Address, server: u32, place: usize, time: Duration) -> Result<Grown> {
    let point = POINTS.get(place).context("there is no such point")?;
    let clients: Vec<Arc<dyn RequestPlaneClient>> =
        (0..point.clients).map(|_| Arc::new(TcpClient::new(ClientConfig::default())) as _).collect();
    let shape = |bytes, in_flight| Shape::Unary { bytes, in_flight };
    let own = shape(point.bytes, point.in_flight);
    let large = PlaneCaller::new(clients[0].clone(), address.clone(), shape(point.beside, 1));
    let callers = clients.into_iter().map(|client| PlaneCaller::new(client, address.clone(), own)).collect();
    let caller = Turns { callers, next: AtomicUsize::new(0) };
    let cell = Cell { name: point.name, shape: own };
    let sample = if point.beside == 0 {
        drive(caller, cell, time).await?
    } else {
        let traffic = async {
            loop {
                if let Err(error) = large.call(Instant::now()).await {
                    return error;
                }
            }
        };
        tokio::select! {
            sample = drive(caller, cell, time) => sample?,
            error = traffic => return Err(error.into()),
        }
    };
    let [caller_mib, server_mib] = [peak(std::process::id())?, peak(server)?];
    Ok(Grown {
        place,
        calls_per_second: sample.calls_per_second,
        mib_per_second: sample.mib_per_second,
        p50_us: sample.p50_us,
        p99_us: sample.p99_us,
        caller_mib,
        server_mib,
    })
}

/// Calls over several clients in turn.
struct Turns {
    callers: Vec<PlaneCaller>,
    next: AtomicUsize,
}

impl Caller for Turns {
    const WAY: Way = Way::Plane;

    async fn call(&self, began: Instant) -> Result<Ended, DriveError> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        self.callers[turn % self.callers.len()].call(began).await
    }
}

/// The most memory that a process had so far, in MiB.
fn peak(id: u32) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status"))
        .with_context(|| format!("cannot read /proc/{id}/status; this needs Linux"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib: f64 = line.and_then(|line| line.split_whitespace().next()?.parse().ok()).context("no VmHWM in /proc")?;
    Ok(kib / 1024.0)
}

/// A table and a picture for each curve, in Markdown.
fn report(all: &[Grown]) -> String {
    let mut out = String::new();
    for curve in Curve::ALL {
        let places: Vec<usize> = (0..POINTS.len()).filter(|place| POINTS[*place].curve == curve).collect();
        let median = |place: usize, value: fn(&Grown) -> f64| {
            Spread::of(all.iter().filter(|grown| grown.place == place).map(value).collect()).median
        };
        // Writing to a string does not fail.
        let _ = writeln!(
            out,
            "\n**{}**\n\n| | calls/s | MiB/s | p50 | p99 | most memory: caller | server |\n|--:|--:|--:|--:|--:|--:|--:|",
            curve.title()
        );
        for &place in &places {
            let _ = writeln!(
                out,
                "| {} | {:.0} | {:.1} | {} | {} | {:.0} MiB | {:.0} MiB |",
                POINTS[place].name,
                median(place, |grown| grown.calls_per_second),
                median(place, |grown| grown.mib_per_second),
                micros(median(place, |grown| grown.p50_us)),
                micros(median(place, |grown| grown.p99_us)),
                median(place, |grown| grown.caller_mib),
                median(place, |grown| grown.server_mib),
            );
        }
        let (what, value): (_, fn(&Grown) -> f64) = match curve {
            Curve::Sizes => ("MiB in a second", |grown| grown.mib_per_second),
            Curve::Beside => ("microseconds, p99", |grown| grown.p99_us),
            Curve::InFlight | Curve::Connections => ("calls in a second", |grown| grown.calls_per_second),
        };
        let names: Vec<_> = places.iter().map(|place| format!("\"{}\"", POINTS[*place].name)).collect();
        let values: Vec<_> = places.iter().map(|place| format!("{:.0}", median(*place, value))).collect();
        let _ = writeln!(
            out,
            "\n```mermaid\nxychart-beta\n    x-axis [{}]\n    y-axis \"{what}\" 0 -->\n    line [{}]\n```",
            names.join(", "),
            values.join(", ")
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_curve_has_a_table_and_a_picture() {
        let grown = |place, calls_per_second| Grown {
            place,
            calls_per_second,
            mib_per_second: 1.0,
            p50_us: 5.0,
            p99_us: 2_000.0,
            caller_mib: 10.0,
            server_mib: 20.0,
        };
        let all: Vec<_> =
            (0..POINTS.len()).flat_map(|place| [grown(place, 1.0), grown(place, 9.0), grown(place, 3.0)]).collect();
        let report = report(&all);
        assert_eq!((report.matches("most memory").count(), report.matches("xychart-beta").count()), (4, 4));
        assert!(report.contains("| 32 MiB | 3 | 1.0 | 5 µs | 2.00 ms | 10 MiB | 20 MiB |"), "{report}");
    }

    #[test]
    fn the_memory_of_a_process_is_found() {
        assert!(peak(std::process::id()).unwrap() > 1.0);
        assert!(peak(u32::MAX).is_err());
    }
}
