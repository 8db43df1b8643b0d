//! One run of a stored request, from the look whether it was answered already to its end ([`Task`]).

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::jetstream::message::StreamMessage;
use async_nats::{HeaderMap, Subject};
use bytes::Bytes;
use plane_core::{AbortReason, Admitted, Body, CallInfo, Code, Context, Outcome, Request, Status};

use super::answer::{Running, Work};
use super::asked::{check_headers, check_version};
use super::call::Call;
use super::core::Parts;
use super::stored::{Stored, Verdict};
use crate::connection::{NatsConnection, Outbound};
use crate::durable::{Delivered, Word, say};
use crate::flow::DEFAULT_CREDIT;
use crate::secret::secret_token;
use crate::{head, subject};

/// One run of a stored request.
pub(super) struct Task {
    pub(super) stored: Stored,
    pub(super) admitted: Admitted,
    /// How long it had been stored when it was taken in.
    pub(super) elapsed: Duration,
    pub(super) taken_in: Instant,
}

impl Task {
    /// Runs it to its end, and says all the while that it goes on.
    pub(super) async fn run(self, parts: Parts, looks: bool) {
        let connection = self.stored.store.connection().clone();
        let (ack, beat) = (self.stored.request.ack.clone(), self.stored.store.config().beat);
        tokio::select! {
            biased;
            () = self.answer(parts, looks) => {}
            () = async {
                loop {
                    tokio::time::sleep(beat).await;
                    say(&connection, &ack, Word::GoesOn).await;
                }
            } => {}
        }
    }

    async fn answer(mut self, parts: Parts, looks: bool) {
        if looks {
            match self.stored.look().await {
                Ok(None) => {}
                Ok(Some(kept)) => return self.tell_again(kept).await,
                Err(failure) => {
                    // Running it blindly could run it twice.
                    tracing::warn!(?failure, id = %self.stored.id, "it cannot be told whether a request was answered");
                    let delay = self.stored.store.config().retry_delay.0;
                    return self.stored.conclude(Word::Again(delay)).await;
                }
            }
        }
        let caller = caller(&self.stored.request);
        match self.deadline() {
            Ok(deadline) => {
                let (running, request) = self.prepare(parts, caller, deadline);
                running.run(Work::Request(request)).await;
            }
            Err(status) => {
                let verdict = self.stored.unstarted(Verdict::Dead(status));
                let (end, word) = self.stored.settle(verdict, 0, 0).await;
                if let Some(end) = end {
                    let connection = self.stored.store.connection();
                    let room = connection.max_payload().saturating_sub(head::OWN_BYTES);
                    let (headers, payload) = end.encode(room);
                    tell(connection, caller, headers, payload).await;
                }
                self.stored.conclude(word).await;
                self.admitted.finish(Outcome::Failed);
            }
        }
    }

    /// Tells the answer that was kept of an earlier run.
    async fn tell_again(self, kept: StreamMessage) {
        let caller = caller(&self.stored.request);
        tell(self.stored.store.connection(), caller, kept.headers, kept.payload).await;
        self.stored.conclude(Word::Done).await;
        self.admitted.finish(Outcome::Completed);
    }

    /// When the run must end, or why it is not even begun.
    fn deadline(&self) -> Result<Option<Instant>, Status> {
        let (stored, headers) = (&self.stored, &self.stored.request.headers);
        let most = u64::from(stored.store.config().max_attempts);
        if stored.attempt > most {
            let what = format!("each of the servers that tried it, {most} of them, was lost (DYN_NATS_MAX_ATTEMPTS)");
            return Err(Status::new(Code::ABORTED, what));
        }
        check_version(headers)?;
        check_headers(headers, stored.store.connection().config().headers)?;
        if headers.get(head::BODY).is_some_and(|kind| kind.as_str() == head::BODY_STREAM) {
            return Err(Status::invalid_argument("a stored request is one message"));
        }
        let Some(micros) = head::number(headers, head::TIMEOUT) else { return Ok(None) };
        match Duration::from_micros(micros)
            .checked_sub(self.elapsed + self.taken_in.elapsed())
            .filter(|left| !left.is_zero())
        {
            Some(left) => Ok(Instant::now().checked_add(left)),
            None => Err(AbortReason::DeadlineExceeded.status()),
        }
    }

    fn prepare(self, parts: Parts, caller: Option<Subject>, deadline: Option<Instant>) -> (Running, Request) {
        let Self { stored, admitted, .. } = self;
        let instance = admitted.instance().id;
        let endpoint = stored.endpoint.clone();
        let info = CallInfo { endpoint: endpoint.clone(), instance, peer: parts.peer, deadline };
        let (context, canceller) = Context::new(info);
        let headers = &stored.request.headers;
        // Each run has an ear and a mark of its own, so that no two runs of a request are taken for one.
        let token = secret_token();
        let control = subject::control(&parts.address, &token).into();
        let credit = head::number(headers, head::CREDIT).unwrap_or(DEFAULT_CREDIT);
        let attempt = format!("{}.{token}", stored.request.deliveries);
        let call = Call::new(caller.unwrap_or_else(|| Subject::from_static("")), control, canceller, credit, None);
        let call = Arc::new(call.of_stored(attempt));
        let entry = parts.calls.enter_new(&call);
        let is_none = headers.get(head::BODY).is_some_and(|kind| kind.as_str() == head::BODY_NONE);
        let body = if is_none { Body::empty() } else { stored.request.payload.clone().into() };
        let headers = head::application(headers);
        let request = Request { endpoint, instance: Some(instance), headers, deadline, body };
        let connection = stored.store.connection().clone();
        let stored = Some(stored);
        (Running { connection, call, context, request_credit: None, admitted, stored, entry }, request)
    }
}

/// Where the caller of a stored request listens, if it has one that does.
fn caller(request: &Delivered) -> Option<Subject> {
    let reply = request.headers.get(head::REPLY)?.as_str();
    let is_plain = !reply.is_empty() && !reply.contains([' ', '*', '>', '\t']) && !reply.starts_with('$');
    is_plain.then(|| reply.into())
}

async fn tell(connection: &NatsConnection, caller: Option<Subject>, headers: HeaderMap, payload: Bytes) {
    let Some(subject) = caller else { return };
    let headers = Some(headers).filter(|headers| !headers.is_empty());
    if let Err(error) = connection.publish(Outbound { subject, reply: None, headers, payload }).await {
        // It looks for it after the connection is back.
        tracing::debug!(%error, "the caller of a stored request was not told of its end");
    }
}
