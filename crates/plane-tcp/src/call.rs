//! One call on a link: the caller's handle and answer, and the request that a handler reads.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use plane_core::{Body, Code, Delivery, Error, ErrorKind, Headers, MessageStream, Response};
use tokio::task::AbortHandle;

use crate::counts::{Counted, Counts};
use crate::link::Link;
use crate::proto::{Begun, Ending, Next, SendError};

/// A call that this side opened. Dropping it before the answer's end aborts the call.
#[derive(Debug)]
pub(crate) struct CallHandle {
    link: Arc<Link>,
    id: u64,
    /// It is counted in an outcome, or another has the duty.
    counted: bool,
    /// The task that sends a streamed request.
    pump: Option<AbortHandle>,
    ended: bool,
}

impl CallHandle {
    pub(crate) fn new(link: Arc<Link>, id: u64, counted: Counted<'_>) -> Self {
        counted.pass();
        Self { link, id, counted: false, pump: None, ended: false }
    }

    /// Sends the messages of a streamed request in a task of their own, so that reading the answer does not hold them
    /// up. The task ends with the call.
    fn pump(&mut self, body: Body) {
        let task = tokio::spawn(pump(self.link.clone(), self.id, body));
        self.pump = Some(task.abort_handle());
    }

    /// Sends what the OPEN did not carry: a stream, or the end of a request without messages.
    pub(crate) fn send_rest(&mut self, stream: Option<Body>) {
        match stream {
            Some(stream) => self.pump(stream),
            None => self.link.with(|connection| connection.finish(self.id, Ending::orderly())),
        }
    }

    /// Waits until the answer begins.
    pub(crate) fn poll_begin(&mut self, cx: &Context<'_>) -> Poll<Result<(Headers, Begun), Error>> {
        let polled = self.link.with(|connection| connection.poll_begin(self.id, cx));
        self.ended = matches!(polled, Poll::Ready(Err(_) | Ok((_, Begun::Only(_)))));
        polled
    }

    /// The answer that has begun like this.
    pub(crate) fn into_response(mut self, (headers, begun): (Headers, Begun)) -> Response {
        let body = match begun {
            Begun::Only(message) => {
                self.end(|counts| &counts.completed);
                message.into()
            }
            Begun::Stream => Body::from_messages(Answer { handle: self, ahead: VecDeque::new(), trailers: None }),
        };
        Response { headers, body }
    }

    /// Leaves the call, which did not begin, to be counted by another.
    pub(crate) fn leave(mut self) {
        self.counted = true;
    }

    /// The answer has ended, like this.
    fn end(&mut self, outcome: impl FnOnce(&Counts) -> &AtomicU64) {
        self.ended = true;
        self.count(outcome);
    }

    fn count(&mut self, outcome: impl FnOnce(&Counts) -> &AtomicU64) {
        if !std::mem::replace(&mut self.counted, true) {
            outcome(self.link.counts()).fetch_add(1, Ordering::Release);
        }
    }
}

impl Drop for CallHandle {
    fn drop(&mut self) {
        if let Some(pump) = &self.pump {
            pump.abort();
        }
        if !self.ended {
            self.link.with(|connection| connection.abandon(self.id, Code::CANCELLED));
        }
        self.count(|counts| &counts.cancelled);
    }
}

/// The messages of an answer.
struct Answer {
    handle: CallHandle,
    /// Messages that came behind the last one.
    ahead: VecDeque<Bytes>,
    trailers: Option<Headers>,
}

impl MessageStream for Answer {
    fn poll_message(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Error>>> {
        let Self { handle, ahead, .. } = &mut *self;
        if let Some(message) = ahead.pop_front() {
            return Poll::Ready(Some(Ok(message)));
        }
        if handle.ended {
            return Poll::Ready(None);
        }
        let Poll::Ready(next) = handle.link.with(|connection| connection.poll_more(handle.id, ahead, cx)) else {
            return Poll::Pending;
        };
        Poll::Ready(match next {
            Next::Message(message) => Some(Ok(message)),
            Next::End(trailers) => {
                self.trailers = trailers;
                self.handle.end(|counts| &counts.completed);
                None
            }
            Next::Failed(error) => {
                self.handle.end(|counts| &counts.failed);
                Some(Err(error))
            }
        })
    }

    fn stop(self: Pin<&mut Self>) {
        self.handle.link.with(|connection| connection.stop(self.handle.id));
    }

    fn trailers(mut self: Pin<&mut Self>) -> Option<Headers> {
        self.trailers.take()
    }
}

async fn pump(link: Arc<Link>, id: u64, mut body: Body) {
    while let Some(message) = body.next().await {
        let sent = match message {
            Ok(message) => send(&link, id, message).await.map_err(|error| match error {
                // The call has ended, and its caller is told why.
                SendError::Closed => None,
                SendError::TooLarge { .. } => {
                    let status = error.status();
                    Some(Error::new(ErrorKind::MessageTooLarge, Delivery::Unknown, status.message().to_owned()))
                }
            }),
            Err(error) => Err(Some(error.with_delivery(Delivery::Unknown))),
        };
        if let Err(error) = sent {
            if let Some(error) = error {
                link.with(|connection| connection.fail_call(id, error));
            }
            return;
        }
    }
    link.with(|connection| connection.finish(id, Ending::orderly()));
}

/// Sends one message of a stream, once there is credit and room for it.
async fn send(link: &Link, id: u64, message: Bytes) -> Result<(), SendError> {
    let mut message = Some(message);
    poll_fn(|cx| link.with(|connection| connection.poll_send(id, &mut message, cx))).await
}

/// The messages of a request, for its handler. Dropping it says that the rest is not wanted.
pub(crate) struct Incoming {
    link: Arc<Link>,
    id: u64,
    ended: bool,
}

impl Incoming {
    pub(crate) fn new(link: Arc<Link>, id: u64) -> Self {
        Self { link, id, ended: false }
    }
}

impl MessageStream for Incoming {
    fn poll_message(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Error>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let Poll::Ready(next) = self.link.with(|connection| connection.poll_next(self.id, cx)) else {
            return Poll::Pending;
        };
        self.ended = !matches!(next, Next::Message(_));
        Poll::Ready(match next {
            Next::Message(message) => Some(Ok(message)),
            Next::End(_) => None,
            Next::Failed(error) => Some(Err(error)),
        })
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if !self.ended {
            self.link.with(|connection| connection.discard(self.id));
        }
    }
}
