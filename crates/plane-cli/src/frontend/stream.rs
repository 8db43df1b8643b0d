//! A worker's answer as the events of a stream.

use std::fmt;

use async_stream::stream;
use axum::response::sse::Event;
use futures_util::Stream;
use serde::Serialize;

use super::metrics::Observed;
use super::reply::Reply;
use crate::openai::Answer;

/// Ends the connection without the end marker of HTTP, so that nothing takes a broken answer for a whole one.
#[derive(Debug)]
pub(super) struct BrokenOff;

impl fmt::Display for BrokenOff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the answer was broken off; its last event says why")
    }
}

impl std::error::Error for BrokenOff {}

/// The events of one answer. Dropping the stream aborts the call on the worker.
pub(super) fn events(
    mut reply: Reply,
    answer: Answer,
    mut observed: Observed,
) -> impl Stream<Item = Result<Event, BrokenOff>> + Send {
    stream! {
        if let Some(opening) = answer.opening() {
            yield Ok(data(&opening));
        }
        loop {
            let chunk = match reply.next().await {
                Ok(chunk) => chunk,
                Err(error) => {
                    tracing::warn!(error = %error.message(), "an answer was broken off");
                    yield Ok(data(&error.body).event("error"));
                    observed.fail(error.status);
                    // The server writes out what it has only while the stream is pending.
                    tokio::task::yield_now().await;
                    yield Err(BrokenOff);
                    return;
                }
            };
            if !chunk.text.is_empty() {
                observed.text();
                yield Ok(data(&answer.text(&chunk.text)));
            }
            let Some(reason) = chunk.finish_reason else { continue };
            yield Ok(data(&answer.finish(reason)));
            if let Some(usage) = answer.usage(chunk.usage) {
                yield Ok(data(&usage));
            }
            // Told before the last event: a client may go as soon as it has seen it.
            observed.complete(chunk.usage);
            yield Ok(Event::default().data("[DONE]"));
            return;
        }
    }
}

fn data<T: Serialize>(part: &T) -> Event {
    // Only maps with keys that are no text could fail.
    serde_json::to_string(part).map_or_else(|_| Event::default(), |json| Event::default().data(json))
}
