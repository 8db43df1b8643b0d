//! Medians over rounds, as JSON and as a table.

use std::fmt::Write;

use serde::{Deserialize, Serialize};

use crate::sample::{Sample, Way};

/// The rounds of one cell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The name of the cell.
    pub cell: String,
    /// What made the calls.
    pub way: Way,
    /// How many rounds there were.
    pub rounds: usize,
    /// Calls in a second.
    pub calls_per_second: Spread,
    /// Messages of answers in a second.
    pub items_per_second: Spread,
    /// Payload in a second, both ways together, in MiB.
    pub mib_per_second: Spread,
    /// Half of the calls ended within this, in microseconds.
    pub p50_us: Spread,
    /// All but one of a hundred calls ended within this, in microseconds.
    pub p99_us: Spread,
    /// Half of the first messages came within this, in microseconds.
    pub first_p50_us: Spread,
    /// All but one of a hundred first messages came within this, in microseconds.
    pub first_p99_us: Spread,
}

/// The middle of the rounds and how far they lie apart.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// Half of the rounds are not above it.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The most.
    pub max: f64,
}

impl Spread {
    fn over(samples: &[&Sample], value: impl Fn(&Sample) -> f64) -> Self {
        Self::of(samples.iter().map(|sample| value(sample)).collect())
    }

    /// That of these values.
    #[must_use]
    pub fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let at = |index: usize| values.get(index).copied().unwrap_or_default();
        let middle = values.len() / 2;
        let median =
            if values.len() % 2 == 1 { at(middle) } else { f64::midpoint(at(middle.wrapping_sub(1)), at(middle)) };
        Self { median, min: at(0), max: at(values.len().saturating_sub(1)) }
    }
}

/// One summary for each cell and way, in the order in which they first appear.
#[must_use]
pub fn summarize(samples: &[Sample]) -> Vec<Summary> {
    let mut kinds: Vec<(&str, Way)> = Vec::new();
    for sample in samples {
        if !kinds.contains(&(&sample.cell, sample.way)) {
            kinds.push((&sample.cell, sample.way));
        }
    }
    kinds.into_iter().map(|(cell, way)| summary(samples, cell, way)).collect()
}

fn summary(samples: &[Sample], cell: &str, way: Way) -> Summary {
    let rounds: Vec<&Sample> = samples.iter().filter(|sample| sample.cell == cell && sample.way == way).collect();
    Summary {
        cell: cell.to_owned(),
        way,
        rounds: rounds.len(),
        calls_per_second: Spread::over(&rounds, |sample| sample.calls_per_second),
        items_per_second: Spread::over(&rounds, |sample| sample.items_per_second),
        mib_per_second: Spread::over(&rounds, |sample| sample.mib_per_second),
        p50_us: Spread::over(&rounds, |sample| sample.p50_us),
        p99_us: Spread::over(&rounds, |sample| sample.p99_us),
        first_p50_us: Spread::over(&rounds, |sample| sample.first_p50_us),
        first_p99_us: Spread::over(&rounds, |sample| sample.first_p99_us),
    }
}

/// The medians as a table in Markdown.
#[must_use]
pub fn table(summaries: &[Summary]) -> String {
    let mut out = String::from(
        "| cell | calls/s (least to most) | items/s | MiB/s | p50 | p99 | first item p50 | first item p99 |\n\
         |---|--:|--:|--:|--:|--:|--:|--:|\n",
    );
    for summary in summaries {
        let calls = summary.calls_per_second;
        // Writing to a string does not fail.
        let _ = writeln!(
            out,
            "| {} | {:.0} ({:.0} to {:.0}) | {:.0} | {:.1} | {} | {} | {} | {} |",
            summary.cell,
            calls.median,
            calls.min,
            calls.max,
            summary.items_per_second.median,
            summary.mib_per_second.median,
            micros(summary.p50_us.median),
            micros(summary.p99_us.median),
            micros(summary.first_p50_us.median),
            micros(summary.first_p99_us.median),
        );
    }
    out
}

/// Microseconds as a person reads them.
#[must_use]
pub fn micros(value: f64) -> String {
    if value < 1_000.0 { format!("{value:.0} µs") } else { format!("{:.2} ms", value / 1_000.0) }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::sample::{Ended, Recorder};

    fn sample(cell: &str, calls: u64) -> Sample {
        let mut recorder = Recorder::default();
        let first = Some(Duration::from_micros(5));
        let ended = Ended { at: Instant::now(), first, whole: Duration::from_millis(2), items: 1, bytes: 1 };
        (0..calls).for_each(|_| recorder.note(&ended));
        recorder.sample(cell, Way::Plane, Duration::from_secs(1))
    }

    #[test]
    fn rounds_of_a_cell_become_one_line() {
        let samples = [sample("a", 10), sample("b", 1), sample("a", 30), sample("b", 4), sample("a", 20)];
        let summaries = summarize(&samples);
        assert_eq!(summaries.iter().map(|s| (s.cell.as_str(), s.rounds)).collect::<Vec<_>>(), [("a", 3), ("b", 2)]);
        assert_eq!(summaries[0].calls_per_second, Spread { median: 20.0, min: 10.0, max: 30.0 });
        assert_eq!(summaries[1].calls_per_second.median, 2.5);
        let table = table(&summaries);
        assert_eq!(table.lines().count(), 4);
        assert!(table.contains("| a | 20 (10 to 30) |") && table.contains(" ms | "), "{table}");
    }
}
