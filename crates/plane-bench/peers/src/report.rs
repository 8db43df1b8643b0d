//! Medians of all rounds, as a table in Markdown and as JSON.

use std::fmt::Write;

use plane_bench::{Sample, Spread};
use serde::{Deserialize, Serialize};

use crate::peer::Peer;

/// One round of one cell over one peer.
#[derive(Debug, Clone)]
pub(crate) struct Measured {
    pub(crate) peer: Peer,
    pub(crate) sample: Sample,
    pub(crate) client_cpu_us: f64,
    pub(crate) server_cpu_us: f64,
    pub(crate) client_mib: f64,
    pub(crate) server_mib: f64,
}

/// All rounds of one cell over one peer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Line {
    pub(crate) cell: String,
    pub(crate) peer: Peer,
    /// Messages of answers in a second.
    pub(crate) items_per_second: Spread,
    /// The plane's to this one's in the same round, of items in a second: above one, the plane carries more.
    pub(crate) plane_to_this: Spread,
    pub(crate) p50_us: Spread,
    pub(crate) p99_us: Spread,
    /// Time to the first item.
    pub(crate) first_p50_us: Spread,
    pub(crate) first_p99_us: Spread,
    /// CPU time of each call.
    pub(crate) client_cpu_us: Spread,
    pub(crate) server_cpu_us: Spread,
    /// The most memory.
    pub(crate) client_mib: Spread,
    pub(crate) server_mib: Spread,
}

/// A line for each cell and peer, in the order in which they first appear.
pub(crate) fn summarize(all: &[Measured]) -> Vec<Line> {
    let mut kinds: Vec<(&str, Peer)> = Vec::new();
    for measured in all {
        if !kinds.contains(&(&measured.sample.cell, measured.peer)) {
            kinds.push((&measured.sample.cell, measured.peer));
        }
    }
    kinds.into_iter().map(|(cell, peer)| line(all, cell, peer)).collect()
}

fn line(all: &[Measured], cell: &str, peer: Peer) -> Line {
    let of = |peer| all.iter().filter(move |one| one.peer == peer && one.sample.cell == cell);
    let spread = |value: fn(&Measured) -> f64| Spread::of(of(peer).map(value).collect());
    let rates = |peer| of(peer).map(|one| one.sample.items_per_second);
    // Calls over NATS are compared with the plane over NATS.
    let plane = if peer.needs_nats() { Peer::PlaneNats } else { Peer::Plane };
    Line {
        cell: cell.to_owned(),
        peer,
        items_per_second: spread(|one| one.sample.items_per_second),
        plane_to_this: Spread::of(rates(plane).zip(rates(peer)).map(|(plane, this)| plane / this).collect()),
        p50_us: spread(|one| one.sample.p50_us),
        p99_us: spread(|one| one.sample.p99_us),
        first_p50_us: spread(|one| one.sample.first_p50_us),
        first_p99_us: spread(|one| one.sample.first_p99_us),
        client_cpu_us: spread(|one| one.client_cpu_us),
        server_cpu_us: spread(|one| one.server_cpu_us),
        client_mib: spread(|one| one.client_mib),
        server_mib: spread(|one| one.server_mib),
    }
}

/// The medians as a table for each cell.
pub(crate) fn table(lines: &[Line]) -> String {
    let mut out = String::new();
    let mut cell = "";
    for line in lines {
        // Writing to a string does not fail.
        if line.cell != cell {
            cell = &line.cell;
            let _ = write!(
                out,
                "{}**{cell}**\n\n| | items/s | plane to this (least to most) | p50 | p99 | first item p50 | p99 | CPU of a \
                 call: caller | server | most memory: caller | server |\n|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n",
                if out.is_empty() { "" } else { "\n" },
            );
        }
        let ratio = line.plane_to_this;
        let _ = writeln!(
            out,
            "| {} | {:.0} | **{:.2}** ({:.2} to {:.2}) | {} | {} | {} | {} | {} | {} | {:.0} MiB | {:.0} MiB |",
            line.peer.name(),
            line.items_per_second.median,
            ratio.median,
            ratio.min,
            ratio.max,
            micros(line.p50_us.median),
            micros(line.p99_us.median),
            micros(line.first_p50_us.median),
            micros(line.first_p99_us.median),
            micros(line.client_cpu_us.median),
            micros(line.server_cpu_us.median),
            line.client_mib.median,
            line.server_mib.median,
        );
    }
    out
}

fn micros(value: f64) -> String {
    if value < 10.0 {
        format!("{value:.1} µs")
    } else if value < 1_000.0 {
        format!("{value:.0} µs")
    } else {
        format!("{:.2} ms", value / 1_000.0)
    }
}

#[cfg(test)]
mod tests {
    use plane_bench::{Ended, Recorder, Way};

    use super::*;

    fn measured(peer: Peer, calls: u64) -> Measured {
        let mut recorder = Recorder::default();
        let (at, time) = (std::time::Instant::now(), std::time::Duration::from_micros(5));
        (0..calls).for_each(|_| recorder.note(&Ended { at, first: None, whole: time, items: 1, bytes: 1 }));
        let sample = recorder.sample("a", Way::Bare, std::time::Duration::from_secs(1));
        Measured { peer, sample, client_cpu_us: 1.0, server_cpu_us: 2.0, client_mib: 3.0, server_mib: 4.0 }
    }

    #[test]
    fn each_round_is_compared_with_the_plane_in_it() {
        let rounds = [(10, 20), (90, 100), (30, 10)];
        let all = rounds.map(|(plane, tonic)| [measured(Peer::Plane, plane), measured(Peer::Tonic, tonic)]).concat();
        let lines = summarize(&all);
        assert_eq!(lines.iter().map(|line| line.peer).collect::<Vec<_>>(), [Peer::Plane, Peer::Tonic]);
        assert_eq!(lines[1].plane_to_this, Spread { median: 0.9, min: 0.5, max: 3.0 });
        assert_eq!(table(&lines).lines().filter(|line| line.starts_with("| tonic")).count(), 1);
    }
}
