//! What JetStream's API is asked and answers, as far as the plane needs it.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// How a stream is set up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StreamSettings {
    pub(crate) name: String,
    pub(crate) subjects: Vec<String>,
    pub(crate) retention: String,
    pub(crate) discard: String,
    pub(crate) storage: String,
    #[serde(rename = "num_replicas")]
    pub(crate) replicas: u8,
    pub(crate) max_bytes: i64,
    #[serde(with = "nanos")]
    pub(crate) max_age: Duration,
    #[serde(with = "nanos")]
    pub(crate) duplicate_window: Duration,
    #[serde(rename = "max_msgs_per_subject")]
    pub(crate) per_subject: i64,
}

/// A stream as it is.
#[derive(Debug, Deserialize)]
pub(crate) struct StreamInfo {
    pub(crate) config: StreamSettings,
    pub(crate) state: StreamState,
    /// When the NATS server said so, on its clock.
    #[serde(default, rename = "ts", deserialize_with = "moment")]
    pub(crate) now: Option<SystemTime>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct StreamState {
    #[serde(rename = "messages")]
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
    #[serde(rename = "first_seq")]
    pub(crate) first: u64,
    #[serde(rename = "last_seq")]
    pub(crate) last: u64,
}

/// How a consumer is set up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ConsumerSettings {
    #[serde(rename = "durable_name")]
    pub(crate) name: String,
    #[serde(rename = "filter_subject")]
    pub(crate) filter: String,
    pub(crate) deliver_policy: String,
    pub(crate) ack_policy: String,
    #[serde(with = "nanos")]
    pub(crate) ack_wait: Duration,
    pub(crate) max_deliver: i64,
    #[serde(rename = "max_ack_pending")]
    pub(crate) max_unacked: i64,
    #[serde(rename = "max_waiting")]
    pub(crate) max_servers: i64,
}

/// A consumer as it is.
#[derive(Debug, Deserialize)]
pub(crate) struct ConsumerInfo {
    pub(crate) config: ConsumerSettings,
    pub(crate) ack_floor: Position,
    #[serde(rename = "num_ack_pending")]
    pub(crate) unacked: u64,
    #[serde(rename = "num_pending")]
    pub(crate) waiting: u64,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Position {
    #[serde(rename = "stream_seq")]
    pub(crate) stream: u64,
}

#[derive(Debug, Deserialize)]
pub(crate) struct ConsumerPage {
    pub(crate) total: u64,
    #[serde(default, deserialize_with = "or_none")]
    pub(crate) consumers: Vec<ConsumerInfo>,
}

/// Which message of a stream is wanted.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Wanted<'a> {
    #[serde(rename = "last_by_subj", skip_serializing_if = "Option::is_none")]
    pub(crate) last_of: Option<&'a str>,
    #[serde(rename = "next_by_subj", skip_serializing_if = "Option::is_none")]
    pub(crate) next_of: Option<&'a str>,
    #[serde(rename = "seq", skip_serializing_if = "Option::is_none")]
    pub(crate) sequence: Option<u64>,
}

/// JSON has `null` for an empty list.
fn or_none<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<ConsumerInfo>, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

fn moment<'de, D: Deserializer<'de>>(from: D) -> Result<Option<SystemTime>, D::Error> {
    let text: Option<String> = Option::deserialize(from)?;
    Ok(text.and_then(|text| async_nats::datetime::parse_rfc3339(&text).ok()).map(SystemTime::from))
}

/// JetStream has times in nanoseconds.
mod nanos {
    use super::{Deserialize, Deserializer, Duration, Serializer};

    pub(super) fn serialize<S: Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_i64(i64::try_from(time.as_nanos()).unwrap_or(i64::MAX))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        let nanos = i64::deserialize(from)?;
        Ok(Duration::from_nanos(u64::try_from(nanos).unwrap_or(0)))
    }
}
