//! Runs one call: its turn, its handler, and the way of its answer to the caller.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context as Task, Poll};
use std::time::{Duration, Instant};

use async_nats::HeaderMap;
use bytes::Bytes;
use plane_core::{
    AbortReason, Admitted, Body, Code, Context, Error, Headers, Outcome, Request, Response, Status, check_headers,
    contain_panic,
};

use super::call::Call;
use super::calls::Entry;
use super::clock::{Clock, attend};
use super::quick::Started;
use super::saying::{outbound, pass, payload, say};
use super::stored::{Stored, Verdict};
use crate::connection::{NatsConnection, Outbound, over_limit, over_payload};
use crate::head;
use crate::pack::Pack;
use crate::status::End;

/// How long messages that are ready are gathered at most before they are sent: whoever makes them may take its time.
const GATHERING: Duration = Duration::from_micros(100);

/// A call that was taken on.
pub(super) struct Running {
    pub(super) connection: NatsConnection,
    pub(super) call: Arc<Call>,
    pub(super) context: Context,
    /// What the caller may send of its request once the handler runs; none if there is no more to send.
    pub(super) request_credit: Option<u32>,
    pub(super) admitted: Admitted,
    /// What is to be done about its request if that is stored.
    pub(super) stored: Option<Stored>,
    /// Dropped after the last word.
    pub(super) entry: Entry,
}

/// What is left to do for a call.
pub(super) enum Work {
    Request(Request),
    /// Its handler was started and polled once.
    Started(Started),
}

impl Running {
    /// Runs the call to its end.
    pub(super) async fn run(mut self, work: Work) {
        let deadline = self.context.deadline().map(|deadline| Box::pin(tokio::time::sleep_until(deadline.into())));
        let interval = self.connection.config().keepalive_interval;
        let mut clock = Clock { deadline, beat: None, said: None, interval };
        if let Work::Request(_) = work
            && let Err(status) = self.take_turn(&mut clock).await
        {
            if self.stored.is_some() {
                return self.settle(Err(status), false).await;
            }
            self.send_end(End::refused(status)).await;
            return self.finish(Outcome::Cancelled);
        }
        let began = Instant::now();
        self.admitted.tally().start();
        let ended = self.answer(&mut clock, work).await;
        if self.stored.is_some() {
            return self.settle(ended, true).await;
        }
        let (outcome, status) = match (ended, self.call.canceller.abort_reason()) {
            // What the handler made of its last poll comes too late: it may be the answer to its own abort.
            (_, Some(reason)) => (Outcome::Cancelled, Some(reason.status())),
            (Ok(()), None) => (Outcome::Completed, None),
            (Err(status), None) => (Outcome::of(&status), Some(status)),
        };
        if let (Outcome::Failed, Some(status)) = (outcome, &status) {
            self.admitted.tally().fail(status);
        }
        let is_heard =
            !matches!(self.call.canceller.abort_reason(), Some(AbortReason::Cancelled | AbortReason::Disconnected));
        if let Some(status) = status.filter(|_| is_heard) {
            let (payloads, messages) = self.call.sent_so_far();
            self.send_end(End::with(Some(status), payloads, messages)).await;
        }
        self.admitted.tally().end(began.elapsed());
        self.finish(outcome);
    }

    /// Ends the run of a stored request.
    async fn settle(mut self, ended: Result<(), Status>, was_started: bool) {
        // What was kept was answered, whatever came too late to stop it.
        let is_kept = self.stored.as_ref().is_some_and(|stored| stored.is_kept);
        let aborted = self.call.canceller.abort_reason().filter(|_| !is_kept);
        let outcome = match (&ended, aborted) {
            (_, Some(_)) => Outcome::Cancelled,
            (Ok(()), None) => Outcome::Completed,
            (Err(status), None) => Outcome::of(status),
        };
        if let Some(mut stored) = self.stored.take() {
            let verdict = Verdict::new(ended, aborted, stored.is_last());
            let verdict = if was_started { verdict } else { stored.unstarted(verdict) };
            let goes_on = matches!(verdict, Verdict::Failed(_));
            let (payloads, messages) = self.call.sent_so_far();
            let (end, word) = stored.settle(verdict, payloads, messages).await;
            if let Some(end) = end {
                let room = self.connection.max_payload().saturating_sub(head::OWN_BYTES);
                let (mut headers, payload) = end.encode(room);
                if goes_on {
                    head::set(&mut headers, head::AGAIN, 1);
                }
                // Its caller looks for it after the connection is back.
                let _ = self.tell(Some(headers), payload).await;
            }
            stored.conclude(word).await;
        }
        self.finish(outcome);
    }

    fn finish(self, outcome: Outcome) {
        self.admitted.finish(outcome);
        drop(self.entry);
    }

    async fn take_turn(&mut self, clock: &mut Clock) -> Result<(), Status> {
        if !self.admitted.is_running() {
            let turn = pin!(self.admitted.turn());
            attend(&self.connection, &self.call, clock, turn).await?;
        }
        match self.context.remaining() {
            Some(Duration::ZERO) => Err(AbortReason::DeadlineExceeded.status()),
            _ => Ok(()),
        }
    }

    /// Runs the handler and sends its answer.
    async fn answer(&mut self, clock: &mut Clock, work: Work) -> Result<(), Status> {
        if let Some(credit) = self.request_credit {
            self.notice(head::only(head::CREDIT, credit)).await?;
        }
        clock.beat = Some(Box::pin(tokio::time::sleep(self.connection.config().accept_notice)));
        let mut running = match work {
            Work::Request(request) => {
                let context = self.context.clone();
                contain_panic(|| self.admitted.handler().call(request, context))?
            }
            Work::Started(running) => running,
        };
        let answered = self.attend(clock, pin!(self.timed(running.as_mut()))).await;
        // Dropping a handler runs application code as well. Its panic is logged there and changes no outcome.
        let _ = contain_panic(|| drop(running));
        let Response { headers, body } = answered??;
        self.check_headers(&headers)?;
        match body.into_one() {
            Ok(message) if self.fits(&headers, &message)? => self.send_whole(headers, message).await,
            Ok(message) => self.send_stream(clock, headers, message.into()).await,
            Err(stream) => self.send_stream(clock, headers, stream).await,
        }
    }

    /// The handler, and how long its first poll takes as long as it is not trusted.
    async fn timed<F: Future + ?Sized>(&self, mut running: Pin<&mut F>) -> F::Output {
        let mut pace = Some(self.admitted.pace()).filter(|pace| !pace.is_quick());
        poll_fn(|cx| {
            let Some(pace) = pace.take() else { return running.as_mut().poll(cx) };
            let began = Instant::now();
            let polled = running.as_mut().poll(cx);
            pace.note(began.elapsed());
            polled
        })
        .await
    }

    fn check_headers(&self, headers: &Headers) -> Result<(), Status> {
        check_headers(headers, self.connection.config().headers).map_err(|error| {
            // Not INVALID_ARGUMENT: the caller's request is not to blame.
            let code = if error.is_limit() { Code::HEADERS_TOO_LARGE } else { Code::INTERNAL };
            Status::new(code, format!("the answer cannot be sent: {error}"))
        })
    }

    /// Whether a whole answer fits one payload.
    fn fits(&self, headers: &Headers, message: &Bytes) -> Result<bool, Status> {
        self.check_size(message.len())?;
        let headers: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 6).sum();
        Ok(headers + message.len() + head::OWN_BYTES <= self.connection.max_payload())
    }

    fn check_size(&self, bytes: usize) -> Result<(), Status> {
        let config = self.connection.config();
        if bytes > config.max_message {
            return Err(over_limit(bytes, config.max_message).into());
        }
        if !config.chunking && bytes + head::OWN_BYTES > self.connection.max_payload() {
            return Err(over_payload(self.connection.max_payload()).into());
        }
        Ok(())
    }

    /// One plain reply, as any NATS client expects it.
    async fn send_whole(&mut self, headers: Headers, message: Bytes) -> Result<(), Status> {
        let mut wire = HeaderMap::new();
        head::add_application(&mut wire, &headers);
        if let Some(stored) = &mut self.stored {
            stored.keep(wire.clone(), message.clone()).await;
        }
        let headers = Some(wire).filter(|wire| !wire.is_empty());
        Ok(self.tell(headers, message).await?)
    }

    /// The whole answer, or the last of it.
    async fn tell(&self, headers: Option<HeaderMap>, payload: Bytes) -> Result<(), Error> {
        let subject = self.call.reply.clone();
        let Some(attempt) = &self.call.attempt else {
            return self.pass(Outbound { subject, reply: None, headers, payload }).await;
        };
        if !subject.is_empty() {
            let mut headers = headers.unwrap_or_default();
            head::set(&mut headers, head::ATTEMPT, attempt);
            let told = self.pass(Outbound { subject, reply: None, headers: Some(headers), payload }).await;
            if let Err(error) = told {
                tracing::debug!(%error, "the caller of a stored request was not told of its end");
            }
        }
        Ok(())
    }

    /// Sends a streamed answer up to its end in order.
    async fn send_stream(&mut self, clock: &mut Clock, headers: Headers, mut body: Body) -> Result<(), Status> {
        let sent = self.send_messages(clock, headers, &mut body).await;
        let trailers = sent.and_then(|()| {
            let trailers = contain_panic(|| body.trailers())?.unwrap_or_default();
            self.check_headers(&trailers)?;
            Ok(trailers)
        });
        // Before the end is told, so that a drain ends after the last of the application's code.
        let _ = contain_panic(|| drop(body));
        let trailers = trailers?;
        if self.call.canceller.abort_reason().is_some() {
            return Ok(());
        }
        let (payloads, messages) = self.call.sent_so_far();
        let (mut wire, payload) = End::with(None, payloads, messages).encode(self.connection.max_payload());
        head::add_application(&mut wire, &trailers);
        if let Some(stored) = self.stored.as_mut().filter(|_| payloads == 0) {
            // An answer without a message is all there.
            stored.keep(wire.clone(), payload.clone()).await;
        }
        Ok(self.tell(Some(wire), payload).await?)
    }

    async fn send_messages(&self, clock: &mut Clock, headers: Headers, body: &mut Body) -> Result<(), Status> {
        let mut stopped = false;
        let mut first = Some(headers);
        let mut pack = Pack::new(self.connection.max_payload());
        // The caller reads the headers before the first message, if that takes longer than this moment.
        let mut next = poll_fn(|cx| Poll::Ready(self.poll_body(cx, body, &mut stopped))).await;
        if next.is_pending() || is_end(&next) {
            let mut wire = head::only(head::BEGIN, 1);
            head::add_application(&mut wire, &first.take().unwrap_or_default());
            self.notice(wire).await?;
        }
        loop {
            let item = match std::mem::replace(&mut next, Poll::Pending) {
                Poll::Ready(item) => item?,
                Poll::Pending => {
                    let message = poll_fn(|cx| self.poll_body(cx, body, &mut stopped));
                    self.attend(clock, pin!(message)).await??
                }
            };
            let Some(message) = item else { return Ok(()) };
            let (message, headers) = (message?, first.take().filter(|headers| !headers.is_empty()));
            self.check_size(message.len())?;
            let alone = if headers.is_some() { Err(message) } else { pack.push(message) };
            match alone {
                Err(message) => self.send_message(clock, message, headers).await?,
                Ok(()) => {
                    next = self.gather(&mut pack, body, &mut stopped).await;
                    self.send_pack(clock, &mut pack).await?;
                }
            }
        }
    }

    /// Polls the answer's body, and passes a stop on to it.
    fn poll_body(&self, cx: &mut Task<'_>, body: &mut Body, stopped: &mut bool) -> Polled {
        self.call.canceller.poll(cx, |cx| {
            if self.call.canceller.is_stopped() && !std::mem::replace(stopped, true) {
                body.stop();
            }
            body.poll_message(cx)
        })
    }

    /// Packs what else is ready now; what comes after that.
    async fn gather(&self, pack: &mut Pack, body: &mut Body, stopped: &mut bool) -> Polled {
        let (mut began, mut packed_before) = (None, 0);
        loop {
            let message = match poll_fn(|cx| Poll::Ready(self.poll_body(cx, body, stopped))).await {
                Poll::Ready(Ok(Some(Ok(message)))) => message,
                // What is sent waits for the others' turn anyway; a handler that only gave way has its next by then.
                // As long as it has, the next turn is worth as much.
                Poll::Pending if pack.len() > packed_before && !self.entry.is_alone() => {
                    packed_before = pack.len();
                    tokio::task::yield_now().await;
                    continue;
                }
                other => return other,
            };
            if began.get_or_insert_with(Instant::now).elapsed() > GATHERING {
                return Poll::Ready(Ok(Some(Ok(message))));
            }
            if let Err(status) = self.check_size(message.len()) {
                return Poll::Ready(Err(status));
            }
            if let Err(message) = pack.push(message) {
                return Poll::Ready(Ok(Some(Ok(message))));
            }
        }
    }

    /// Sends what was packed in one payload.
    async fn send_pack(&self, clock: &mut Clock, pack: &mut Pack) -> Result<(), Status> {
        if let Some(message) = pack.take_single() {
            return self.send_message(clock, message, None).await;
        }
        self.wait_for_credit(clock).await?;
        let number = self.call.sent_some(pack.cost(), pack.len() as u64);
        let mut wire = HeaderMap::new();
        let packed = pack.take(&mut wire);
        self.send(payload(&self.call, number, wire, packed)).await?;
        clock.beat_later();
        Ok(())
    }

    async fn wait_for_credit(&self, clock: &mut Clock) -> Result<(), Status> {
        // Nearly always there is some.
        if poll_fn(|cx| Poll::Ready(self.call.poll_may_send(cx).is_ready())).await {
            return Ok(());
        }
        self.attend(clock, pin!(poll_fn(|cx| self.call.poll_may_send(cx)))).await
    }

    async fn send_message(&self, clock: &mut Clock, message: Bytes, mut first: Option<Headers>) -> Result<(), Status> {
        let mut rest = message;
        loop {
            self.wait_for_credit(clock).await?;
            let mut wire = HeaderMap::new();
            head::add_application(&mut wire, &first.take().unwrap_or_default());
            let room = self.connection.max_payload().saturating_sub(head::wire_len(&wire) + head::OWN_BYTES);
            let piece = rest.split_to(rest.len().min(room));
            let number = self.call.sent(piece.len(), !rest.is_empty());
            if !rest.is_empty() {
                head::set(&mut wire, head::MORE, 1);
            }
            self.send(payload(&self.call, number, wire, piece)).await?;
            if rest.is_empty() {
                clock.beat_later();
                return Ok(());
            }
        }
    }

    async fn send_end(&self, end: End) {
        let (headers, payload) = end.encode(self.connection.max_payload());
        if let Err(error) = self.tell(Some(headers), payload).await {
            // The caller ends the call by itself when the connection is lost.
            tracing::debug!(%error, "the end of a call was not sent");
        }
    }

    /// Something that is not the end: it names where the caller talks to this call, and where NATS says that the
    /// caller is gone.
    async fn publish(&self, headers: HeaderMap, payload: Bytes) -> Result<(), Error> {
        self.send(outbound(&self.call, headers, payload)).await
    }

    async fn send(&self, message: Outbound) -> Result<(), Error> {
        say(&self.connection, &self.call, message, self.entry.is_alone()).await
    }

    async fn pass(&self, message: Outbound) -> Result<(), Error> {
        pass(&self.connection, message, self.entry.is_alone()).await
    }

    async fn notice(&self, headers: HeaderMap) -> Result<(), Error> {
        self.publish(headers, Bytes::new()).await
    }

    async fn attend<F: Future + ?Sized>(&self, clock: &mut Clock, work: Pin<&mut F>) -> Result<F::Output, Status> {
        attend(&self.connection, &self.call, clock, work).await
    }
}

/// What a poll of the answer's body gave.
type Polled = Poll<Result<Option<Result<Bytes, Error>>, Status>>;

fn is_end(next: &Polled) -> bool {
    matches!(next, Poll::Ready(Ok(None)))
}

/// When the call must have ended, of the time that was left when it was sent.
pub(super) fn deadline_after(micros: u64) -> Option<Instant> {
    Instant::now().checked_add(Duration::from_micros(micros))
}
