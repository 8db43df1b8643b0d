//! Settings of discovery on NATS ([`NatsDiscoveryConfig`]).

use std::time::Duration;

use plane_core::{ConfigError, Delivery, Error, ErrorKind};

use crate::config::{NATS_BUCKET, NATS_INSTANCE_TTL};

/// What the prefix of the plane is unless it is set.
const PREFIX: &str = "plane";

/// NATS allows streams 255 characters; the name of a bucket becomes a part of one.
const LONGEST_BUCKET: usize = 200;

const SHORTEST_TTL: Duration = Duration::from_millis(500);
const LONGEST_TTL: Duration = Duration::from_secs(3600);

/// Which bucket instances are kept in, and for how long without a renewal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NatsDiscoveryConfig {
    pub(super) bucket: String,
    pub(super) ttl: Duration,
    pub(super) replicas: usize,
}

impl Default for NatsDiscoveryConfig {
    fn default() -> Self {
        Self { bucket: bucket_of(PREFIX), ttl: Duration::from_secs(10), replicas: 1 }
    }
}

impl NatsDiscoveryConfig {
    /// The default settings with a bucket that belongs to this prefix alone: deployments that do not see each other's
    /// calls do not see each other's instances either.
    ///
    /// It is `<prefix>-instances`. The dots of a prefix become `-`, and the lengths of the tokens before them follow, so
    /// that no two prefixes have the same bucket: `team.a` has `team-a-instances-4`.
    ///
    /// # Errors
    /// [`ConfigError`] if the prefix is not made of the characters that a bucket may have, or is too long for one.
    pub fn for_prefix(prefix: &str) -> Result<Self, ConfigError> {
        Self::default().bucket(&bucket_of(prefix))
    }

    /// What the variables say.
    ///
    /// # Errors
    /// `InvalidArgument` for a value that was set by hand to what no variable accepts, and for a prefix that no bucket can
    /// be named after.
    pub(crate) fn of_settings(prefix: &str, bucket: Option<&str>, ttl: Duration) -> Result<Self, Error> {
        let refuse = |variable: &'static str| {
            move |error: ConfigError| {
                let what = format!("{variable}: {error}");
                Error::new(ErrorKind::InvalidArgument, Delivery::NotSent, what).with_source(error)
            }
        };
        let config = match bucket {
            Some(bucket) => Self::default().bucket(bucket),
            None => Self::for_prefix(prefix),
        };
        config.map_err(refuse(NATS_BUCKET))?.ttl(ttl).map_err(refuse(NATS_INSTANCE_TTL))
    }

    /// The name of the JetStream key-value bucket; `plane-instances` by default. It is made if it is not there.
    ///
    /// # Errors
    /// [`ConfigError`] unless it is 1 to 200 characters of `A-Z a-z 0-9 _ -`.
    pub fn bucket(mut self, name: &str) -> Result<Self, ConfigError> {
        let is_char = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        let holds = (1..=LONGEST_BUCKET).contains(&name.len()) && name.chars().all(is_char);
        self.bucket = ConfigError::check(holds, "bucket", name.to_owned(), "1 to 200 characters of A-Z a-z 0-9 _ -")?;
        Ok(self)
    }

    /// How long an instance stays without a renewal; 10 s by default, 500 ms to an hour. It is renewed three times as
    /// often, and applies to a bucket that is made: one that is there keeps its own.
    ///
    /// Too low costs messages and loses live instances when a machine is busy; too high lists dead ones for long.
    ///
    /// # Errors
    /// [`ConfigError`] outside that range.
    pub fn ttl(mut self, ttl: Duration) -> Result<Self, ConfigError> {
        self.ttl = ConfigError::check((SHORTEST_TTL..=LONGEST_TTL).contains(&ttl), "ttl", ttl, "500ms to 1h")?;
        Ok(self)
    }

    /// How many servers of a cluster keep a copy of the bucket; 1 by default, 1 to 5. It applies to a bucket that is made.
    ///
    /// # Errors
    /// [`ConfigError`] outside that range.
    pub fn replicas(mut self, replicas: usize) -> Result<Self, ConfigError> {
        self.replicas = ConfigError::check((1..=5).contains(&replicas), "replicas", replicas, "1 to 5")?;
        Ok(self)
    }
}

fn bucket_of(prefix: &str) -> String {
    let mut bucket = format!("{}-instances", prefix.replace('.', "-"));
    let mut tokens: Vec<&str> = prefix.split('.').collect();
    // The last one's length follows from the others'.
    tokens.pop();
    for token in tokens {
        bucket.push_str(&format!("-{}", token.len()));
    }
    bucket
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Case B9: two deployments with different prefixes never see each other.
    #[test]
    fn each_prefix_has_its_own_bucket() {
        let bucket = |prefix: &str| NatsDiscoveryConfig::for_prefix(prefix).unwrap().bucket;
        assert_eq!(bucket("plane"), NatsDiscoveryConfig::default().bucket);
        assert_eq!(bucket("plane"), "plane-instances");
        assert_eq!(bucket("team.a"), "team-a-instances-4");
        let prefixes = ["a", "A", "a.b", "a-b", "a_b", "a.b.c", "a-b.c", "a.b-c", "a--b", "a.-b", "a-.b"];
        let buckets: std::collections::BTreeSet<String> = prefixes.into_iter().map(bucket).collect();
        assert_eq!(buckets.len(), prefixes.len());
    }

    #[test]
    fn values_that_cannot_work_are_refused_by_name() {
        let config = NatsDiscoveryConfig::default;
        let refused = [
            config().bucket("").unwrap_err().setting(),
            config().bucket("a.b").unwrap_err().setting(),
            config().bucket(&"x".repeat(201)).unwrap_err().setting(),
            config().ttl(Duration::from_millis(499)).unwrap_err().setting(),
            config().replicas(0).unwrap_err().setting(),
            NatsDiscoveryConfig::for_prefix(&"x".repeat(200)).unwrap_err().setting(),
        ];
        assert_eq!(refused, ["bucket", "bucket", "bucket", "ttl", "replicas", "bucket"]);
    }
}
