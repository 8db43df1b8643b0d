//! How the streams and consumers of a prefix are set up, and how that differs from what is there.

use std::time::Duration;

use plane_core::{Delivery, EndpointId, Error, ErrorKind};

use super::names::{self, Names};
use super::wire::{ConsumerSettings, StreamSettings};
use crate::delivery::{Storage, StoreConfig};

/// How long dead letters are kept: until somebody has seen to them.
const FOR_EVER: Duration = Duration::ZERO;

/// Requests of one endpoint that may be on their way or waiting for their next try. Each server takes only what it may
/// run; this bounds what failing requests take up together.
const MAX_UNACKED: i64 = 65_536;

/// Servers of one endpoint that may ask for requests at once.
const MAX_SERVERS: i64 = 16_384;

/// Servers that have missed this many beats have lost their request.
const BEATS: u32 = 3;

pub(super) fn requests(names: &Names, config: &StoreConfig) -> StreamSettings {
    StreamSettings {
        name: names.requests.clone(),
        subjects: vec![names.request_subject(None)],
        retention: "limits".to_owned(),
        // A full store refuses what is new: it never drops what waits.
        discard: "new".to_owned(),
        storage: storage(config),
        replicas: config.replicas,
        max_bytes: bytes(config.max_bytes),
        max_age: config.max_age,
        duplicate_window: config.duplicate_window.min(config.max_age),
        per_subject: -1,
    }
}

pub(super) fn dead(names: &Names, config: &StoreConfig) -> StreamSettings {
    StreamSettings {
        name: names.dead.clone(),
        subjects: vec![names.dead_subject(None)],
        max_bytes: bytes(config.dead_bytes),
        max_age: FOR_EVER,
        ..requests(names, config)
    }
}

pub(super) fn answers(names: &Names, config: &StoreConfig) -> StreamSettings {
    StreamSettings {
        name: names.answers.clone(),
        subjects: vec![names.answer_subjects()],
        discard: "old".to_owned(),
        max_bytes: bytes(config.answer_bytes),
        max_age: config.answer_age,
        duplicate_window: config.duplicate_window.min(config.answer_age),
        per_subject: 1,
        ..requests(names, config)
    }
}

fn storage(config: &StoreConfig) -> String {
    match config.storage {
        Storage::File => "file".to_owned(),
        Storage::Memory => "memory".to_owned(),
    }
}

fn bytes(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

pub(super) fn consumer(names: &Names, config: &StoreConfig, endpoint: &EndpointId) -> ConsumerSettings {
    ConsumerSettings {
        name: names::consumer(endpoint),
        filter: names.request_subject(Some(endpoint)),
        deliver_policy: "all".to_owned(),
        ack_policy: "explicit".to_owned(),
        ack_wait: config.beat * BEATS,
        // Servers count tries themselves: NATS would count what was given back unread as well.
        max_deliver: -1,
        max_unacked: MAX_UNACKED,
        max_servers: MAX_SERVERS,
    }
}

/// How the stream that is there differs from the one that is wanted.
///
/// # Errors
/// `FailedPrecondition` naming the first setting that differs.
pub(super) fn check_stream(found: &StreamSettings, wanted: &StreamSettings) -> Result<(), Error> {
    let bytes = if wanted.name.starts_with("plane-requests") {
        "max_bytes"
    } else if wanted.name.starts_with("plane-dead") {
        "dead_bytes"
    } else {
        "answers"
    };
    let age = if bytes == "answers" { "answers" } else { "max_age" };
    check(&wanted.name, bytes, &found.max_bytes, &wanted.max_bytes)?;
    check(&wanted.name, age, &found.max_age, &wanted.max_age)?;
    check(&wanted.name, "duplicate_window", &found.duplicate_window, &wanted.duplicate_window)?;
    check(&wanted.name, "replicas", &found.replicas, &wanted.replicas)?;
    check(&wanted.name, "storage", &found.storage, &wanted.storage)
}

/// # Errors
/// As [`check_stream`].
pub(super) fn check_consumer(found: &ConsumerSettings, wanted: &ConsumerSettings) -> Result<(), Error> {
    check(&wanted.name, "beat", &(found.ack_wait / BEATS), &(wanted.ack_wait / BEATS))
}

fn check<T: PartialEq + std::fmt::Debug>(name: &str, setting: &str, found: &T, wanted: &T) -> Result<(), Error> {
    if found == wanted {
        return Ok(());
    }
    let variable = match setting {
        "max_bytes" => " (DYN_NATS_STORE_MAX_BYTES)",
        "max_age" => " (DYN_NATS_STORE_MAX_AGE)",
        "duplicate_window" => " (DYN_NATS_DUPLICATE_WINDOW)",
        "replicas" => " (DYN_NATS_STORE_REPLICAS)",
        _ => "",
    };
    let what = format!(
        "the store on NATS has another {setting}{variable} than this side: {name} has {found:?}, not {wanted:?}; set the \
         same on every side, or change what is there (`plane store apply`)"
    );
    Err(Error::new(ErrorKind::FailedPrecondition, Delivery::NotSent, what))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_named() {
        let names = Names::new("plane");
        let config = StoreConfig::default();
        let other = StoreConfig::default().max_age(Duration::from_secs(9)).unwrap();
        assert!(check_stream(&requests(&names, &config), &requests(&names, &config)).is_ok());
        let error = check_stream(&requests(&names, &other), &requests(&names, &config)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::FailedPrecondition);
        assert!(error.message().contains("max_age"), "{error}");
    }

    /// A stream's own memory of ids cannot outlive its messages.
    #[test]
    fn windows_fit_ages() {
        let names = Names::new("plane");
        let config = StoreConfig::default().max_age(Duration::from_secs(9)).unwrap();
        assert_eq!(requests(&names, &config).duplicate_window, Duration::from_secs(9));
        assert_eq!(dead(&names, &config).max_age, FOR_EVER);
        assert_eq!(answers(&names, &config).per_subject, 1);
    }
}
