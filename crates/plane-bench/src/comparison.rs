//! The plane beside the bare pattern: what was measured, and the ratios of both, as JSON and as a table.

use std::fmt::Write;

use serde::{Deserialize, Serialize};

use crate::sample::{Sample, Way};
use crate::summary::{Spread, Summary, micros, summarize};

/// The rounds of one cell, both ways.
///
/// A ratio is that of the plane to the bare pattern in the same round, one measured right after the other: what slows
/// the machine for longer than that is in both.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// The plane.
    pub plane: Summary,
    /// The bare pattern.
    pub bare: Summary,
    /// Messages of answers in a second: above one, the plane carries more.
    pub items_ratio: Spread,
    /// The time within which half of the calls ended: below one, the plane is faster.
    pub p50_ratio: Spread,
    /// The same of all but one of a hundred calls.
    pub p99_ratio: Spread,
}

/// One comparison for each cell that was measured both ways.
#[must_use]
pub fn compare(samples: &[Sample]) -> Vec<Comparison> {
    let summaries = summarize(samples);
    let (planes, bares): (Vec<Summary>, Vec<Summary>) =
        summaries.into_iter().partition(|summary| summary.way == Way::Plane);
    let pairs = planes.into_iter().filter_map(|plane| {
        let bare = bares.iter().find(|bare| bare.cell == plane.cell)?.clone();
        let rounds = |way| samples.iter().filter(move |sample: &&Sample| sample.way == way);
        let ratio = |value: fn(&Sample) -> f64| {
            let of = |way| rounds(way).filter(|sample| sample.cell == plane.cell).map(value);
            Spread::of(of(Way::Plane).zip(of(Way::Bare)).map(|(plane, bare)| plane / bare).collect())
        };
        let items_ratio = ratio(|sample| sample.items_per_second);
        let (p50_ratio, p99_ratio) = (ratio(|sample| sample.p50_us), ratio(|sample| sample.p99_us));
        Some(Comparison { plane, bare, items_ratio, p50_ratio, p99_ratio })
    });
    pairs.collect()
}

/// The medians as a table in Markdown.
#[must_use]
pub fn comparison_table(comparisons: &[Comparison]) -> String {
    let mut out = String::from(
        "| cell | plane items/s | bare items/s | ratio (least to most) | plane p50 | bare p50 | ratio (least to most) \
         | plane p99 | bare p99 | ratio |\n|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n",
    );
    for Comparison { plane, bare, items_ratio, p50_ratio, p99_ratio } in comparisons {
        // Writing to a string does not fail.
        let _ = writeln!(
            out,
            "| {} | {:.0} | {:.0} | {} | {} | {} | {} | {} | {} | {:.2} |",
            plane.cell,
            plane.items_per_second.median,
            bare.items_per_second.median,
            spread(items_ratio),
            micros(plane.p50_us.median),
            micros(bare.p50_us.median),
            spread(p50_ratio),
            micros(plane.p99_us.median),
            micros(bare.p99_us.median),
            p99_ratio.median,
        );
    }
    out
}

fn spread(ratio: &Spread) -> String {
    format!("**{:.2}** ({:.2} to {:.2})", ratio.median, ratio.min, ratio.max)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::sample::{Ended, Recorder};

    fn sample(way: Way, calls: u64) -> Sample {
        let mut recorder = Recorder::default();
        let first = Some(Duration::from_micros(5));
        let ended = Ended { at: Instant::now(), first, whole: Duration::from_micros(calls), items: 1, bytes: 1 };
        (0..calls).for_each(|_| recorder.note(&ended));
        recorder.sample("a", way, Duration::from_secs(1))
    }

    #[test]
    fn each_round_is_compared_with_itself() {
        let rounds = [(10, 20), (90, 100), (30, 10)];
        let samples: Vec<_> =
            rounds.iter().flat_map(|(plane, bare)| [sample(Way::Plane, *plane), sample(Way::Bare, *bare)]).collect();
        let comparisons = compare(&samples);
        assert_eq!(comparisons.len(), 1);
        assert_eq!(comparisons[0].items_ratio, Spread { median: 0.9, min: 0.5, max: 3.0 });
        assert!((comparisons[0].p50_ratio.median - 0.9).abs() < 0.02, "{comparisons:?}");
        assert_eq!(comparisons[0].bare.calls_per_second.median, 20.0);
        let table = comparison_table(&comparisons);
        assert!(table.lines().count() == 3 && table.contains("**0.90** (0.50 to 3.00)"), "{table}");
    }

    #[test]
    fn what_was_measured_one_way_is_compared_with_nothing() {
        assert_eq!(compare(&[sample(Way::Plane, 1)]), []);
    }
}
