//! Polls a handler once where its call came in: an answer that is ready leaves with those of its neighbours and costs
//! no task. Only handlers that were quick so far are trusted with that.

use std::future::ready;
use std::task::{Context as Task, Poll, Waker};
use std::time::{Duration, Instant};

use async_nats::Subject;
use plane_core::{Admitted, BoxFuture, Canceller, Context, Outcome, Request, Response, Status, contain_panic};

use crate::connection::{NatsConnection, Outbound, Tried};
use crate::head;

/// A handler that was started, or what it answered.
pub(super) type Started = BoxFuture<'static, Result<Response, Status>>;

/// Whether the handler of this call may run where the call came in.
pub(super) fn is_trusted(admitted: &Admitted, context: &Context) -> bool {
    admitted.is_running() && admitted.pace().is_quick() && context.remaining() != Some(Duration::ZERO)
}

/// Answers the call if its handler answers at once with what can be sent at once; else what is left to do.
pub(super) fn answer(
    connection: &NatsConnection,
    reply: &Subject,
    admitted: Admitted,
    request: Request,
    (context, canceller): (Context, &Canceller),
) -> Option<(Admitted, Started)> {
    let began = Instant::now();
    let polled = poll(&admitted, request, context, canceller);
    let took = began.elapsed();
    admitted.pace().note(took);
    let left: Started = match polled {
        Err(running) => running,
        Ok(Err(status)) => Box::pin(ready(Err(status))),
        Ok(Ok(response)) => match send(connection, reply, response) {
            Some(left) => Box::pin(ready(left)),
            None => {
                admitted.tally().start();
                admitted.tally().end(took);
                admitted.finish(Outcome::Completed);
                return None;
            }
        },
    };
    Some((admitted, left))
}

/// What the handler answers if it does so at once; else the handler.
fn poll(
    admitted: &Admitted,
    request: Request,
    context: Context,
    canceller: &Canceller,
) -> Result<Result<Response, Status>, Started> {
    let mut running = match contain_panic(|| admitted.handler().call(request, context)) {
        Ok(running) => running,
        Err(status) => return Ok(Err(status)),
    };
    // Whoever goes on polls it again, and is woken from then on.
    let mut cx = Task::from_waker(Waker::noop());
    let Poll::Ready(answered) = canceller.poll(&mut cx, |cx| running.as_mut().poll(cx)) else { return Err(running) };
    // Dropping a handler runs application code as well. Its panic is logged there and changes no outcome.
    let _ = contain_panic(|| drop(running));
    Ok(answered.and_then(|answered| answered))
}

/// Sends an answer that is one plain reply, unless that needs waiting or a closer look; then what is left to do.
fn send(connection: &NatsConnection, reply: &Subject, response: Response) -> Option<Result<Response, Status>> {
    let Response { headers, body } = response;
    let limit = connection.config().max_message.min(connection.max_payload().saturating_sub(head::OWN_BYTES));
    let payload = match body.into_one() {
        Ok(message) if headers.is_empty() && message.len() <= limit => message,
        Ok(message) => return Some(Ok(Response { headers, body: message.into() })),
        Err(body) => return Some(Ok(Response { headers, body })),
    };
    let message = Outbound { subject: reply.clone(), reply: None, headers: None, payload };
    match connection.try_publish(message) {
        Tried::Done(Ok(())) => None,
        Tried::Done(Err(error)) => Some(Err(error.into())),
        Tried::Later(message) => Some(Ok(Response::new(message.payload))),
    }
}
