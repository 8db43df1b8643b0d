//! How requests reach their servers ([`NatsDelivery`]), and the store between them if there is one ([`StoreConfig`]).

use std::time::Duration;

use plane_core::ConfigError;

const MIB: u64 = 1024 * 1024;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How requests reach their servers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum NatsDelivery {
    /// Straight away, at most once: whoever answers must be there.
    #[default]
    Core,
    /// Through a store of the NATS server, at least once (docs/nats.md, "Durable delivery").
    JetStream(StoreConfig),
}

/// Where the NATS server keeps what is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Storage {
    /// In files: a restart of the NATS server loses nothing.
    #[default]
    File,
    /// In memory: a restart of a NATS server without replicas loses everything.
    Memory,
}

/// The store of requests, and how often and how long they are tried. Clients and servers of one prefix should have the
/// same; one that differs from the store that is there is refused, see [`RequestStore::apply`](crate::RequestStore::apply).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreConfig {
    pub(crate) max_bytes: u64,
    pub(crate) max_age: Duration,
    pub(crate) replicas: u8,
    pub(crate) storage: Storage,
    pub(crate) duplicate_window: Duration,
    pub(crate) dead_bytes: u64,
    pub(crate) answer_bytes: u64,
    pub(crate) answer_age: Duration,
    pub(crate) max_attempts: u32,
    pub(crate) retry_delay: (Duration, Duration),
    pub(crate) beat: Duration,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            max_bytes: 1024 * MIB,
            max_age: 7 * DAY,
            replicas: 1,
            storage: Storage::File,
            duplicate_window: Duration::from_secs(120),
            dead_bytes: 256 * MIB,
            answer_bytes: 256 * MIB,
            answer_age: Duration::from_secs(600),
            max_attempts: 5,
            retry_delay: (Duration::from_secs(1), Duration::from_secs(60)),
            beat: Duration::from_secs(5),
        }
    }
}

fn check_bytes(setting: &'static str, bytes: u64) -> Result<u64, ConfigError> {
    ConfigError::check((64 * 1024..=1 << 50).contains(&bytes), setting, bytes, "64 KiB to 1 PiB")
}

fn check_time(
    setting: &'static str,
    time: Duration,
    least: Duration,
    accepted: &'static str,
) -> Result<Duration, ConfigError> {
    ConfigError::check((least..=3_650 * DAY).contains(&time), setting, time, accepted)
}

impl StoreConfig {
    /// What the store holds, requests that wait and those that were answered together, in bytes; 1 GiB by default,
    /// 64 KiB to 1 PiB.
    ///
    /// What was answered makes room once half of it is used. When all of it waits, further requests are refused.
    ///
    /// # Errors
    /// [`ConfigError`] outside that range.
    pub fn max_bytes(mut self, bytes: u64) -> Result<Self, ConfigError> {
        self.max_bytes = check_bytes("max_bytes", bytes)?;
        Ok(self)
    }

    /// How long a request is stored, answered or not; 7 days by default, 1 s to 10 years.
    ///
    /// A request that nobody ran in this time is lost. It is also how long a caller without a deadline waits.
    ///
    /// # Errors
    /// [`ConfigError`] outside that range.
    pub fn max_age(mut self, age: Duration) -> Result<Self, ConfigError> {
        self.max_age = check_time("max_age", age, Duration::from_secs(1), "1 s to 10 years")?;
        Ok(self)
    }

    /// How many NATS servers of a cluster keep each request; 1 by default, 1 to 5.
    ///
    /// # Errors
    /// [`ConfigError`] outside that range.
    pub fn replicas(mut self, replicas: u8) -> Result<Self, ConfigError> {
        self.replicas = ConfigError::check((1..=5).contains(&replicas), "replicas", replicas, "1 to 5")?;
        Ok(self)
    }

    /// Where requests are kept; in files by default.
    #[must_use]
    pub fn storage(mut self, storage: Storage) -> Self {
        self.storage = storage;
        self
    }

    /// How long the id of a request is remembered, so that a second one with it is not stored; 2 min by default, 100 ms
    /// to 10 years, and never longer than [`max_age`](Self::max_age).
    ///
    /// Too short runs repeated requests twice; too long takes memory of the NATS server.
    ///
    /// # Errors
    /// [`ConfigError`] outside that range.
    pub fn duplicate_window(mut self, window: Duration) -> Result<Self, ConfigError> {
        let least = Duration::from_millis(100);
        self.duplicate_window = check_time("duplicate_window", window, least, "100 ms to 10 years")?;
        Ok(self)
    }

    /// What the store of dead letters holds, in bytes; 256 MiB by default, 64 KiB to 1 PiB. When it is full, requests
    /// that should go there stay where they are and are tried again.
    ///
    /// # Errors
    /// [`ConfigError`] outside that range.
    pub fn dead_bytes(mut self, bytes: u64) -> Result<Self, ConfigError> {
        self.dead_bytes = check_bytes("dead_bytes", bytes)?;
        Ok(self)
    }

    /// What the store of answers holds, in bytes, and how long each stays; 256 MiB and 10 min by default, from 64 KiB
    /// and 1 s. The oldest go first.
    ///
    /// Too little of either runs requests again whose answer was lost on its way.
    ///
    /// # Errors
    /// [`ConfigError`] outside that range.
    pub fn answers(mut self, bytes: u64, age: Duration) -> Result<Self, ConfigError> {
        self.answer_bytes = check_bytes("answers", bytes)?;
        self.answer_age = check_time("answers", age, Duration::from_secs(1), "1 s to 10 years")?;
        Ok(self)
    }

    /// How often a request is tried before it is a dead letter; 5 times by default, 1 to 1,000.
    ///
    /// # Errors
    /// [`ConfigError`] outside that range.
    pub fn max_attempts(mut self, attempts: u32) -> Result<Self, ConfigError> {
        self.max_attempts =
            ConfigError::check((1..=1_000).contains(&attempts), "max_attempts", attempts, "1 to 1,000")?;
        Ok(self)
    }

    /// How long a failed request waits for its second try, and how long at most for later ones: it doubles each time;
    /// 1 s and 1 min by default.
    ///
    /// # Errors
    /// [`ConfigError`] if the first is zero or more than the second, or the second is more than a day.
    pub fn retry_delay(mut self, first: Duration, most: Duration) -> Result<Self, ConfigError> {
        let holds = !first.is_zero() && first <= most && most <= DAY;
        let accepted = "more than zero, growing, up to one day";
        self.retry_delay = ConfigError::check(holds, "retry_delay", (first, most), accepted)?;
        Ok(self)
    }

    /// How often a server says that it works on a request; 5 s by default, 10 ms to 1 h. A request whose server has
    /// missed three is given to another.
    ///
    /// Too low costs messages and runs requests twice on a busy machine; too high finds a dead server late.
    ///
    /// # Errors
    /// [`ConfigError`] outside that range.
    pub fn beat(mut self, beat: Duration) -> Result<Self, ConfigError> {
        let range = Duration::from_millis(10)..=Duration::from_secs(3_600);
        self.beat = ConfigError::check(range.contains(&beat), "beat", beat, "10 ms to 1 h")?;
        Ok(self)
    }

    /// How long a request waits after this many tries.
    pub(crate) fn delay_after(&self, attempts: u64) -> Duration {
        let (first, most) = self.retry_delay;
        let doublings = u32::try_from(attempts.saturating_sub(1)).unwrap_or(u32::MAX).min(31);
        first.saturating_mul(1 << doublings).min(most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_cannot_work_are_refused_by_name() {
        let config = StoreConfig::default;
        let (zero, second) = (Duration::ZERO, Duration::from_secs(1));
        let refused = [
            config().max_bytes(1).unwrap_err().setting(),
            config().max_age(zero).unwrap_err().setting(),
            config().replicas(0).unwrap_err().setting(),
            config().duplicate_window(zero).unwrap_err().setting(),
            config().dead_bytes(u64::MAX).unwrap_err().setting(),
            config().answers(0, second).unwrap_err().setting(),
            config().max_attempts(0).unwrap_err().setting(),
            config().retry_delay(2 * second, second).unwrap_err().setting(),
            config().beat(zero).unwrap_err().setting(),
        ];
        let expected = [
            "max_bytes",
            "max_age",
            "replicas",
            "duplicate_window",
            "dead_bytes",
            "answers",
            "max_attempts",
            "retry_delay",
            "beat",
        ];
        assert_eq!(refused, expected);
    }

    #[test]
    fn delays_double_up_to_the_most() {
        let config = StoreConfig::default();
        let seconds: Vec<_> = [1, 2, 3, 6, 7, u64::MAX].map(|attempts| config.delay_after(attempts).as_secs()).into();
        assert_eq!(seconds, [1, 2, 4, 32, 60, 60]);
    }
}
