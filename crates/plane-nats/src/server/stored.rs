//! What becomes of a stored request that this server runs: answered, tried again, given back or a dead letter
//! (docs/nats.md, "Tries").

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::HeaderMap;
use async_nats::jetstream::message::StreamMessage;
use bytes::Bytes;
use plane_core::{AbortReason, Code, EndpointId, Status};

use crate::durable::{Delivered, Failure, Janitor, Store, Word, bury};
use crate::head;
use crate::status::End;

/// How long a server tries to keep what it knows of a request while NATS is gone; then the request is run again.
const PATIENCE: Duration = Duration::from_secs(60);

/// A stored request that this server runs.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) store: Arc<Store>,
    pub(super) janitor: Arc<Janitor>,
    pub(super) endpoint: EndpointId,
    pub(super) id: String,
    pub(super) request: Delivered,
    /// Which try this is, from 1.
    pub(super) attempt: u64,
    /// How often it was given to servers that did not start it.
    pub(super) given_back: u64,
    /// Whether the answer was kept, as far as that is possible.
    pub(super) is_kept: bool,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    Answered,
    /// Another try may work.
    Failed(Status),
    /// No other try is made.
    Dead(Status),
    /// The same, and no handler was ever started.
    Refused(Status),
    /// Another server has to run it; this was no try.
    GivenBack,
}

/// Codes that blame the request: it would fail again.
const HOPELESS: [Code; 11] = [
    Code::INVALID_ARGUMENT,
    Code::NOT_FOUND,
    Code::ALREADY_EXISTS,
    Code::PERMISSION_DENIED,
    Code::UNAUTHENTICATED,
    Code::FAILED_PRECONDITION,
    Code::OUT_OF_RANGE,
    Code::UNIMPLEMENTED,
    Code::MESSAGE_TOO_LARGE,
    Code::HEADERS_TOO_LARGE,
    Code::PROTOCOL,
];

impl Verdict {
    pub(super) fn new(ended: Result<(), Status>, aborted: Option<AbortReason>, is_last: bool) -> Self {
        match (ended, aborted) {
            // Nobody else aborts a stored request: it goes on without its caller.
            (_, Some(reason @ AbortReason::DeadlineExceeded)) => Self::Dead(reason.status()),
            (_, Some(_)) => Self::GivenBack,
            (Ok(()), None) => Self::Answered,
            (Err(status), None) if is_last || HOPELESS.contains(&status.code()) => Self::Dead(status),
            (Err(status), None) => Self::Failed(status),
        }
    }
}

impl Stored {
    /// Whether no try follows this one.
    pub(super) fn is_last(&self) -> bool {
        self.attempt >= u64::from(self.store.config().max_attempts)
    }

    /// How a run that did not get as far as its handler ended.
    pub(super) fn unstarted(&self, verdict: Verdict) -> Verdict {
        match verdict {
            // Whoever had it before may have started it.
            Verdict::Dead(status) if self.request.deliveries == 1 => Verdict::Refused(status),
            verdict => verdict,
        }
    }

    fn until() -> Instant {
        Instant::now() + PATIENCE
    }

    /// Keeps what the caller is told, before it is told: then it can be told again, and the request is not run again.
    pub(super) async fn keep(&mut self, headers: HeaderMap, payload: Bytes) {
        self.is_kept = true;
        let kept = self.store.keep_answer(&self.endpoint, &self.id, headers, payload, Self::until()).await;
        if let Err(failure) = kept {
            tracing::warn!(endpoint = %self.endpoint, id = %self.id, ?failure, "an answer is not kept");
        }
    }

    /// Does what must be done before the caller and JetStream are told: what to tell them. `payloads` is how much of
    /// the answer was sent.
    pub(super) async fn settle(&mut self, verdict: Verdict, payloads: u64, messages: u64) -> (Option<End>, Word) {
        match verdict {
            Verdict::Answered => {
                if !self.is_kept {
                    let what =
                        "the request was run, and its answer was streamed to whoever called first; it is not kept";
                    let (mut headers, payload) =
                        End::with(Some(Status::new(Code::ALREADY_EXISTS, what)), 0, 0).encode(4_096);
                    head::set(&mut headers, head::BEGIN, 1);
                    self.keep(headers, payload).await;
                }
                (None, Word::Done)
            }
            Verdict::Failed(status) => {
                let end = (payloads > 0).then(|| End::with(Some(status), payloads, messages));
                (end, Word::Again(self.store.config().delay_after(self.attempt)))
            }
            Verdict::GivenBack => {
                let headers = head::only(head::GIVEN_BACK, self.given_back + 1);
                self.keep(headers, Bytes::new()).await;
                (None, Word::Again(Duration::ZERO))
            }
            Verdict::Dead(status) => self.give_up(&status, End::with(Some(status.clone()), payloads, messages)).await,
            Verdict::Refused(status) => self.give_up(&status, End::refused(status.clone())).await,
        }
    }

    async fn give_up(&mut self, status: &Status, end: End) -> (Option<End>, Word) {
        let buried =
            bury(&self.store, &self.endpoint, &self.id, &self.request, self.attempt, status, Self::until()).await;
        if let Err(failure) = buried {
            // It must not be lost, so it stays where it is.
            tracing::warn!(endpoint = %self.endpoint, id = %self.id, ?failure, "a request cannot become a dead letter");
            return (None, Word::Again(self.store.config().retry_delay.1));
        }
        tracing::warn!(endpoint = %self.endpoint, id = %self.id, %status, "a request is a dead letter");
        let room = self.store.connection().max_payload().saturating_sub(head::OWN_BYTES);
        let (headers, payload) = end.encode(room);
        self.keep(headers, payload).await;
        (Some(end), Word::Never)
    }

    /// What was kept of the request's answer by another run; counts tries that were none.
    pub(super) async fn look(&mut self) -> Result<Option<StreamMessage>, Failure> {
        let Some(kept) = self.kept().await? else { return Ok(None) };
        let Some(given_back) = head::number(&kept.headers, head::GIVEN_BACK) else { return Ok(Some(kept)) };
        self.given_back = given_back;
        self.attempt = self.attempt.saturating_sub(given_back).max(1);
        Ok(None)
    }

    /// What the store has of its answer. As long as the store cannot tell, it is asked again: NATS would count a request
    /// that is given back for that as one more try.
    async fn kept(&self) -> Result<Option<StreamMessage>, Failure> {
        let (until, mut looks) = (Self::until(), 0);
        loop {
            looks += 1;
            let pause = self.store.config().delay_after(looks);
            match self.store.answer(&self.endpoint, &self.id).await {
                Err(failure) if Instant::now() + pause < until => {
                    tracing::debug!(?failure, id = %self.id, "it cannot be told yet whether a request was answered");
                    tokio::time::sleep(pause).await;
                }
                found => return found,
            }
        }
    }

    /// Tells JetStream, last of all.
    pub(super) async fn conclude(self, word: Word) {
        self.request.say(self.store.connection(), word).await;
        if matches!(word, Word::Done | Word::Never) {
            self.janitor.ring();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_blames_the_request_is_not_tried_again() {
        let verdict = |code, is_last| Verdict::new(Err(Status::new(code, "x")), None, is_last);
        for code in
            [Code::UNAVAILABLE, Code::INTERNAL, Code::UNKNOWN, Code::ABORTED, Code::DEADLINE_EXCEEDED, Code(999)]
        {
            assert!(matches!(verdict(code, false), Verdict::Failed(_)), "{code}");
            assert!(matches!(verdict(code, true), Verdict::Dead(_)), "{code}");
        }
        for code in HOPELESS {
            assert!(matches!(verdict(code, false), Verdict::Dead(_)), "{code}");
        }
    }

    #[test]
    fn only_a_deadline_ends_a_run_for_good() {
        let aborted = |reason| Verdict::new(Ok(()), Some(reason), false);
        assert_eq!(aborted(AbortReason::Shutdown), Verdict::GivenBack);
        assert!(matches!(aborted(AbortReason::DeadlineExceeded), Verdict::Dead(_)));
        assert_eq!(Verdict::new(Ok(()), None, true), Verdict::Answered);
    }
}
