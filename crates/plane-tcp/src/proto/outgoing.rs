//! What this side sends on the calls of a connection, and in which order it reaches the socket.

use std::task::{Context, Poll};

use bytes::Bytes;
use plane_core::frame::{Flags, encode_end, encode_headers, encode_message_head};
use plane_core::{Code, Headers, Status};

use crate::proto::beside::Beside;
use crate::proto::call::{Call, Role, register};
use crate::proto::connection::{Connection, TURN};
use crate::proto::outbox::{Batch, Outbox};
use crate::proto::sending::Ending;

impl Connection {
    /// Sends the next message of a stream, and takes it, once there is credit and room for it. Without one it only says
    /// whether there is.
    pub(crate) fn poll_send(
        &mut self,
        id: u64,
        message: &mut Option<Bytes>,
        cx: &Context<'_>,
    ) -> Poll<Result<(), SendError>> {
        let crowded = self.outbox.staged() >= self.settings.unwritten;
        let Some((call, way)) = self.way(id) else { return Poll::Ready(Err(SendError::Closed)) };
        if crowded || !call.sending.is_ready() {
            register(&mut call.sender, cx);
            if crowded {
                self.crowded.push(id);
            }
            return Poll::Pending;
        }
        if let Some(message) = message.take()
            && way.send(id, call, message, false)? == Sent::InPart
        {
            self.settle(id);
        }
        Poll::Ready(Ok(()))
    }

    /// Sends a message, which waits for nothing; `only` says that this is all of its direction.
    pub(crate) fn send(&mut self, id: u64, message: Bytes, only: bool) -> Result<(), SendError> {
        let Some((call, way)) = self.way(id) else { return Err(SendError::Closed) };
        let answers = matches!(call.role, Role::Handler(_));
        match way.send(id, call, message, only)? {
            Sent::InPart => self.settle(id),
            Sent::Whole if only && answers => self.end_answer(id),
            Sent::Whole => {}
        }
        Ok(())
    }

    /// A call whose direction is open, and where its messages go.
    fn way(&mut self, id: u64) -> Option<(&mut Call, Way<'_>)> {
        let limit = self.theirs.max_message.min(self.settings.max_message as u64);
        let max_chunk = self.max_chunk();
        let Self { calls, outbox, beside, .. } = self;
        let call = calls.get_mut(id).filter(|call| !call.sending.is_closed())?;
        Some((call, Way { outbox, beside, limit, max_chunk }))
    }

    /// Begins a streamed answer.
    pub(crate) fn begin(&mut self, id: u64, headers: &Headers) {
        let Some(call) = self.calls.get_mut(id).filter(|call| !call.sending.is_closed()) else { return };
        if let Some(handling) = call.handling() {
            handling.begin();
        }
        self.outbox.push(|out| encode_headers(out, id, headers), &Bytes::new());
    }

    /// Ends the outgoing direction behind what waits.
    pub(crate) fn finish(&mut self, id: u64, mut ending: Ending) {
        let Some(call) = self.calls.get_mut(id).filter(|call| !call.sending.is_finished()) else { return };
        let cut = call.sending.is_cut();
        if cut && let Some(reason) = call.handling().and_then(|handling| handling.canceller.abort_reason()) {
            // However the handler ended meanwhile: a part of its answer was dropped.
            ending = Ending { not_executed: ending.not_executed, ..Ending::failed(reason.status()) };
        }
        call.sending.finish(ending);
        if let Some(handling) = call.handling() {
            handling.notice_at = None;
        }
        self.settle(id);
    }

    /// After something was sent or asked to be: writes an end that is due, queues what waits, drops what is over.
    pub(crate) fn settle(&mut self, id: u64) {
        let Some(call) = self.calls.get_mut(id) else { return };
        if let Some((ending, count)) = call.sending.next_end() {
            let Ending { status, trailers, not_executed } = ending;
            let flags = Flags::when(not_executed, Flags::NOT_EXECUTED);
            self.outbox
                .push(|out| encode_end(out, id, flags, count, status.as_ref(), trailers.as_ref()), &Bytes::new());
        }
        let sending = &mut call.sending;
        if sending.has_pending() {
            if sending.has_work() && !sending.queued {
                sending.queued = true;
                self.ready.push_back(id);
            }
        } else if sending.is_finished() && matches!(call.role, Role::Handler(_)) {
            self.end_answer(id);
        }
    }

    /// All of an answer is on its way: the call is over for this side.
    fn end_answer(&mut self, id: u64) {
        if self.remove(id) {
            self.budgets.cancels.earn();
        }
    }

    /// A call got credit.
    pub(crate) fn resume(&mut self, id: u64) {
        let Some(call) = self.calls.get_mut(id) else { return };
        if call.sending.is_ready() {
            self.wake.extend(call.sender.take());
        }
        self.settle(id);
    }

    /// Moves what is to be written next to `batch`.
    pub(crate) fn transmit(&mut self, batch: &mut Batch) {
        let max_chunk = self.max_chunk();
        self.feed();
        while self.outbox.staged() < TURN
            && let Some(id) = self.ready.pop_front()
        {
            let Some(call) = self.calls.get_mut(id) else { continue };
            call.sending.queued = false;
            let share = self.beside.share();
            if let Some((chunk, flags)) = call.sending.next_chunk(max_chunk.min(share as usize), share) {
                self.outbox.push(|out| encode_message_head(out, id, flags, chunk.len()), &chunk);
                if flags.has(Flags::MORE) {
                    self.beside.note_chunk(self.clock.last_received, id, call.sending.ahead());
                } else {
                    self.beside.forget(id);
                }
            }
            self.resume(id);
        }
        self.sent_through = self.last_call;
        self.outbox.take(batch);
        self.clock.said |= !batch.is_empty();
        for id in self.crowded.drain(..) {
            self.wake.extend(self.calls.get_mut(id).and_then(|call| call.sender.take()));
        }
    }

    /// Whether [`transmit`](Self::transmit) has something.
    pub(crate) fn wants_to_write(&self) -> bool {
        !self.outbox.is_empty() || !self.ready.is_empty() || self.can_feed()
    }
}

/// Where messages go.
struct Way<'a> {
    outbox: &'a mut Outbox,
    beside: &'a mut Beside,
    limit: u64,
    max_chunk: usize,
}

/// How much of a message is staged.
#[derive(Debug, PartialEq, Eq)]
enum Sent {
    Whole,
    /// The rest waits for credit or for its turn.
    InPart,
}

impl Way<'_> {
    fn send(self, id: u64, call: &mut Call, message: Bytes, only: bool) -> Result<Sent, SendError> {
        let Self { outbox, beside, limit, max_chunk } = self;
        if message.len() as u64 > limit {
            return Err(SendError::TooLarge { limit });
        }
        if let Some(handling) = call.handling() {
            handling.begin();
        }
        // What fits one chunk goes at once while the writer keeps up; the rest takes its turn with other calls.
        let flows = outbox.staged() < TURN;
        let mut push = |flags, chunk: &Bytes| {
            beside.note(flags);
            outbox.push(|out| encode_message_head(out, id, flags, chunk.len()), chunk);
        };
        if flows && call.sending.pass(message.len(), max_chunk, only) {
            push(Flags::when(only, Flags::END), &message);
            return Ok(Sent::Whole);
        }
        call.sending.push(message, only);
        if flows && let Some((chunk, flags)) = call.sending.next_chunk(max_chunk, u32::MAX) {
            push(flags, &chunk);
        }
        Ok(Sent::InPart)
    }
}

/// Why a message was not taken.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum SendError {
    Closed,
    TooLarge { limit: u64 },
}

impl SendError {
    /// What the other side of the call is told.
    pub(crate) fn status(&self) -> Status {
        match self {
            Self::Closed => Status::new(Code::CANCELLED, "the call has ended"),
            Self::TooLarge { limit } => Status::new(
                Code::MESSAGE_TOO_LARGE,
                format!("a message is over the receiver's limit of {limit} bytes (DYN_TCP_MAX_MESSAGE_SIZE)"),
            ),
        }
    }
}
