//! What is sent and what comes back: headers and a [`Body`].

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_core::Stream;

use crate::body::Body;
use crate::error::Error;
use crate::headers::Headers;
use crate::name::{EndpointId, InstanceId};

/// A call: what is called, metadata, messages, and how long it may take.
#[derive(Debug)]
pub struct Request {
    /// What is called.
    pub endpoint: EndpointId,
    /// Which instance must answer; any that the address reaches if `None`.
    pub instance: Option<InstanceId>,
    /// Metadata, passed on unchanged.
    pub headers: Headers,
    /// When the whole call must have ended, on this process's clock. It travels as the time that is left.
    pub deadline: Option<Instant>,
    /// The messages.
    pub body: Body,
}

impl Request {
    /// A request without headers and deadline to any instance of `endpoint`.
    pub fn new(endpoint: EndpointId, body: impl Into<Body>) -> Self {
        Self { endpoint, instance: None, headers: Headers::new(), deadline: None, body: body.into() }
    }

    /// The same with a deadline `timeout` from now. A timeout too long for the clock means none.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.deadline = Instant::now().checked_add(timeout);
        self
    }

    /// The same request again, for another try; `None` if its body is a stream, which can be read only once.
    #[must_use]
    pub fn try_clone(&self) -> Option<Self> {
        Some(Self {
            endpoint: self.endpoint.clone(),
            instance: self.instance,
            headers: self.headers.clone(),
            deadline: self.deadline,
            body: self.body.try_clone()?,
        })
    }
}

/// An answer: metadata and messages.
#[derive(Debug, Default)]
pub struct Response {
    /// Metadata, passed on unchanged.
    pub headers: Headers,
    /// The messages. Dropping them before their end aborts the call.
    pub body: Body,
}

impl Response {
    /// An answer without headers.
    pub fn new(body: impl Into<Body>) -> Self {
        Self { headers: Headers::new(), body: body.into() }
    }

    /// The only message of the answer.
    ///
    /// # Errors
    /// What ended the call, or [`ErrorKind::Protocol`](crate::ErrorKind::Protocol) if there is no message or more
    /// than one.
    pub async fn message(self) -> Result<Bytes, Error> {
        self.body.message().await
    }

    /// The next message of a streamed answer, or `None` after its orderly end.
    ///
    /// # Errors
    /// What ended the call.
    pub async fn next(&mut self) -> Option<Result<Bytes, Error>> {
        self.body.next().await
    }

    /// Asks the handler to end early and in order; what it still sends comes. Dropping the response aborts instead.
    pub fn stop(&mut self) {
        self.body.stop();
    }
}

impl Stream for Response {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.body.poll_message(cx)
    }
}
