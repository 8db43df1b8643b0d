//! The handler of a simulated call: what `server::answering` does, by a script.

use std::collections::VecDeque;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use plane_core::{AbortReason, Admitted, BoxFuture, Canceller, Code, Headers, Outcome, Status};

use crate::proto::{Connection, Ending, Next, Opened};
use crate::simulation::caller::{NONCE, headers};
use crate::simulation::record::{Answered, OWN_CODES, Record};
use crate::simulation::script::{Answer, HandlerScript, Way, message};

/// When the caller is told that its call was accepted.
const ACCEPT_NOTICE: Duration = Duration::from_millis(100);

/// Who answers.
pub(super) struct Handler {
    nonce: u64,
    call: u64,
    script: HandlerScript,
    deadline: Option<Instant>,
    canceller: Canceller,
    admitted: Option<Admitted>,
    stage: Stage,
    /// A request that is one message.
    only: Option<Bytes>,
    /// The request comes in messages and its end was not read.
    requested: bool,
    to_send: VecDeque<usize>,
    held: Option<Bytes>,
    begun: bool,
    stopped: bool,
    rests_until: Option<Instant>,
}

enum Stage {
    Queued(BoxFuture<'static, Admitted>),
    Reads,
    Answers,
}

impl Handler {
    pub(super) fn nonce_of(headers: &Headers) -> u64 {
        let nonce = headers.get(NONCE).and_then(|value| value.to_str().ok()).and_then(|text| text.parse().ok());
        nonce.expect("every call has a nonce")
    }

    pub(super) fn new(opened: Opened, canceller: Canceller, script: HandlerScript) -> Self {
        let Opened { call, mut admitted, headers, only, context } = opened;
        let to_send = match &script.answer {
            Answer::Only(length) => VecDeque::from([*length]),
            Answer::Stream { lengths, .. } | Answer::Fails(lengths) => lengths.iter().copied().collect(),
            Answer::Echo | Answer::Hangs => VecDeque::new(),
        };
        let (admitted, stage) = if admitted.is_running() {
            (Some(admitted), Stage::Reads)
        } else {
            let turn = Box::pin(async move {
                admitted.turn().await;
                admitted
            });
            (None, Stage::Queued(turn))
        };
        Self {
            nonce: Self::nonce_of(&headers),
            call,
            script,
            deadline: context.deadline(),
            canceller,
            admitted,
            stage,
            requested: only.is_none(),
            only,
            to_send,
            held: None,
            begun: false,
            stopped: false,
            rests_until: None,
        }
    }

    pub(super) fn due(&self) -> Option<Instant> {
        self.rests_until
    }

    /// The first poll of a handler that need not wait for its turn.
    pub(super) fn start(&mut self, now: Instant, connection: &mut Connection, record: &mut Record) {
        if self.admitted.is_some() {
            record.started(self.nonce);
            connection.notice_at(self.call, now + ACCEPT_NOTICE);
            self.rests_until = Some(now + self.script.pause);
        }
    }

    pub(super) fn poll(
        &mut self,
        now: Instant,
        connection: &mut Connection,
        record: &mut Record,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        let ended = ready!(self.poll_stages(now, connection, record, cx));
        self.drop_request(connection);
        let (status, outcome) = match ended {
            Ok(()) => (None, Outcome::Completed),
            Err(status) => {
                let outcome = self.canceller.abort_reason().map_or(Outcome::Failed, |_| Outcome::Cancelled);
                (Some(status), outcome)
            }
        };
        let facts = record.of(self.nonce);
        if let Some(status) = status {
            let started = facts.handlers > 0;
            if started {
                facts.answered = Some(Answered::Failed(status.code(), status.message().to_owned()));
            }
            connection.finish(self.call, Ending { not_executed: !started, ..Ending::failed(status) });
        }
        if let Some(admitted) = self.admitted.take() {
            admitted.finish(outcome);
        }
        Poll::Ready(())
    }

    fn poll_stages(
        &mut self,
        now: Instant,
        connection: &mut Connection,
        record: &mut Record,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Status>> {
        loop {
            if self.rests_until.is_some_and(|until| until > now) {
                return self.wait(cx);
            }
            self.rests_until = None;
            let going_on = match &mut self.stage {
                Stage::Queued(_) => ready!(self.poll_turn(now, connection, record, cx)),
                Stage::Reads => ready!(self.poll_read(now, connection, record, cx)),
                Stage::Answers => ready!(self.poll_answer(now, connection, record, cx)),
            };
            match going_on {
                Ok(true) => {}
                Ok(false) => return Poll::Ready(Ok(())),
                Err(status) => return Poll::Ready(Err(status)),
            }
        }
    }

    /// Waits for what was asked for already; an abort ends the wait.
    fn wait<T>(&self, cx: &mut Context<'_>) -> Poll<Result<T, Status>> {
        self.canceller.poll(cx, |_| Poll::Pending)
    }

    fn poll_turn(
        &mut self,
        now: Instant,
        connection: &mut Connection,
        record: &mut Record,
        cx: &mut Context<'_>,
    ) -> Poll<Result<bool, Status>> {
        let Stage::Queued(turn) = &mut self.stage else { return Poll::Ready(Ok(true)) };
        let late = self.deadline.is_some_and(|deadline| deadline <= now);
        let admitted = match ready!(self.canceller.poll(cx, |cx| turn.as_mut().poll(cx))) {
            Ok(admitted) => admitted,
            Err(status) => return Poll::Ready(Err(status)),
        };
        self.admitted = Some(admitted);
        self.stage = Stage::Reads;
        if late || self.canceller.abort_reason().is_some() {
            return Poll::Ready(Err(AbortReason::DeadlineExceeded.status()));
        }
        self.start(now, connection, record);
        Poll::Ready(Ok(true))
    }

    fn poll_read(
        &mut self,
        now: Instant,
        connection: &mut Connection,
        record: &mut Record,
        cx: &mut Context<'_>,
    ) -> Poll<Result<bool, Status>> {
        let next = match self.only.take() {
            Some(only) => Next::Message(only),
            None if !self.requested || record.of(self.nonce).read >= self.script.reads => {
                self.drop_request(connection);
                self.stage = Stage::Answers;
                return Poll::Ready(Ok(true));
            }
            None => match connection.poll_next(self.call, cx) {
                Poll::Ready(next) => next,
                Poll::Pending => return self.wait(cx),
            },
        };
        let facts = record.of(self.nonce);
        match next {
            Next::Message(received) => {
                let length = facts.requested.get(facts.read).copied().expect("no message that was not sent");
                let expected = message(self.nonce, Way::Request, facts.read, length);
                assert!(received == expected, "request {}: message {} is not what was sent", self.nonce, facts.read);
                facts.read += 1;
                if matches!(self.script.answer, Answer::Echo) {
                    self.to_send.push_back(length);
                }
                self.rests_until = Some(now + self.script.pause);
            }
            Next::End(_) => {
                self.requested = false;
                assert!(facts.request_whole && facts.read == facts.requested.len(), "a part looks whole: {facts:?}");
            }
            Next::Failed(error) => {
                self.requested = false;
                return Poll::Ready(Err(error.into()));
            }
        }
        Poll::Ready(Ok(true))
    }

    fn poll_answer(
        &mut self,
        now: Instant,
        connection: &mut Connection,
        record: &mut Record,
        cx: &mut Context<'_>,
    ) -> Poll<Result<bool, Status>> {
        if matches!(self.script.answer, Answer::Stream { heeds_stop: true, .. })
            && self.canceller.is_stopped()
            && !std::mem::replace(&mut self.stopped, true)
        {
            self.to_send.truncate(1);
        }
        let sent = record.of(self.nonce).sent.len();
        match &self.script.answer {
            Answer::Hangs => self.wait(cx),
            Answer::Only(length) => {
                let answer = message(self.nonce, Way::Answer, 0, *length);
                if let Err(error) = connection.send(self.call, answer, true) {
                    return Poll::Ready(Err(error.status()));
                }
                let facts = record.of(self.nonce);
                facts.sent.push(*length);
                facts.answered = Some(Answered::Whole);
                Poll::Ready(Ok(false))
            }
            Answer::Stream { .. } | Answer::Echo | Answer::Fails(_) => {
                let Some(length) = self.to_send.front().copied() else { return self.end(connection, record) };
                if matches!(self.script.answer, Answer::Stream { headers: true, .. }) {
                    self.begin(connection);
                }
                if self.held.is_none() {
                    self.held = Some(message(self.nonce, Way::Answer, sent, length));
                }
                match connection.poll_send(self.call, &mut self.held, cx) {
                    Poll::Pending => {
                        self.begin(connection);
                        return self.wait(cx);
                    }
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error.status())),
                    Poll::Ready(Ok(())) => {}
                }
                self.begun = true;
                self.to_send.pop_front();
                record.of(self.nonce).sent.push(length);
                self.rests_until = Some(now + self.script.pause);
                Poll::Ready(Ok(true))
            }
        }
    }

    fn begin(&mut self, connection: &mut Connection) {
        if !std::mem::replace(&mut self.begun, true) {
            connection.begin(self.call, &headers(self.nonce));
        }
    }

    fn end(&mut self, connection: &mut Connection, record: &mut Record) -> Poll<Result<bool, Status>> {
        if let Answer::Fails(_) = self.script.answer {
            let code = OWN_CODES + u16::try_from(self.nonce).unwrap_or_default();
            return Poll::Ready(Err(Status::new(Code(code), format!("as call {} was told", self.nonce))));
        }
        record.of(self.nonce).answered = Some(Answered::Whole);
        connection.finish(self.call, Ending { trailers: Some(headers(self.nonce)), ..Ending::orderly() });
        Poll::Ready(Ok(false))
    }

    fn drop_request(&mut self, connection: &mut Connection) {
        if std::mem::take(&mut self.requested) {
            connection.discard(self.call);
        }
    }
}
