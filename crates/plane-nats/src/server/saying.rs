//! What a server says of a call before its end.

use async_nats::HeaderMap;
use bytes::Bytes;
use plane_core::{AbortReason, Error};

use super::call::Call;
use crate::connection::{NatsConnection, Outbound};
use crate::{head, subject};

/// Hands something that is not the end to the connection, alone or with what others send.
pub(super) async fn say(
    connection: &NatsConnection,
    call: &Call,
    mut message: Outbound,
    is_alone: bool,
) -> Result<(), Error> {
    if call.is_unheard() {
        return Ok(());
    }
    if let Some(attempt) = &call.attempt {
        head::set(message.headers.get_or_insert_default(), head::ATTEMPT, attempt);
    }
    let said = pass(connection, message, is_alone).await;
    if said.is_err() && call.attempt.is_some() {
        // The work goes on; what the caller has missed shows in the count of the end.
        call.lose_caller(AbortReason::Disconnected);
        return Ok(());
    }
    said
}

/// One call alone gains nothing by waiting for others.
pub(super) async fn pass(connection: &NatsConnection, message: Outbound, is_alone: bool) -> Result<(), Error> {
    match is_alone {
        true => connection.publish(message).await,
        false => connection.publish_with_others(message).await,
    }
}

pub(super) fn outbound(call: &Call, headers: HeaderMap, payload: Bytes) -> Outbound {
    Outbound { subject: call.reply.clone(), reply: Some(call.control.clone()), headers: Some(headers), payload }
}

/// A payload of the answer. Its number travels in its reply subject: headers would cost several times as much.
pub(super) fn payload(call: &Call, number: u64, headers: HeaderMap, payload: Bytes) -> Outbound {
    let reply = Some(subject::payload_reply(&call.control, number).into());
    let headers = Some(headers).filter(|headers| !headers.is_empty());
    Outbound { subject: call.reply.clone(), reply, headers, payload }
}
