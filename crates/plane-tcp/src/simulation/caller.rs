//! The caller of a simulated call, and the task that sends its request.

use std::collections::VecDeque;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use plane_core::{Code, Delivery, EndpointId, Error, ErrorKind, Headers};

use crate::proto::{Begun, Connection, Ending, Next, OpenError, Opening, SendError};
use crate::simulation::record::{Outcome, Record, assert_in_time};
use crate::simulation::script::{CallerScript, Way, message};

/// The header that tells whose call it is.
pub(super) const NONCE: &str = "x-nonce";

/// What is served, and what is not.
pub(super) fn endpoint(served: bool) -> EndpointId {
    EndpointId::new("demo", "simulation", if served { "here" } else { "astray" }).expect("a valid name")
}

pub(super) fn headers(nonce: u64) -> Headers {
    [(http::HeaderName::from_static(NONCE), nonce.into())].into_iter().collect()
}

/// Who waits for an answer.
#[derive(Debug)]
pub(super) struct Caller {
    nonce: u64,
    script: CallerScript,
    stage: Stage,
    deadline: Option<Instant>,
    accept_by: Instant,
    leaves_at: Option<Instant>,
    rests_until: Option<Instant>,
    received: usize,
    ahead: VecDeque<Bytes>,
    stopped: bool,
}

#[derive(Debug, Clone, Copy)]
enum Stage {
    Opens,
    Begins(u64),
    Reads(u64),
}

impl Caller {
    pub(super) fn new(nonce: u64, script: CallerScript, start: Instant) -> Self {
        let starts = start + script.starts;
        Self {
            deadline: script.deadline.map(|deadline| starts + deadline),
            accept_by: starts + script.request_timeout,
            leaves_at: script.leaves_at.map(|after| starts + after),
            rests_until: Some(starts),
            received: 0,
            ahead: VecDeque::new(),
            stopped: false,
            stage: Stage::Opens,
            nonce,
            script,
        }
    }

    pub(super) fn nonce(&self) -> u64 {
        self.nonce
    }

    /// The call that it has opened.
    pub(super) fn call(&self) -> Option<u64> {
        match self.stage {
            Stage::Opens => None,
            Stage::Begins(id) | Stage::Reads(id) => Some(id),
        }
    }

    pub(super) fn due(&self) -> Option<Instant> {
        [self.leaves_at, self.rests_until].into_iter().flatten().min()
    }

    pub(super) fn poll(
        &mut self,
        now: Instant,
        connection: &mut Connection,
        record: &mut Record,
        cx: &Context<'_>,
    ) -> Poll<()> {
        if self.leaves_at.is_some_and(|at| at <= now) {
            return self.leave(connection, record);
        }
        loop {
            if self.rests_until.is_some_and(|until| until > now) {
                return Poll::Pending;
            }
            self.rests_until = None;
            let polled = match self.stage {
                Stage::Opens => self.open(now, connection, record),
                Stage::Begins(id) => self.begin(id, now, connection, record, cx),
                Stage::Reads(id) => self.read(id, now, connection, record, cx),
            };
            match polled {
                Poll::Ready(true) => {}
                Poll::Ready(false) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn leave(&mut self, connection: &mut Connection, record: &mut Record) -> Poll<()> {
        if let Some(id) = self.call() {
            connection.abandon(id, Code::CANCELLED);
        }
        record.ended(self.nonce, Outcome::Left);
        Poll::Ready(())
    }

    fn open(&mut self, now: Instant, connection: &mut Connection, record: &mut Record) -> Poll<bool> {
        let give_up = self.deadline.map_or(self.accept_by, |deadline| deadline.min(self.accept_by));
        let only = self.script.at_once.then(|| message(self.nonce, Way::Request, 0, self.script.sends[0]));
        let too_large = only.as_ref().is_some_and(|only| only.len() > connection.settings.max_message);
        if now >= give_up || too_large {
            record.ended(self.nonce, Outcome::NotOpened);
            return Poll::Ready(false);
        }
        let opening = Opening {
            endpoint: &endpoint(!self.script.astray),
            instance: None,
            headers: &headers(self.nonce),
            deadline: self.deadline,
            accept_by: self.accept_by,
            reader: None,
            only: only.as_ref(),
        };
        match connection.open(now, opening) {
            Ok(id) => {
                let facts = record.of(self.nonce);
                facts.opened = true;
                if self.script.at_once {
                    facts.requested.push(self.script.sends[0]);
                    facts.request_whole = true;
                }
                self.stage = Stage::Begins(id);
                Poll::Ready(true)
            }
            Err(OpenError::Full) => {
                self.rests_until = Some(now + std::time::Duration::from_millis(2));
                Poll::Ready(true)
            }
            Err(_) => {
                record.ended(self.nonce, Outcome::NotOpened);
                Poll::Ready(false)
            }
        }
    }

    fn begin(
        &mut self,
        id: u64,
        now: Instant,
        connection: &mut Connection,
        record: &mut Record,
        cx: &Context<'_>,
    ) -> Poll<bool> {
        match connection.poll_begin(id, cx) {
            Poll::Pending => {
                assert_in_time(self.nonce, now, self.deadline, "its deadline", record);
                if record.of(self.nonce).handlers == 0 {
                    assert_in_time(self.nonce, now, Some(self.accept_by), "the time to accept it", record);
                }
                Poll::Pending
            }
            Poll::Ready(Err(error)) => self.fail(now, &error, record),
            Poll::Ready(Ok((headers, begun))) => {
                self.check_headers(&headers);
                match begun {
                    Begun::Only(message) => {
                        self.take(&message, record);
                        record.ended(self.nonce, Outcome::Complete(self.received));
                        Poll::Ready(false)
                    }
                    Begun::Stream => {
                        self.stage = Stage::Reads(id);
                        Poll::Ready(true)
                    }
                }
            }
        }
    }

    fn read(
        &mut self,
        id: u64,
        now: Instant,
        connection: &mut Connection,
        record: &mut Record,
        cx: &Context<'_>,
    ) -> Poll<bool> {
        if self.script.leaves_after.is_some_and(|most| self.received >= most) {
            return self.leave(connection, record).map(|()| false);
        }
        if !self.stopped && self.script.stops_after.is_some_and(|most| self.received >= most) {
            self.stopped = true;
            connection.stop(id);
        }
        match connection.poll_more(id, &mut self.ahead, cx) {
            Poll::Pending => {
                assert_in_time(self.nonce, now, self.deadline, "its deadline", record);
                Poll::Pending
            }
            Poll::Ready(Next::Message(message)) => {
                self.take(&message, record);
                self.rests_until = Some(now + self.script.pause);
                Poll::Ready(true)
            }
            Poll::Ready(Next::End(trailers)) => {
                self.check_headers(&trailers.unwrap_or_default());
                record.ended(self.nonce, Outcome::Complete(self.received));
                Poll::Ready(false)
            }
            Poll::Ready(Next::Failed(error)) => self.fail(now, &error, record),
        }
    }

    fn take(&mut self, received: &Bytes, record: &mut Record) {
        let length = record.of(self.nonce).sent.get(self.received).copied().expect("no message that was not sent");
        let expected = message(self.nonce, Way::Answer, self.received, length);
        assert!(*received == expected, "call {}: message {} is another's, or a part", self.nonce, self.received);
        self.received += 1;
    }

    fn check_headers(&self, headers: &Headers) {
        let nonce = headers.get(NONCE).map(|value| value.as_bytes().to_vec());
        assert!(nonce.is_none_or(|nonce| nonce == self.nonce.to_string().into_bytes()), "another call's headers");
    }

    fn fail(&mut self, now: Instant, error: &Error, record: &mut Record) -> Poll<bool> {
        let due = self.deadline.map_or(self.accept_by, |deadline| deadline.min(self.accept_by));
        let late = now + std::time::Duration::from_micros(1) >= due;
        assert!(error.kind() != ErrorKind::DeadlineExceeded || late, "call {} timed out early", self.nonce);
        record.failed(self.nonce, error);
        Poll::Ready(false)
    }
}

/// Who sends a request that is not one message from the start.
#[derive(Debug)]
pub(super) struct Upload {
    nonce: u64,
    call: u64,
    script: CallerScript,
    held: Option<Bytes>,
    sent: usize,
    rests_until: Option<Instant>,
}

impl Upload {
    /// What a call that was just opened still has to send.
    pub(super) fn of(caller: &Caller, call: u64) -> Option<Self> {
        let Caller { nonce, script, .. } = caller;
        let script = (!script.at_once).then(|| script.clone())?;
        Some(Self { nonce: *nonce, call, script, held: None, sent: 0, rests_until: None })
    }

    pub(super) fn nonce(&self) -> u64 {
        self.nonce
    }

    pub(super) fn due(&self) -> Option<Instant> {
        self.rests_until
    }

    pub(super) fn poll(
        &mut self,
        now: Instant,
        connection: &mut Connection,
        record: &mut Record,
        cx: &Context<'_>,
    ) -> Poll<()> {
        loop {
            if self.rests_until.is_some_and(|until| until > now) {
                return Poll::Pending;
            }
            self.rests_until = None;
            if self.script.breaks_at == Some(self.sent) {
                let broken = Error::new(ErrorKind::InvalidArgument, Delivery::Unknown, "the request breaks off");
                connection.fail_call(self.call, broken);
                return Poll::Ready(());
            }
            let Some(length) = self.script.sends.get(self.sent).copied() else {
                record.of(self.nonce).request_whole = true;
                connection.finish(self.call, Ending::orderly());
                return Poll::Ready(());
            };
            if self.held.is_none() {
                self.held = Some(message(self.nonce, Way::Request, self.sent, length));
            }
            match connection.poll_send(self.call, &mut self.held, cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(())) => {
                    record.of(self.nonce).requested.push(length);
                    self.sent += 1;
                    self.rests_until = Some(now + self.script.pause);
                }
                Poll::Ready(Err(SendError::Closed)) => return Poll::Ready(()),
                Poll::Ready(Err(error)) => {
                    let text = error.status().message().to_owned();
                    connection.fail_call(self.call, Error::new(ErrorKind::MessageTooLarge, Delivery::Unknown, text));
                    return Poll::Ready(());
                }
            }
        }
    }
}
