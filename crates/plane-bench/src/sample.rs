//! What one round of a cell gave.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// A call that ended well.
#[derive(Debug, Clone, Copy)]
pub struct Ended {
    /// When it ended.
    pub at: Instant,
    /// How long its first item took, if more than one came.
    pub first: Option<Duration>,
    /// How long all of it took.
    pub whole: Duration,
    /// Messages of its answer.
    pub items: u64,
    /// Payload, both ways together.
    pub bytes: u64,
}

/// What the calls of a cell came to.
#[derive(Debug)]
pub struct Recorder {
    calls: u64,
    items: u64,
    bytes: u64,
    whole: Histogram<u64>,
    first: Histogram<u64>,
}

/// The longest time that is told apart from longer ones, in nanoseconds: a minute.
const LONGEST: u64 = 60_000_000_000;

impl Default for Recorder {
    fn default() -> Self {
        // Two digits, so that it is small: what is measured needs the cache.
        let histogram = || Histogram::new_with_max(LONGEST, 2).expect("constant bounds that fit each other");
        Self { calls: 0, items: 0, bytes: 0, whole: histogram(), first: histogram() }
    }
}

impl Recorder {
    /// Adds a call.
    pub fn note(&mut self, ended: &Ended) {
        let Ended { first, whole, items, bytes, .. } = *ended;
        self.calls += 1;
        self.items += items;
        self.bytes += bytes;
        if let Some(first) = first {
            self.first.saturating_record(nanos(first));
        }
        self.whole.saturating_record(nanos(whole));
    }

    /// Adds what another recorded.
    ///
    /// # Panics
    /// Never: all histograms have the same bounds.
    pub fn merge(&mut self, other: &Self) {
        self.calls += other.calls;
        self.items += other.items;
        self.bytes += other.bytes;
        self.whole.add(&other.whole).expect("the same bounds");
        self.first.add(&other.first).expect("the same bounds");
    }

    /// The sample of all that was recorded, over this much time.
    #[must_use]
    pub fn sample(&self, cell: &str, way: Way, elapsed: Duration) -> Sample {
        let seconds = elapsed.as_secs_f64().max(f64::MIN_POSITIVE);
        let micros = |histogram: &Histogram<u64>, quantile| float(histogram.value_at_quantile(quantile)) / 1_000.0;
        let first = if self.first.is_empty() { &self.whole } else { &self.first };
        Sample {
            cell: cell.to_owned(),
            way,
            calls: self.calls,
            calls_per_second: float(self.calls) / seconds,
            items_per_second: float(self.items) / seconds,
            mib_per_second: float(self.bytes) / seconds / float(1 << 20),
            p50_us: micros(&self.whole, 0.5),
            p99_us: micros(&self.whole, 0.99),
            first_p50_us: micros(first, 0.5),
            first_p99_us: micros(first, 0.99),
        }
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[expect(clippy::cast_precision_loss, reason = "a rate is shown with four digits, a double has fifteen")]
fn float(count: u64) -> f64 {
    count as f64
}

/// What made the calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Way {
    /// A transport of the plane.
    Plane,
    /// The NATS client library alone.
    Bare,
}

/// What one round of a cell gave.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// The name of the cell.
    pub cell: String,
    /// What made the calls.
    pub way: Way,
    /// Calls that ended well.
    pub calls: u64,
    /// Calls in a second.
    pub calls_per_second: f64,
    /// Messages of answers in a second.
    pub items_per_second: f64,
    /// Payload in a second, both ways together, in MiB.
    pub mib_per_second: f64,
    /// Half of the calls ended within this, in microseconds.
    pub p50_us: f64,
    /// All but one of a hundred calls ended within this, in microseconds.
    pub p99_us: f64,
    /// Half of the first messages came within this, in microseconds.
    pub first_p50_us: f64,
    /// All but one of a hundred first messages came within this, in microseconds.
    pub first_p99_us: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_and_quantiles_are_those_of_what_was_recorded() {
        let first = Some(Duration::from_micros(1));
        let ended = |whole| Ended { at: Instant::now(), first, whole, items: 4, bytes: 1 << 20 };
        let (mut one, mut other) = (Recorder::default(), Recorder::default());
        for _ in 0..98 {
            one.note(&ended(Duration::from_micros(10)));
        }
        for _ in 0..2 {
            other.note(&ended(Duration::from_millis(10)));
        }
        one.merge(&other);
        let sample = one.sample("x", Way::Plane, Duration::from_secs(2));
        assert_eq!((sample.calls, sample.calls_per_second, sample.items_per_second), (100, 50.0, 200.0));
        assert!((sample.mib_per_second - 50.0).abs() < 0.01);
        assert!((sample.p50_us - 10.0).abs() < 0.1 && (sample.p99_us - 10_000.0).abs() < 100.0, "{sample:?}");
        assert!((sample.first_p99_us - 1.0).abs() < 0.1, "{sample:?}");
    }

    #[test]
    fn the_only_message_is_the_first() {
        let mut recorder = Recorder::default();
        recorder.note(&Ended { at: Instant::now(), first: None, whole: Duration::from_micros(10), items: 1, bytes: 1 });
        let sample = recorder.sample("x", Way::Plane, Duration::from_secs(1));
        assert!(
            sample.first_p50_us > 9.9 && (sample.first_p50_us, sample.first_p99_us) == (sample.p50_us, sample.p99_us)
        );
    }
}
