//! Asks the NATS server's JetStream for something, and says in one way why it did not do it.

use std::time::Duration;

use async_nats::jetstream::response::Response;
use async_nats::{HeaderMap, Request, RequestErrorKind};
use bytes::Bytes;
use plane_core::{Delivery, Error, ErrorKind};
use serde::de::DeserializeOwned;
use tokio::sync::broadcast::error::RecvError;

use crate::connection::{NatsConnection, over_payload};

/// Why JetStream did not do what it was asked for.
#[derive(Debug)]
pub(crate) enum Failure {
    /// There is no connection, or it cannot be had.
    NotConnected(Error),
    /// The connection was lost while the answer was on its way.
    Lost,
    /// Nobody listens: JetStream is off, or the stream is not there.
    NoResponders,
    /// The answer did not come in time.
    TimedOut(Duration),
    /// The NATS server does not let this side use the subject.
    Denied(String),
    /// JetStream said no.
    Refused(async_nats::jetstream::Error),
    /// The message is larger than the server takes.
    TooLarge(usize),
    /// What came back is no answer.
    Garbled(String),
}

/// The numbers that JetStream has for what it refuses.
mod refused {
    pub(super) const NOT_FOUND: [u64; 3] = [10_014, 10_037, 10_059];
    pub(super) const STORE_FAILED: u64 = 10_077;
    pub(super) const NO_RESOURCES: [u64; 4] = [10_002, 10_023, 10_028, 10_047];
    pub(super) const NOT_ENABLED: [u64; 2] = [10_039, 10_076];
}

impl Failure {
    /// Whether what was asked for is not there: no consumer, message or stream.
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused(error) if refused::NOT_FOUND.contains(&error.error_code().0))
    }

    /// What the caller sees; `sent` is how far a call got if JetStream may have seen it.
    pub(crate) fn into_error(self, what: &str, sent: Delivery) -> Error {
        let error = |kind, delivery, text: String| Error::new(kind, delivery, format!("cannot {what}: {text}"));
        match self {
            Self::NotConnected(error) => error,
            Self::Lost => error(ErrorKind::Disconnected, sent, "the connection to NATS was lost".to_owned()),
            Self::NoResponders => {
                let text = "nobody answers for the store on NATS: JetStream is disabled there, the stream is gone, or too few \
                            servers of the cluster are up; see to that, enable `jetstream` in the NATS server's \
                            configuration, or set DYN_NATS_DELIVERY=core";
                error(ErrorKind::Unavailable, Delivery::NotSent, text.to_owned())
            }
            Self::TimedOut(limit) => {
                let text = format!("JetStream did not answer within {limit:?} (DYN_NATS_REQUEST_TIMEOUT)");
                error(ErrorKind::DeadlineExceeded, sent, text)
            }
            Self::Denied(subject) => {
                let text = format!("the NATS server does not let this side publish to {subject}; see its permissions");
                error(ErrorKind::PermissionDenied, Delivery::NotExecuted, text)
            }
            Self::Refused(refused) => {
                let (kind, hint) = kind_of(&refused);
                error(kind, Delivery::NotExecuted, format!("{refused}{hint}"))
            }
            Self::TooLarge(limit) => over_payload(limit),
            Self::Garbled(text) => error(ErrorKind::Protocol, sent, text),
        }
    }
}

fn kind_of(error: &async_nats::jetstream::Error) -> (ErrorKind, &'static str) {
    let code = error.error_code().0;
    if code == refused::STORE_FAILED {
        let hint = "; the store is full of requests that wait (DYN_NATS_STORE_MAX_BYTES)";
        (ErrorKind::ResourceExhausted, hint)
    } else if refused::NO_RESOURCES.contains(&code) {
        (ErrorKind::ResourceExhausted, "; the NATS server has less room than DYN_NATS_STORE_MAX_BYTES asks for")
    } else if refused::NOT_ENABLED.contains(&code) {
        (ErrorKind::Unavailable, "; enable `jetstream` in the NATS server's configuration")
    } else if refused::NOT_FOUND.contains(&code) {
        (ErrorKind::NotFound, "")
    } else if error.code() >= 500 {
        (ErrorKind::Unavailable, "")
    } else {
        (ErrorKind::FailedPrecondition, "")
    }
}

/// Asks and waits for the answer, at most this long, and no longer than the connection lasts.
///
/// # Cancel safety
/// What was asked for may still be done if the future is dropped.
pub(crate) async fn ask<T: DeserializeOwned>(
    connection: &NatsConnection,
    subject: &str,
    headers: Option<HeaderMap>,
    payload: Bytes,
    limit: Duration,
) -> Result<T, Failure> {
    let (mut losses, mut denied) = (connection.losses(), connection.denied());
    let client = connection.client().await.map_err(Failure::NotConnected)?;
    let mut request = Request::new().payload(payload).timeout(Some(limit));
    request.headers = headers;
    let denied = async {
        loop {
            match denied.recv().await {
                Ok(refused) if &*refused == subject => return,
                Ok(_) | Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => std::future::pending().await,
            }
        }
    };
    let answer = tokio::select! {
        biased;
        answer = client.send_request(subject.to_owned(), request) => answer,
        () = denied => return Err(Failure::Denied(subject.to_owned())),
        _ = losses.changed() => return Err(Failure::Lost),
    };
    let message = answer.map_err(|error| match error.kind() {
        RequestErrorKind::NoResponders => Failure::NoResponders,
        RequestErrorKind::TimedOut => Failure::TimedOut(limit),
        RequestErrorKind::MaxPayloadExceeded => Failure::TooLarge(client.max_payload()),
        RequestErrorKind::InvalidSubject | RequestErrorKind::Other => Failure::Garbled(error.to_string()),
    })?;
    match serde_json::from_slice(&message.payload) {
        Ok(Response::Ok(answer)) => Ok(answer),
        Ok(Response::Err { error }) => Err(Failure::Refused(error)),
        Err(error) => Err(Failure::Garbled(format!("JetStream's answer cannot be read: {error}"))),
    }
}

/// Asks for what the API has below this subject, with this as JSON.
pub(crate) async fn call<T: DeserializeOwned>(
    connection: &NatsConnection,
    below: &str,
    request: &impl serde::Serialize,
) -> Result<T, Failure> {
    let payload = serde_json::to_vec(request).map_err(|error| Failure::Garbled(error.to_string()))?;
    let limit = connection.config().request_timeout;
    ask(connection, &format!("$JS.API.{below}"), None, payload.into(), limit).await
}
