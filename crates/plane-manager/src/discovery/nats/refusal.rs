//! What is said if the bucket cannot be used.

use std::error::Error as StdError;

use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::context::{GetStreamError, GetStreamErrorKind, PublishError, PublishErrorKind};
use async_nats::jetstream::context::{RequestError, RequestErrorKind};
use plane_core::{Delivery, Error, ErrorKind};

/// `purpose` completes "cannot"; `place` is the bucket and where it is.
pub(super) fn refuse(place: &str, purpose: &str, error: impl StdError + Send + Sync + 'static) -> Error {
    let what = if lacks_jetstream(&error) {
        format!(
            "discovery on NATS needs JetStream, and nobody answers for it ({place}): start nats-server with JetStream (-js) \
             and allow this account to use it, or choose another DYN_DISCOVERY_BACKEND"
        )
    } else {
        format!("cannot {purpose} ({place}): {error}")
    };
    Error::new(ErrorKind::Unavailable, Delivery::NotSent, what).with_source(error)
}

pub(super) fn unanswered(place: &str, purpose: &str, limit: std::time::Duration) -> Error {
    let what = format!("cannot {purpose} ({place}): no answer within {limit:?}");
    Error::new(ErrorKind::Unavailable, Delivery::NotSent, what)
}

pub(super) fn denied(place: &str, subject: &str) -> Error {
    let what = format!(
        "NATS does not let this user use the subject {subject} ({place}); docs/nats.md lists those that discovery needs"
    );
    Error::new(ErrorKind::PermissionDenied, Delivery::NotSent, what)
}

/// Whether there is no such bucket.
pub(super) fn lacks_bucket(error: &(dyn StdError + 'static)) -> bool {
    chain(error).any(|cause| {
        let stream = cause.downcast_ref::<GetStreamError>().map(GetStreamError::kind);
        let publish = cause.downcast_ref::<PublishError>().map(PublishError::kind);
        matches!(stream, Some(GetStreamErrorKind::JetStream(error)) if error.error_code() == ErrorCode::STREAM_NOT_FOUND)
            || matches!(publish, Some(PublishErrorKind::StreamNotFound))
    })
}

fn lacks_jetstream(error: &(dyn StdError + 'static)) -> bool {
    let disabled = [ErrorCode::JETSTREAM_NOT_ENABLED, ErrorCode::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT];
    chain(error).any(|cause| {
        let request = cause.downcast_ref::<RequestError>().map(RequestError::kind);
        let stream = cause.downcast_ref::<GetStreamError>().map(GetStreamError::kind);
        request == Some(RequestErrorKind::NoResponders)
            || matches!(stream, Some(GetStreamErrorKind::JetStream(error)) if disabled.contains(&error.error_code()))
    })
}

fn chain<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}
