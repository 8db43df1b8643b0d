//! How callers and handlers read what came for their calls, and how they give up.

use std::collections::VecDeque;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use plane_core::frame::{Cancel, encode_cancel, encode_credit};
use plane_core::{Code, Delivery, Error, ErrorKind, Headers};

use crate::proto::call::{Begun, Call, Caller, Next, Role, register};
use crate::proto::connection::Connection;
use crate::proto::outbox::Outbox;

impl Connection {
    /// How the answer begins.
    pub(crate) fn poll_begin(&mut self, id: u64, cx: &Context<'_>) -> Poll<Result<(Headers, Begun), Error>> {
        let Some(call) = self.calls.get_mut(id) else { return Poll::Ready(Err(lost_track())) };
        let readable = call.receiving.is_readable();
        if let Some(Err(_)) = &call.outcome
            && !readable
        {
            let Some(Err(error)) = call.outcome.take() else { return Poll::Pending };
            self.forget(id);
            return Poll::Ready(Err(error));
        }
        let ended = call.ended;
        let only = matches!(call.outcome, Some(Ok(None))) && call.receiving.count() == 1;
        let Some(caller) = call.caller() else { return Poll::Ready(Err(lost_track())) };
        // A part of the first message is not enough: it may be all there is, and its reader is not woken for it.
        if !(caller.headers.is_some() || readable || ended) {
            register(&mut call.reader, cx);
            return Poll::Pending;
        }
        let headers = caller.headers.take().unwrap_or_default();
        let over = !caller.open;
        if only && let Some(message) = call.receiving.pop() {
            if over {
                self.calls.remove(id);
            } else {
                self.forget(id);
            }
            return Poll::Ready(Ok((headers, Begun::Only(message))));
        }
        Poll::Ready(Ok((headers, Begun::Stream)))
    }

    /// The next message of the incoming direction.
    pub(crate) fn poll_next(&mut self, id: u64, cx: &Context<'_>) -> Poll<Next> {
        self.poll_some(id, None, cx)
    }

    /// The same for a reader that asks for many: small messages that came behind it go `ahead`, and are the next then.
    pub(crate) fn poll_more(&mut self, id: u64, ahead: &mut VecDeque<Bytes>, cx: &Context<'_>) -> Poll<Next> {
        match ahead.pop_front() {
            Some(message) => Poll::Ready(Next::Message(message)),
            None => self.poll_some(id, Some(ahead), cx),
        }
    }

    fn poll_some(&mut self, id: u64, ahead: Option<&mut VecDeque<Bytes>>, cx: &Context<'_>) -> Poll<Next> {
        let Some(call) = self.calls.get_mut(id) else { return Poll::Ready(Next::Failed(lost_track())) };
        let next = call.poll_next(cx);
        match &next {
            Poll::Ready(Next::Message(_)) => {
                if let Some(ahead) = ahead {
                    call.receiving.pop_ahead(ahead);
                }
                call.repay(id, &mut self.outbox, &mut self.starved);
            }
            Poll::Ready(_) => self.forget(id),
            // What was given ahead is read by now.
            Poll::Pending => call.repay(id, &mut self.outbox, &mut self.starved),
        }
        next
    }

    /// Gives credit back, unless the far side is done sending.
    pub(crate) fn repay(&mut self, id: u64) {
        if let Some(call) = self.calls.get_mut(id) {
            call.repay(id, &mut self.outbox, &mut self.starved);
        }
    }

    /// Whether a message that waits until the connection holds less could come now.
    pub(crate) fn can_feed(&self) -> bool {
        self.first_fed().is_some()
    }

    /// The first of the calls whose messages wait that may go on; or one that does not wait any more.
    fn first_fed(&self) -> Option<usize> {
        let may_grow = |id| self.calls.get(id).is_none_or(|call| call.receiving.can_grow(call.reader.is_some()));
        self.starved.iter().position(may_grow)
    }

    /// Gives credit to messages that waited until the connection holds less.
    pub(crate) fn feed(&mut self) {
        while let Some(id) = self.first_fed().and_then(|place| self.starved.remove(place)) {
            if let Some(call) = self.calls.get_mut(id) {
                call.receiving.lend(call.reader.is_some());
                self.repay(id);
            }
        }
    }

    /// The caller asks for an early, orderly end.
    pub(crate) fn stop(&mut self, id: u64) {
        if self.calls.get(&id).is_some_and(|call| !call.ended) && self.failure.is_none() {
            encode_cancel(self.outbox.control(), id, Cancel::Stop);
        }
    }

    /// Nobody waits for the answer any more.
    pub(crate) fn abandon(&mut self, id: u64, code: Code) {
        if let Some(call) = self.calls.get_mut(id) {
            call.receiving.discard();
            call.reader = None;
        }
        self.cancel(id, code);
        self.forget(id);
    }

    /// Tells the far side to drop its work.
    pub(crate) fn cancel(&mut self, id: u64, code: Code) {
        let sent = id <= self.sent_through;
        let Some(call) = self.calls.get_mut(id) else { return };
        call.sending.close();
        self.wake.extend(call.sender.take());
        let cancels = |caller: &mut Caller| caller.open && !std::mem::replace(&mut caller.cancelled, true);
        if call.caller().is_some_and(cancels) && self.failure.is_none() {
            // A cancel must not overtake the OPEN that it belongs to.
            let encode = |out: &mut BytesMut| encode_cancel(out, id, Cancel::Abort(code));
            if sent { encode(self.outbox.control()) } else { self.outbox.push(encode, &Bytes::new()) }
        }
    }

    /// Ends a call that this side opened with an error of this side's own.
    pub(crate) fn fail_call(&mut self, id: u64, error: Error) {
        let code = error.code();
        if let Some(call) = self.calls.get_mut(id) {
            call.end(Err(error), &mut self.wake);
        }
        self.cancel(id, code);
    }

    /// The handler does not read its request any more.
    pub(crate) fn discard(&mut self, id: u64) {
        if let Some(call) = self.calls.get_mut(id) {
            call.receiving.discard();
            call.reader = None;
            self.repay(id);
        }
    }

    /// This side's reader is done with a call; it stays in the table while it counts at the far side.
    pub(crate) fn forget(&mut self, id: u64) {
        let Some(call) = self.calls.get_mut(id) else { return };
        match &mut call.role {
            // The request was read whole; the answer is still to come.
            Role::Handler(_) => {}
            Role::Caller(caller) if caller.open => caller.abandoned = true,
            Role::Caller(_) => {
                self.calls.remove(id);
            }
        }
    }
}

impl Call {
    /// Gives credit back, or notes that it waits for that of other calls.
    pub(crate) fn repay(&mut self, id: u64, outbox: &mut Outbox, starved: &mut VecDeque<u64>) {
        if self.ended {
            return;
        }
        if let Some(bytes) = self.receiving.repay() {
            encode_credit(outbox.control(), id, bytes);
        }
        if self.receiving.is_starved() && !starved.contains(&id) {
            starved.push_back(id);
        }
    }
}

/// A reader that outlived its call, for example in a task that a handler left behind.
fn lost_track() -> Error {
    Error::new(ErrorKind::Cancelled, Delivery::Unknown, "the call has ended")
}
