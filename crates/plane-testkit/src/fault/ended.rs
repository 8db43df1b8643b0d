//! How a call ended.

use std::time::{Duration, Instant};

use bytes::Bytes;
use plane_core::{Delivery, Error, ErrorKind, Response};
use tokio::task::JoinHandle;

/// What was read of an answer, how it ended, and how long that took.
#[derive(Debug)]
pub struct Ended {
    /// The messages, in order.
    pub messages: Vec<Bytes>,
    /// `None` if the end was orderly.
    pub error: Option<Error>,
    /// From the call to its end.
    pub took: Duration,
    /// When it ended.
    pub at: Instant,
}

impl Ended {
    /// Reads the call to its end. Whether an error comes before or after the answer has begun makes no difference here.
    pub(super) async fn of(call: impl Future<Output = Result<Response, Error>>) -> Self {
        let began = Instant::now();
        let mut messages = Vec::new();
        let error = match call.await {
            Ok(response) => read(response, &mut messages).await,
            Err(error) => Some(error),
        };
        Self { messages, error, took: began.elapsed(), at: Instant::now() }
    }

    /// The rest of an answer that has begun.
    pub(super) async fn of_rest(response: Response) -> Self {
        Self::of(std::future::ready(Ok(response))).await
    }

    /// What the error says to programs; `None` if the end was orderly.
    #[must_use]
    pub fn verdict(&self) -> Option<(ErrorKind, Delivery)> {
        self.error.as_ref().map(|error| (error.kind(), error.delivery()))
    }

    /// Whether the end was orderly.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.error.is_none()
    }

    /// The call failed like this.
    ///
    /// # Panics
    /// If it did not.
    #[track_caller]
    pub fn assert_failed(&self, kind: ErrorKind, delivery: Delivery) {
        assert_eq!(self.verdict(), Some((kind, delivery)), "{self:?}");
    }

    /// The answer has exactly these messages and an orderly end.
    ///
    /// # Panics
    /// If it has not.
    #[track_caller]
    pub fn assert_complete(&self, expected: &[Bytes]) {
        assert!(self.error.is_none(), "{:?} after {:?}", self.error, self.took);
        // Not assert_eq: a difference may be megabytes.
        assert!(self.messages == expected, "{} messages that are not the expected ones", self.messages.len());
    }
}

async fn read(mut response: Response, messages: &mut Vec<Bytes>) -> Option<Error> {
    let error = loop {
        match response.next().await {
            None => break None,
            Some(Ok(message)) => messages.push(message),
            Some(Err(error)) => break Some(error),
        }
    };
    assert!(response.next().await.is_none(), "nothing comes after the end");
    error
}

/// A call in a task of its own.
#[derive(Debug)]
pub struct Started(pub(super) JoinHandle<Ended>);

impl Started {
    /// Waits for its end.
    ///
    /// # Panics
    /// If its task panicked.
    pub async fn ended(self) -> Ended {
        self.0.await.expect("the caller did not panic")
    }

    /// The caller goes away.
    pub fn abandon(self) {
        self.0.abort();
    }

    /// Whether it has ended.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.0.is_finished()
    }
}
