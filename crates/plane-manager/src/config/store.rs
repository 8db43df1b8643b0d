//! Settings of requests that are stored on NATS until they were answered.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::check::Check;
use super::names;
use super::problem::{ConfigWarning, Findings};
use super::raw::Raw;
use super::values::{parse_duration, parse_size};

const MIB: u64 = 1024 * 1024;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const AGES: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(366 * 24 * 60 * 60);
const AGE: &str = "1s to 366d, as seconds or with a unit (90s, 12h, 7d)";

/// Settings of requests that are stored on the NATS server until they were answered (`DYN_NATS_DELIVERY=jetstream`). What
/// each does is in docs/configuration.md. Callers and servers of one prefix should have the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreSettings {
    /// What the store holds, in bytes (`DYN_NATS_STORE_MAX_BYTES`); 1 GiB by default, 1 MiB to 1 PiB.
    pub max_bytes: u64,
    /// How long a request is stored (`DYN_NATS_STORE_MAX_AGE`); 7 days by default, 1 s to 366 days.
    pub max_age: Duration,
    /// How many NATS servers of a cluster keep each request (`DYN_NATS_STORE_REPLICAS`); 1 by default, 1 to 5.
    pub replicas: u8,
    /// How long an id is remembered, so that a request is not stored twice (`DYN_NATS_DUPLICATE_WINDOW`); 2 min by
    /// default, 1 s to `max_age`.
    pub duplicate_window: Duration,
    /// How often a request is tried before it is a dead letter (`DYN_NATS_MAX_ATTEMPTS`); 5 by default, 1 to 1,000.
    pub max_attempts: u32,
    /// How long a failed request waits for its second try; twice as long for each later one, up to 60 times
    /// (`DYN_NATS_RETRY_DELAY`); 1 s by default, 1 ms to 20 min.
    pub retry_delay: Duration,
}

impl Default for StoreSettings {
    fn default() -> Self {
        Self {
            max_bytes: 1024 * MIB,
            max_age: 7 * DAY,
            replicas: 1,
            duplicate_window: Duration::from_secs(120),
            max_attempts: 5,
            retry_delay: Duration::from_secs(1),
        }
    }
}

impl StoreSettings {
    /// `None` for core delivery, which stores nothing.
    pub(super) fn check(raw: &Raw, findings: &mut Findings) -> Option<Self> {
        let delivery = |text: &str| match text.to_ascii_lowercase().as_str() {
            "core" => Some(false),
            "jetstream" => Some(true),
            _ => None,
        };
        let accepted = "core or jetstream, in upper or lower case";
        let is_stored = Check::new(findings).read(names::NATS_DELIVERY, &raw.nats_delivery, delivery, accepted);
        let settings = Self::read(raw, &mut Check::new(findings));
        if is_stored == Some(true) {
            return Some(settings);
        }
        for (variable, value) in [
            (names::NATS_STORE_MAX_BYTES, &raw.nats_store_max_bytes),
            (names::NATS_STORE_MAX_AGE, &raw.nats_store_max_age),
            (names::NATS_STORE_REPLICAS, &raw.nats_store_replicas),
            (names::NATS_DUPLICATE_WINDOW, &raw.nats_duplicate_window),
            (names::NATS_MAX_ATTEMPTS, &raw.nats_max_attempts),
            (names::NATS_RETRY_DELAY, &raw.nats_retry_delay),
        ] {
            if value.is_some() {
                findings.warn(ConfigWarning::Unused { variable, unless: names::NATS_DELIVERY, needed: "jetstream" });
            }
        }
        None
    }

    fn read(raw: &Raw, check: &mut Check<'_>) -> Self {
        let default = Self::default();
        let bytes = |text: &str| parse_size(text).and_then(|bytes| u64::try_from(bytes).ok());
        let max_age = check
            .ranged(names::NATS_STORE_MAX_AGE, &raw.nats_store_max_age, parse_duration, AGES, AGE)
            .unwrap_or(default.max_age);
        let window =
            format!("1s to DYN_NATS_STORE_MAX_AGE ({} s), as seconds or with a unit (90s, 2m)", max_age.as_secs());
        let windows = Duration::from_secs(1)..=max_age;
        Self {
            max_bytes: check
                .ranged(
                    names::NATS_STORE_MAX_BYTES,
                    &raw.nats_store_max_bytes,
                    bytes,
                    MIB..=1 << 50,
                    "1MiB to 1024TiB, as bytes or with a unit (512MiB, 20GiB, 2TiB)",
                )
                .unwrap_or(default.max_bytes),
            max_age,
            replicas: check
                .ranged(names::NATS_STORE_REPLICAS, &raw.nats_store_replicas, |text| text.parse().ok(), 1..=5, "1 to 5")
                .unwrap_or(default.replicas),
            duplicate_window: check
                .ranged(names::NATS_DUPLICATE_WINDOW, &raw.nats_duplicate_window, parse_duration, windows, &window)
                .unwrap_or(default.duplicate_window.min(max_age)),
            max_attempts: check
                .ranged(
                    names::NATS_MAX_ATTEMPTS,
                    &raw.nats_max_attempts,
                    |text| text.parse().ok(),
                    1..=1_000,
                    "1 to 1000 attempts",
                )
                .unwrap_or(default.max_attempts),
            retry_delay: check
                .ranged(
                    names::NATS_RETRY_DELAY,
                    &raw.nats_retry_delay,
                    parse_duration,
                    Duration::from_millis(1)..=Duration::from_secs(1_200),
                    "1ms to 20m, as seconds (10, 0.5) or with a unit (500ms, 3s, 2m)",
                )
                .unwrap_or(default.retry_delay),
        }
    }
}
