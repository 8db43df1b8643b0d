//! One call as its caller sees it: what has come of the answer, and what the server was not told yet.

use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use async_nats::{HeaderMap, Message, StatusCode, Subject};
use bytes::Bytes;
use parking_lot::Mutex;
use plane_core::{Body, Code, Delivery, Error, ErrorKind, HeaderLimits, Headers, Response, Status};

use super::runs::{Run, Runs};
use crate::flow::{Incoming, Outgoing, Waiter};
use crate::head;
use crate::status::End;
use crate::subject;

/// One call in flight.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) id: u64,
    /// What was called.
    pub(super) subject: Subject,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Where the server listens for this call, once it is known.
    control: Option<Subject>,
    /// Whether the server has said anything.
    accepted: bool,
    /// When the server last said anything.
    heard: Instant,
    headers: Option<Headers>,
    begun: bool,
    /// The whole answer, if it is one plain reply.
    single: Option<Bytes>,
    incoming: Incoming,
    end: Option<Result<Option<Headers>, Error>>,
    is_ended: bool,
    outgoing: Outgoing,
    caller: Waiter,
    /// The runs of its request, if that is stored.
    runs: Option<Runs>,
    /// Of the headers of its answer.
    limits: HeaderLimits,
}

/// What a message about a call means to whoever took it in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    GoesOn,
    /// The call had ended before.
    Late,
    /// The call has ended here; the server has to be told why it should end there.
    Broken(Code),
}

/// What the caller reads next.
pub(super) enum Next {
    Message(Bytes),
    End(Option<Headers>),
    Failed(Error),
}

impl Call {
    pub(super) fn new(
        id: u64,
        subject: Subject,
        control: Option<Subject>,
        incoming: Incoming,
        limits: HeaderLimits,
    ) -> Self {
        let state = State {
            control,
            accepted: false,
            heard: Instant::now(),
            headers: None,
            begun: false,
            single: None,
            incoming,
            end: None,
            is_ended: false,
            outgoing: Outgoing::default(),
            caller: Waiter::default(),
            runs: None,
            limits,
        };
        Self { id, subject, state: Mutex::new(state) }
    }

    /// The same, of a request that is stored.
    pub(super) fn stored(mut self) -> Self {
        self.state.get_mut().runs = Some(Runs::default());
        self
    }

    pub(super) fn control(&self) -> Option<Subject> {
        self.state.lock().control.clone()
    }

    /// Takes in one message from the server.
    pub(super) fn take(&self, message: Message) -> Heard {
        let mut state = self.state.lock();
        if state.is_ended {
            return Heard::Late;
        }
        let heard = state.take(message);
        let wakers = state.wakers();
        drop(state);
        wakers.into_iter().flatten().for_each(Waker::wake);
        heard
    }

    /// Takes in what was kept of the end of a stored request.
    pub(super) fn take_kept(&self, headers: &HeaderMap, payload: Bytes) {
        let mut state = self.state.lock();
        if state.is_ended {
            return;
        }
        match End::decode(headers, &payload) {
            Some(end) => state.take_end(end, headers),
            None => state.take_plain(headers, payload),
        }
        let wakers = state.wakers();
        drop(state);
        wakers.into_iter().flatten().for_each(Waker::wake);
    }

    /// Whether its answer may still come after the connection was lost.
    pub(super) fn outlives_connection(&self) -> bool {
        let state = self.state.lock();
        state.runs.is_some() && !state.begun
    }

    /// The server that answers is gone, says NATS.
    pub(super) fn lose_server(&self, error: Error) {
        let mut state = self.state.lock();
        if state.is_run_again() {
            state.control = None;
            return;
        }
        drop(state);
        self.fail(error);
    }

    /// Ends the call from this side, unless it has ended.
    pub(super) fn fail(&self, error: Error) -> bool {
        let mut state = self.state.lock();
        if state.is_ended {
            return false;
        }
        state.finish(Err(error));
        let wakers = state.wakers();
        drop(state);
        wakers.into_iter().flatten().for_each(Waker::wake);
        true
    }

    /// How far the call got, as far as is known here.
    pub(super) fn delivery(&self) -> Delivery {
        if self.state.lock().begun { Delivery::Executed } else { Delivery::Unknown }
    }

    /// When the call is given up if the server says nothing.
    pub(super) fn silent_until(&self, request_timeout: Duration, keepalive: Duration) -> (Instant, bool) {
        let state = self.state.lock();
        if state.is_run_again() {
            // A request whose server died is run again by another, whenever there is one.
            return (Instant::now() + keepalive, true);
        }
        let patience = if state.accepted { keepalive } else { request_timeout };
        (state.heard + patience, state.accepted)
    }

    /// The answer, once it has begun.
    pub(super) fn poll_begin(&self, cx: &Context<'_>) -> Poll<Result<Begun, Error>> {
        let mut state = self.state.lock();
        if let Some(message) = state.single.take() {
            let headers = state.headers.take().unwrap_or_default();
            return Poll::Ready(Ok(Begun::Whole(Response { headers, body: message.into() })));
        }
        if state.begun {
            return Poll::Ready(Ok(Begun::Stream(state.headers.take().unwrap_or_default())));
        }
        match state.end.take() {
            Some(Ok(None)) => {
                let headers = state.headers.take().unwrap_or_default();
                Poll::Ready(Ok(Begun::Whole(Response { headers, body: Body::empty() })))
            }
            Some(Ok(trailers)) => {
                state.end = Some(Ok(trailers));
                Poll::Ready(Ok(Begun::Stream(Headers::new())))
            }
            Some(Err(error)) => Poll::Ready(Err(error)),
            None => {
                state.caller.wait(cx);
                Poll::Pending
            }
        }
    }

    /// Wakes its caller no more, until it waits again: it looks for itself now.
    pub(super) fn stop_waiting(&self) {
        self.state.lock().caller.take();
    }

    /// The next of a streamed answer, and the credit to give back for it.
    pub(super) fn poll_next(&self, cx: &Context<'_>) -> (Poll<Next>, Option<(Subject, u32)>) {
        let mut state = self.state.lock();
        let message = state.incoming.pop();
        if let (Some(_), Some(runs)) = (&message, &mut state.runs) {
            runs.is_read = true;
        }
        let credit = if state.is_ended { None } else { state.incoming.take_credit() };
        let credit = credit.and_then(|credit| Some((state.control.clone()?, credit)));
        let next = match (message, state.end.take()) {
            (Some(message), end) => {
                state.end = end;
                Poll::Ready(Next::Message(message))
            }
            (None, Some(Ok(trailers))) => Poll::Ready(Next::End(trailers)),
            (None, Some(Err(error))) => Poll::Ready(Next::Failed(error)),
            (None, None) => {
                state.caller.wait(cx);
                Poll::Pending
            }
        };
        (next, credit)
    }

    /// Whether the answer has come to its end in order, read or not.
    pub(super) fn is_complete(&self) -> bool {
        matches!(self.state.lock().end, Some(Ok(_)))
    }

    /// Waits for the leave to send one more payload, and where to. `None` once the call has ended.
    pub(super) fn poll_may_send(&self, cx: &Context<'_>) -> Poll<Option<Subject>> {
        let mut state = self.state.lock();
        if state.is_ended {
            return Poll::Ready(None);
        }
        if state.outgoing.may_send()
            && let Some(control) = &state.control
        {
            return Poll::Ready(Some(control.clone()));
        }
        state.outgoing.waiter.wait(cx);
        Poll::Pending
    }

    pub(super) fn sent(&self, bytes: usize, continues: bool) -> u64 {
        self.state.lock().outgoing.send(bytes, continues)
    }

    /// Payloads and messages sent so far.
    pub(super) fn sent_so_far(&self) -> (u64, u64) {
        let state = self.state.lock();
        (state.outgoing.payloads, state.outgoing.messages)
    }

    /// Whether an answer has begun, or the call has ended.
    pub(super) fn poll_heard(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.state.lock();
        if state.begun || state.is_ended {
            return Poll::Ready(());
        }
        state.outgoing.waiter.wait(cx);
        Poll::Pending
    }

    /// Whether the call has ended, whatever was read of it.
    pub(super) fn poll_ended(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.state.lock();
        if state.is_ended {
            return Poll::Ready(());
        }
        state.outgoing.waiter.wait(cx);
        Poll::Pending
    }
}

/// An answer that has begun.
pub(super) enum Begun {
    Whole(Response),
    Stream(Headers),
}

impl State {
    fn take(&mut self, message: Message) -> Heard {
        self.heard = Instant::now();
        if message.status == Some(StatusCode::NO_RESPONDERS) {
            if self.is_run_again() {
                self.control = None;
            } else {
                self.finish(Err(self.nobody()));
            }
            return Heard::GoesOn;
        }
        self.accepted = true;
        let headers = message.headers.unwrap_or_default();
        if let Err(error) = head::check_limits(&headers, self.limits) {
            return self.break_off(&Status::new(Code::PROTOCOL, format!("the answer's headers: {error}")));
        }
        if !self.is_current(&headers) {
            return Heard::GoesOn;
        }
        let number = message.reply.and_then(|reply| self.note_reply(reply));
        if let Some(number) = number {
            return self.take_payload(number, &headers, message.payload);
        }
        if let Some(end) = End::decode(&headers, &message.payload) {
            self.take_end(end, &headers);
            return Heard::GoesOn;
        }
        if let Some(number) = head::number(&headers, head::SEQ) {
            return self.take_payload(number, &headers, message.payload);
        }
        if self.control.is_some() && is_notice(&headers) {
            self.outgoing.grant(head::number(&headers, head::CREDIT).unwrap_or(0));
            if headers.get(head::BEGIN).is_some() {
                self.begin(&headers);
            }
            return Heard::GoesOn;
        }
        self.take_plain(&headers, message.payload);
        Heard::GoesOn
    }

    /// Learns where the server listens; the number of the payload, if the reply subject has one.
    fn note_reply(&mut self, reply: Subject) -> Option<u64> {
        let Some((control, number)) = subject::numbered(&reply) else {
            self.control = Some(reply);
            return None;
        };
        if self.control.as_deref() != Some(control) {
            self.control = Some(control.into());
        }
        Some(number)
    }

    fn take_payload(&mut self, number: u64, headers: &HeaderMap, payload: Bytes) -> Heard {
        if !self.begun {
            self.begin(headers);
        }
        let pushed = match headers.get(head::SIZES) {
            Some(sizes) => self.incoming.push_some(number, sizes.as_str(), payload),
            None => self.incoming.push(number, headers.get(head::MORE).is_some(), payload),
        };
        match pushed {
            Ok(()) => Heard::GoesOn,
            Err(status) => self.break_off(&status),
        }
    }

    /// NATS says that nobody listens.
    fn nobody(&self) -> Error {
        if self.accepted {
            let delivery = if self.begun { Delivery::Executed } else { Delivery::Unknown };
            return Error::new(ErrorKind::Disconnected, delivery, "the server of the call is gone, says NATS");
        }
        let what = "nobody listens on the subject of the call: no server of the endpoint is connected to NATS";
        Error::new(ErrorKind::Unavailable, Delivery::NotSent, what)
    }

    /// Whether another server runs the request if this one is gone, and its answer can take the place of this one's.
    fn is_run_again(&self) -> bool {
        self.runs.as_ref().is_some_and(|runs| !runs.is_read)
    }

    /// Whether a message is of the run that answers. Another run may take its place as long as nothing was read: an
    /// answer is never put together of two.
    fn is_current(&mut self, headers: &HeaderMap) -> bool {
        let Some(runs) = &mut self.runs else { return true };
        match (runs.place(headers), runs.is_read) {
            (Run::Past, _) => false,
            (Run::Next, true) => {
                let what =
                    "the server that answered is gone; the request is run again, but part of its answer was read";
                self.finish(Err(Error::new(ErrorKind::Disconnected, Delivery::Executed, what)));
                false
            }
            (Run::Next, false) => {
                self.incoming.restart();
                headers.get(head::AGAIN).is_none()
            }
            (Run::Same, false) if headers.get(head::AGAIN).is_some() => {
                self.incoming.restart();
                false
            }
            (Run::Same, _) => true,
        }
    }

    fn begin(&mut self, headers: &HeaderMap) {
        self.begun = true;
        self.headers = Some(head::application(headers));
    }

    fn take_end(&mut self, end: End, headers: &HeaderMap) {
        if end.status.is_none() {
            let trailers = Some(head::application(headers)).filter(|trailers| !trailers.is_empty());
            let checked = self.incoming.check_end(end.payloads, end.messages);
            self.finish(checked.map(|()| trailers).map_err(|lost| local(&lost)));
        } else if let Some(error) = end.into_error() {
            self.finish(Err(error));
        }
    }

    /// A whole answer, or an error of a service that does not know the plane.
    fn take_plain(&mut self, headers: &HeaderMap, payload: Bytes) {
        if let Some(text) = headers.get(head::SERVICE_ERROR) {
            let status = Status::new(Code::UNKNOWN, text.as_str().to_owned()).with_details(payload);
            self.finish(Err(Error::from_status(status, Delivery::Executed)));
            return;
        }
        self.headers = Some(head::application(headers));
        self.single = Some(payload);
        self.finish(Ok(None));
    }

    fn break_off(&mut self, status: &Status) -> Heard {
        self.finish(Err(local(status)));
        Heard::Broken(Code::CANCELLED)
    }

    fn finish(&mut self, end: Result<Option<Headers>, Error>) {
        self.is_ended = true;
        self.end = Some(end);
    }

    fn wakers(&mut self) -> [Option<Waker>; 2] {
        [self.caller.take(), self.outgoing.waiter.take()]
    }
}

/// What this side found wrong with the answer.
fn local(status: &Status) -> Error {
    Error::new(status.code().into(), Delivery::Executed, status.message().to_owned())
}

fn is_notice(headers: &HeaderMap) -> bool {
    [head::BEAT, head::CREDIT, head::BEGIN].into_iter().any(|name| headers.get(name).is_some())
}
