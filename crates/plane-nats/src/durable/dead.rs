//! Dead letters: requests that were given up, with the reason (docs/nats.md, "Dead letters").

use std::time::{Instant, SystemTime};

use async_nats::HeaderMap;
use async_nats::jetstream::message::StreamMessage;
use bytes::Bytes;
use plane_core::{EndpointId, Headers, Status};

use super::api::Failure;
use super::delivered::Delivered;
use super::names::{self, Names};
use super::store::Store;
use crate::head;
use crate::status::End;

/// A request that was given up.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct DeadLetter {
    /// Its place among the dead letters.
    pub sequence: u64,
    /// What was called.
    pub endpoint: EndpointId,
    /// The id of the request.
    pub request_id: String,
    /// Why it was given up.
    pub reason: Status,
    /// How often it was tried.
    pub attempts: u64,
    /// When it was given up, on the NATS server's clock.
    pub died: SystemTime,
    /// Its place among the stored requests.
    pub stored_sequence: u64,
    /// The application's headers of the request.
    pub headers: Headers,
    /// The request's message; empty if it had none.
    pub payload: Bytes,
}

/// What stays of the plane's own headers: what the request's message is, and where it comes from.
const KEPT: [async_nats::HeaderName; 4] = [head::VERSION, head::REQUEST_ID, head::BODY, head::ORIGIN];

/// The headers that make a request what it is: the application's, and those of the plane that do not tell of its caller.
pub(super) fn own_headers(headers: &HeaderMap) -> HeaderMap {
    let mut own = HeaderMap::new();
    for (name, values) in headers.iter() {
        if head::is_application(name.as_ref()) || KEPT.contains(name) {
            values.iter().for_each(|value| own.append(name.clone(), value.clone()));
        }
    }
    own
}

/// Puts a request among the dead letters. One that is there already is not put there twice.
pub(crate) async fn bury(
    store: &Store,
    endpoint: &EndpointId,
    id: &str,
    request: &Delivered,
    attempts: u64,
    reason: &Status,
    until: Instant,
) -> Result<(), Failure> {
    let mut headers = own_headers(&request.headers);
    head::set(&mut headers, head::REQUEST_ID, id);
    head::set(&mut headers, head::DEAD_SEQUENCE, request.sequence);
    head::set(&mut headers, head::DEAD_ATTEMPTS, attempts);
    head::set(&mut headers, head::MESSAGE_ID, names::message_id(endpoint, &request.sequence.to_string()));
    let used = head::wire_len(&headers) + request.payload.len();
    let room = store.connection().max_payload().saturating_sub(used);
    let reason = Status::new(reason.code(), reason.message().to_owned());
    // The payload is the request's own, so the reason has to fit the headers.
    let (reason, _) = End::with(Some(reason), 0, 0).encode(room);
    for (name, values) in reason.iter() {
        values.iter().for_each(|value| headers.append(name.clone(), value.clone()));
    }
    let subject = store.names().dead_subject(Some(endpoint));
    store.put(&subject, headers, request.payload.clone(), until).await.map(|_| ())
}

/// Reads what [`bury`] wrote; `None` for what it did not.
pub(super) fn read(names: &Names, message: &StreamMessage) -> Option<DeadLetter> {
    let headers = &message.headers;
    Some(DeadLetter {
        sequence: message.sequence,
        endpoint: names.endpoint_of(&message.subject)?,
        request_id: headers.get(head::REQUEST_ID)?.as_str().to_owned(),
        reason: End::decode(headers, &Bytes::new())?.status?,
        attempts: head::number(headers, head::DEAD_ATTEMPTS)?,
        died: message.time.into(),
        stored_sequence: head::number(headers, head::DEAD_SEQUENCE)?,
        headers: head::application(headers),
        payload: message.payload.clone(),
    })
}
