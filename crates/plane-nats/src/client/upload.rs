//! The messages of a request that do not fit its first payload.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use async_nats::{HeaderMap, Subject};
use bytes::Bytes;
use plane_core::{Body, Delivery, Error, Status, contain_panic};

use super::call::Call;
use crate::connection::{NatsConnection, Outbound, over_limit, over_payload};
use crate::head;
use crate::status::End;

/// Sends the messages of a request as its server lets it, then their end. Ends with the call.
pub(super) async fn run(connection: NatsConnection, call: Arc<Call>, mut body: Body) {
    if let Err(error) = send_all(&connection, &call, &mut body).await {
        // The caller sees the error itself, the handler what travels.
        let status = Status::new(error.code(), error.message().to_owned());
        let (payloads, messages) = call.sent_so_far();
        let seen = match error.delivery() {
            // The request was sent: what is known of this message no longer holds for the call.
            Delivery::NotSent | Delivery::NotExecuted => error.with_delivery(Delivery::Unknown),
            Delivery::Unknown | Delivery::Executed => error,
        };
        let control = call.control();
        if call.fail(seen)
            && let Some(control) = control
        {
            let (headers, payload) = End::with(Some(status), payloads, messages).encode(connection.max_payload());
            // The loss of the connection ends the handler by itself.
            let _ = connection.publish(outbound(control, headers, payload)).await;
        }
    }
}

async fn send_all(connection: &NatsConnection, call: &Call, body: &mut Body) -> Result<(), Error> {
    // Nothing is asked of the caller before the server wants it.
    let Some(mut control) = poll_fn(|cx| call.poll_may_send(cx)).await else { return Ok(()) };
    loop {
        let item = poll_fn(|cx| {
            if call.poll_ended(cx).is_ready() {
                return Poll::Ready(None);
            }
            contain_panic(|| body.poll_message(cx)).map_or_else(
                |panicked| Poll::Ready(Some(Err(Error::from(panicked)))),
                |polled| polled.map(|item| Some(item.transpose())),
            )
        });
        // Once the call has ended nothing more, above all no end: to a handler that still reads, the rest would be all of it.
        let Some(item) = item.await else { return Ok(()) };
        let Some(message) = item? else { break };
        check(connection, message.len())?;
        let mut rest = message;
        loop {
            let Some(now) = poll_fn(|cx| call.poll_may_send(cx)).await else { return Ok(()) };
            control = now;
            let piece = rest.split_to(rest.len().min(connection.max_payload().saturating_sub(head::OWN_BYTES)));
            let number = call.sent(piece.len(), !rest.is_empty());
            let mut headers = head::only(head::SEQ, number);
            if !rest.is_empty() {
                head::set(&mut headers, head::MORE, 1);
            }
            connection.publish(outbound(control.clone(), headers, piece)).await?;
            if rest.is_empty() {
                break;
            }
        }
    }
    let (payloads, messages) = call.sent_so_far();
    let (headers, payload) = End::with(None, payloads, messages).encode(connection.max_payload());
    connection.publish(outbound(control, headers, payload)).await
}

/// Whether a message of this size may be sent at all.
pub(super) fn check(connection: &NatsConnection, bytes: usize) -> Result<(), Error> {
    let config = connection.config();
    if bytes > config.max_message {
        return Err(over_limit(bytes, config.max_message));
    }
    if !config.chunking && bytes + head::OWN_BYTES > connection.max_payload() {
        return Err(over_payload(connection.max_payload()));
    }
    Ok(())
}

fn outbound(subject: Subject, headers: HeaderMap, payload: Bytes) -> Outbound {
    Outbound { subject, reply: None, headers: Some(headers), payload }
}
