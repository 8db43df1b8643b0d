//! What the other side's frames do with the calls of a connection.

use std::task::Waker;
use std::time::Instant;

use bytes::Bytes;
use plane_core::frame::{End, Flags, Frame, FrameError, Frames, Kind, encode_pong};
use plane_core::{AbortReason, Code, Delivery, Error, ErrorKind, Headers, Refusal};

use crate::failure::Failure;
use crate::proto::call::{Call, Outcome, Role};
use crate::proto::connection::{Connection, Side};
use crate::proto::receiving::{Limits, ReceiveError, too_large};
use crate::proto::sending::Ending;

/// Half the smallest window. Smaller credits are legal, but not without end.
const SMALLEST_CREDIT: u32 = 512;

impl Connection {
    /// Handles what one read brought.
    ///
    /// # Errors
    /// What no correct peer sends; the connection must then [`fail`](Connection::fail) with it.
    pub(crate) fn handle(&mut self, now: Instant, mut frames: Frames) -> Result<(), Failure> {
        self.note_received(now);
        self.reads += 1;
        while let Some(handled) = frames.next(|frame| self.handle_frame(now, frame)) {
            handled??;
        }
        self.woken = self.wake.len();
        Ok(())
    }

    #[inline]
    fn handle_frame(&mut self, now: Instant, frame: Frame<'_>) -> Result<(), Failure> {
        match frame {
            Frame::Message { call, flags, payload } => self.on_message(now, call, flags, payload),
            Frame::Open { call, flags, open, payload } => self.on_open(now, call, flags, open, payload),
            Frame::End { call, not_executed, end } => self.on_end(now, call, not_executed, end),
            Frame::Accept { call } => self.on_accept(now, call),
            Frame::Headers { call, headers } => self.on_headers(now, call, headers),
            Frame::Cancel { call, cancel } => self.on_cancel(now, call, cancel),
            Frame::Credit { call, bytes } => self.on_credit(now, call, bytes),
            Frame::Ping(opaque) => {
                if !self.budgets.pings.spend(now) {
                    return Err(Failure::calm(Refusal::Pings, "pings", &self.settings.abuse.pings));
                }
                encode_pong(self.outbox.control(), opaque);
                Ok(())
            }
            Frame::GoAway(go_away) => {
                self.on_go_away(go_away);
                Ok(())
            }
            // Any byte is a sign of life.
            Frame::Pong(_) => Ok(()),
            Frame::Hello(_) => Err(Failure::violation(Code::PROTOCOL, "a second HELLO")),
            _ => self.stray(now),
        }
    }

    /// A frame that changes nothing. Legal, but not without end.
    pub(crate) fn stray(&mut self, now: Instant) -> Result<(), Failure> {
        if self.budgets.strays.spend(now) {
            Ok(())
        } else {
            Err(Failure::calm(Refusal::IdleFrames, "frames without effect", &self.settings.abuse.idle_frames))
        }
    }

    /// A frame for a call that is not in the table: it crossed the call's end, or no call had this id.
    pub(crate) fn unknown(&mut self, now: Instant, kind: Kind, call: u64) -> Result<(), Failure> {
        if call.is_multiple_of(2) || call > self.last_call {
            return Err(FrameError::CallId { kind, call }.into());
        }
        self.stray(now)
    }

    pub(crate) fn wrong_side(&self, kind: Kind) -> Failure {
        let side = match self.side {
            Side::Dialler(_) => "listener",
            Side::Listener(_) => "dialler",
        };
        Failure::violation(Code::PROTOCOL, format!("a {kind} frame from the {side}"))
    }

    pub(crate) fn over_credit(&self, id: u64) -> Failure {
        let what = format!("more than the credit of {} bytes on call {id}", self.settings.credit);
        Failure::violation(Code::FLOW_CONTROL, what)
    }

    pub(crate) fn on_message(&mut self, now: Instant, id: u64, flags: Flags, payload: Bytes) -> Result<(), Failure> {
        let Self { settings, reassembly, reads, .. } = self;
        let limits = Limits { max_message: settings.max_message, reassembly, read: *reads };
        let Some(call) = self.calls.get_mut(id) else { return self.unknown(now, Kind::MESSAGE, id) };
        let (end, more) = (flags.has(Flags::END), flags.has(Flags::MORE));
        if call.ended {
            if !call.ended_here() {
                return Err(after_end(Kind::MESSAGE, id));
            }
            // What was on its way when this side gave the call up is bounded by its credit, which never comes back.
            call.receiving.waste(&payload).map_err(|_| self.over_credit(id))?;
            if end {
                self.end_incoming(id, Ok(None));
            }
            return Ok(());
        }
        if !more && call.receiving.begun() == 0 {
            self.beside.note(flags);
        }
        match call.receiving.push(payload, more, call.reader.is_some(), limits) {
            Ok(readable) => {
                if end && call.receiving.count() != 1 {
                    return Err(Failure::violation(Code::PROTOCOL, "a MESSAGE says END and is not the only one"));
                }
                if let Some(caller) = call.caller() {
                    caller.accept_by = None;
                    caller.begun = true;
                }
                if readable && let Some(reader) = call.reader.take() {
                    self.wake.push(reader);
                }
                if end {
                    let over = call.end_incoming(Ok(None), &mut self.wake);
                    self.note_end(id, over);
                } else {
                    call.repay(id, &mut self.outbox, &mut self.starved);
                }
                Ok(())
            }
            Err(ReceiveError::Credit) => Err(self.over_credit(id)),
            Err(ReceiveError::TooLarge) => {
                self.refuse_message(now, id);
                Ok(())
            }
        }
    }

    /// A message over the limit ends its call and nothing else (docs/protocol.md, "Messages").
    fn refuse_message(&mut self, now: Instant, id: u64) {
        let status = too_large(self.settings.max_message);
        self.refusals.note(now, Refusal::Message, &self.peer.address, &status.message());
        let Some(call) = self.calls.get_mut(id) else { return };
        call.receiving.discard();
        match &call.role {
            Role::Caller(_) => {
                let text = status.message().to_owned();
                let error = Error::new(ErrorKind::MessageTooLarge, Delivery::Executed, text);
                call.end(Err(error), &mut self.wake);
                self.cancel(id, Code::MESSAGE_TOO_LARGE);
            }
            Role::Handler(handling) => {
                handling.canceller.abort(AbortReason::Cancelled);
                call.end(Err(AbortReason::Cancelled.status().into()), &mut self.wake);
                self.finish(id, Ending { status: Some(status), trailers: None, not_executed: false });
            }
        }
    }

    fn on_end(&mut self, now: Instant, id: u64, not_executed: bool, end: End) -> Result<(), Failure> {
        let Some(call) = self.calls.get_mut(id) else { return self.unknown(now, Kind::END, id) };
        let End { count, status, trailers } = end;
        if call.ended_here() {
            // What came since was not looked at, so it cannot be held against the end.
            self.end_incoming(id, Ok(None));
            return Ok(());
        }
        if call.ended {
            return Err(after_end(Kind::END, id));
        }
        if let Role::Handler(_) = call.role {
            if status.is_some() || not_executed || !call.receiving.check_end(count)? {
                return Err(Failure::violation(
                    Code::PROTOCOL,
                    "a request's END has a status, a flag or a wrong count",
                ));
            }
            self.end_incoming(id, Ok(trailers.ok().filter(|trailers| !trailers.is_empty())));
            return Ok(());
        }
        let received = call.receiving.count();
        let delivery = if not_executed { Delivery::NotExecuted } else { Delivery::Executed };
        let outcome = match (status, trailers) {
            (Some(status), _) => Err(Error::from_status(status, delivery)),
            (None, Err(error)) => Err(Error::new(ErrorKind::Protocol, delivery, format!("bad trailers: {error}"))),
            (None, Ok(_)) if !call.receiving.check_end(count)? => {
                let what = format!("the answer has {count} messages and {received} came");
                Err(Error::new(ErrorKind::Truncated, delivery, what))
            }
            (None, Ok(trailers)) => Ok(Some(trailers).filter(|trailers| !trailers.is_empty())),
        };
        self.end_incoming(id, outcome);
        Ok(())
    }

    /// The far side is done with its direction; for a caller that is the end of the call.
    fn end_incoming(&mut self, id: u64, outcome: Outcome) {
        let Some(call) = self.calls.get_mut(id) else { return };
        let over = call.end_incoming(outcome, &mut self.wake);
        self.note_end(id, over);
    }

    /// A call that this side made is over, or only the request of one that it answers.
    fn note_end(&mut self, id: u64, Over { counted, abandoned }: Over) {
        if counted {
            self.leave();
        }
        if abandoned {
            self.calls.remove(id);
        }
    }

    fn on_accept(&mut self, now: Instant, id: u64) -> Result<(), Failure> {
        let Some(call) = self.calls.get_mut(id) else { return self.unknown(now, Kind::ACCEPT, id) };
        let Role::Caller(caller) = &mut call.role else { return Err(self.wrong_side(Kind::ACCEPT)) };
        if caller.accept_by.take().is_none() { self.stray(now) } else { Ok(()) }
    }

    fn on_headers(
        &mut self,
        now: Instant,
        id: u64,
        headers: Result<Headers, plane_core::HeaderError>,
    ) -> Result<(), Failure> {
        let Some(call) = self.calls.get_mut(id) else { return self.unknown(now, Kind::HEADERS, id) };
        let Role::Caller(caller) = &mut call.role else { return Err(self.wrong_side(Kind::HEADERS)) };
        if call.ended {
            return if caller.open { self.stray(now) } else { Err(after_end(Kind::HEADERS, id)) };
        }
        if caller.begun {
            return Err(Failure::violation(Code::PROTOCOL, "HEADERS after the answer has begun"));
        }
        caller.accept_by = None;
        caller.begun = true;
        match headers {
            Ok(headers) => {
                caller.headers = Some(headers);
                self.wake.extend(call.reader.take());
            }
            Err(error) => {
                let error = Error::new(ErrorKind::Protocol, Delivery::Executed, format!("bad headers: {error}"));
                call.end(Err(error), &mut self.wake);
                self.cancel(id, Code::PROTOCOL);
            }
        }
        Ok(())
    }

    fn on_credit(&mut self, now: Instant, id: u64, bytes: u32) -> Result<(), Failure> {
        let Some(call) = self.calls.get_mut(id) else { return self.unknown(now, Kind::CREDIT, id) };
        if call.sending.ahead() > 0 {
            self.beside.note_taken(now, id, bytes);
        }
        if !call.sending.add_credit(bytes) {
            return Err(Failure::violation(Code::FLOW_CONTROL, format!("credit above 2 GiB on call {id}")));
        }
        self.resume(id);
        if bytes < SMALLEST_CREDIT { self.stray(now) } else { Ok(()) }
    }

    fn on_go_away(&mut self, go_away: plane_core::frame::GoAway) {
        let refused: Vec<u64> = match self.side {
            Side::Dialler(_) => self.calls.keys().copied().filter(|id| *id > go_away.last_call).collect(),
            Side::Listener(_) => Vec::new(),
        };
        for id in refused {
            let Some(call) = self.calls.get_mut(id) else { continue };
            let what = format!("the server takes no more calls: {}", go_away.text);
            call.end(Err(Error::new(ErrorKind::Unavailable, Delivery::NotExecuted, what)), &mut self.wake);
            call.sending.close();
            let Some(caller) = call.caller() else { continue };
            let abandoned = caller.abandoned;
            if std::mem::take(&mut caller.open) {
                self.leave();
            }
            if abandoned {
                self.calls.remove(id);
            }
        }
        self.refused_by.get_or_insert(go_away);
    }
}

/// What the end of the incoming direction means for the table.
struct Over {
    /// The call counted until now.
    counted: bool,
    /// Nobody will ask how it ended.
    abandoned: bool,
}

impl Call {
    /// The far side is done with its direction.
    fn end_incoming(&mut self, outcome: Outcome, wake: &mut Vec<Waker>) -> Over {
        if let Some(caller) = self.caller() {
            caller.accept_by = None;
            let over = Over { counted: std::mem::take(&mut caller.open), abandoned: caller.abandoned };
            // What this side still had to send has no reader any more.
            self.sending.close();
            self.end(outcome, wake);
            over
        } else {
            self.ended = true;
            // The request of an aborted call has ended already, and not in order.
            self.outcome.get_or_insert(outcome);
            wake.extend(self.reader.take());
            Over { counted: false, abandoned: false }
        }
    }
}

/// A frame of a direction that the far side has ended.
fn after_end(kind: Kind, id: u64) -> Failure {
    Failure::violation(Code::PROTOCOL, format!("a {kind} frame on call {id} after its end"))
}
