//! The caller's messages as its handler reads them.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use parking_lot::Mutex;

use crate::body::{Body, MessageStream};
use crate::context::{AbortReason, Canceller};
use crate::error::{Delivery, Error, ErrorKind};
use crate::headers::Headers;
use crate::status::Status;

/// What went wrong with the caller's own messages: that ends the call, whatever the handler makes of it.
#[derive(Debug, Clone)]
pub(super) struct Fault {
    error: Arc<Mutex<Option<Error>>>,
    canceller: Canceller,
}

impl Fault {
    pub(super) fn of(canceller: &Canceller) -> Self {
        Self { error: Arc::default(), canceller: canceller.clone() }
    }

    /// The caller may be waiting for something else by now; the abort wakes it.
    fn raise(&self, error: Error) {
        *self.error.lock() = Some(error);
        self.canceller.abort(AbortReason::Cancelled);
    }

    pub(super) fn take(&self) -> Option<Error> {
        self.error.lock().take()
    }
}

/// The error of a message over the limit, as the side that sends it sees it.
pub(super) fn too_large(bytes: usize, limit: usize) -> Error {
    let what = format!("a message of {bytes} bytes is over the limit of {limit} bytes (MemConfig::max_message)");
    Error::new(ErrorKind::MessageTooLarge, Delivery::NotSent, what)
}

/// A request body that holds the limit and tells the caller's side of its first error.
pub(super) struct RequestBody {
    body: Body,
    limit: usize,
    fault: Fault,
    ended: bool,
}

impl RequestBody {
    /// The body as the handler is to read it. A single message is passed on as it is: its size was checked.
    pub(super) fn watch(body: Body, limit: usize, fault: &Fault) -> Body {
        match body.into_one() {
            Ok(message) => message.into(),
            Err(body) if body.is_empty() => body,
            Err(body) => Body::from_messages(Self { body, limit, fault: fault.clone(), ended: false }),
        }
    }

    /// The caller gets the error itself, the handler what the wire would have carried.
    fn fail(&mut self, error: Error) -> Error {
        self.ended = true;
        let status = Status::new(error.code(), error.message().to_owned());
        // The handler has started: what is known before a first message is sent no longer holds.
        let caller_sees = match error.delivery() {
            Delivery::NotSent | Delivery::NotExecuted => error.with_delivery(Delivery::Unknown),
            Delivery::Unknown | Delivery::Executed => error,
        };
        self.fault.raise(caller_sees);
        Error::from_status(status, Delivery::Unknown)
    }
}

impl MessageStream for RequestBody {
    fn poll_message(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Error>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let Poll::Ready(item) = self.body.poll_message(cx) else { return Poll::Pending };
        Poll::Ready(match item {
            Some(Ok(message)) if message.len() > self.limit => {
                let error = too_large(message.len(), self.limit);
                Some(Err(self.fail(error)))
            }
            Some(Err(error)) => Some(Err(self.fail(error))),
            item => {
                self.ended = item.is_none();
                item
            }
        })
    }

    fn stop(mut self: Pin<&mut Self>) {
        self.body.stop();
    }

    fn trailers(mut self: Pin<&mut Self>) -> Option<Headers> {
        self.body.trailers()
    }
}
