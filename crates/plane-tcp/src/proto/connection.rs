//! The table of calls of one connection, and what this side does with it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use plane_core::frame::{
    Cancel, Flags, GoAway, Hello, OpenFields, encode_cancel, encode_credit, encode_end, encode_go_away, encode_headers,
    encode_message_head, encode_open,
};
use plane_core::{
    AbortReason, Code, Delivery, EndpointId, Endpoints, Error, ErrorKind, HeaderLimits, Headers, InstanceId, Peer,
    Status,
};
use rustc_hash::FxHashMap;

use crate::proto::budget::Budget;
use crate::proto::call::{Begun, Call, Caller, Next, Role, register};
use crate::proto::incoming::Opened;
use crate::proto::outbox::{Batch, Outbox};
use crate::proto::receiving::Receiving;
use crate::proto::sending::{Ending, Sending};

/// Messages go out in chunks of at most this many bytes, so that a large one holds its neighbours up for one chunk.
const CHUNK: usize = 64 * 1024;

/// One turn of the writer takes about this many bytes, so that what comes up meanwhile does not wait for more.
const TURN: usize = 256 * 1024;

/// Frames for calls that have ended are legal: they crossed the end on their way.
const STRAYS: (u32, u32) = (10_000, 1_000);

/// Cancels beyond completed calls (threat A17).
const CANCELS: (u32, u32) = (100, 20);

/// Pings (threat A19).
const PINGS: (u32, u32) = (1_000, 100);

/// What both sides agreed on, and this side's own settings.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) max_message: usize,
    pub(crate) credit: u32,
    pub(crate) unwritten: usize,
    pub(crate) max_calls: u32,
    pub(crate) headers: HeaderLimits,
    pub(crate) keepalive_interval: Duration,
    pub(crate) keepalive_timeout: Duration,
    pub(crate) idle_timeout: Duration,
    /// Requests that may be staged before the connection counts as full; the dialler's.
    pub(crate) queue: u64,
}

/// Which side this is.
#[derive(Debug)]
pub(crate) enum Side {
    Dialler,
    Listener(Endpoints),
}

/// One connection after the hellos.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) side: Side,
    pub(crate) settings: Settings,
    pub(crate) theirs: Hello,
    pub(crate) peer: Arc<Peer>,
    pub(crate) calls: FxHashMap<u64, Call>,
    /// Calls that count against the far side's limit.
    pub(crate) in_flight: usize,
    /// The last call that was opened, by this side (dialler) or the other (listener).
    pub(crate) last_call: u64,
    /// The last call whose OPEN was handed to the writer.
    pub(crate) sent_through: u64,
    pub(crate) outbox: Outbox,
    /// Calls with something to send and credit for it, each once.
    ready: VecDeque<u64>,
    /// Calls whose sender waits until the outbox has room.
    crowded: Vec<u64>,
    pub(crate) opened: Vec<Opened>,
    pub(crate) wake: Vec<Waker>,
    pub(crate) budgets: Budgets,
    pub(crate) clock: Clock,
    /// The other side takes no more calls.
    pub(crate) refused_by: Option<GoAway>,
    /// This side takes and opens no more calls.
    pub(crate) retired: bool,
    pub(crate) failure: Option<Failure>,
}

/// How often the other side may do something cheap.
#[derive(Debug)]
pub(crate) struct Budgets {
    pub(crate) strays: Budget,
    pub(crate) cancels: Budget,
    pub(crate) pings: Budget,
}

/// What time has to do next.
#[derive(Debug)]
pub(crate) struct Clock {
    pub(crate) last_received: Instant,
    pub(crate) ping_sent: Option<Instant>,
    /// No call is due before this; one may be after it.
    pub(crate) next_due: Option<Instant>,
    pub(crate) idle_since: Option<Instant>,
    /// When the driver's timer fires at the latest.
    pub(crate) armed: Option<Instant>,
}

/// Why a connection ended.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    pub(crate) kind: ErrorKind,
    pub(crate) text: String,
    /// What the other side is told, if it should be.
    pub(crate) tell: Option<Code>,
}

impl Failure {
    pub(crate) fn new(kind: ErrorKind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into(), tell: None }
    }

    /// The other side broke a rule and is told so.
    pub(crate) fn violation(code: Code, text: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Protocol, text: text.into(), tell: Some(code) }
    }
}

/// What a call is opened with.
#[derive(Debug)]
pub(crate) struct Opening<'a> {
    pub(crate) endpoint: &'a EndpointId,
    pub(crate) instance: Option<InstanceId>,
    pub(crate) headers: &'a Headers,
    pub(crate) deadline: Option<Instant>,
    pub(crate) accept_by: Instant,
    /// The only message, or `None` if messages follow.
    pub(crate) only: Option<Bytes>,
}

/// Why a connection does not take a call.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum OpenError {
    /// Another connection, or this one later.
    Full,
    /// Another connection.
    Closing,
    /// No connection to this server.
    TooLarge { limit: u64 },
}

impl Connection {
    pub(crate) fn new(side: Side, settings: Settings, theirs: Hello, peer: Arc<Peer>, now: Instant) -> Self {
        let budget = |(most, per_second)| Budget::new(most, per_second, now);
        Self {
            side,
            settings,
            theirs,
            peer,
            calls: FxHashMap::default(),
            in_flight: 0,
            last_call: 0,
            sent_through: 0,
            outbox: Outbox::default(),
            ready: VecDeque::new(),
            crowded: Vec::new(),
            opened: Vec::new(),
            wake: Vec::new(),
            budgets: Budgets { strays: budget(STRAYS), cancels: budget(CANCELS), pings: budget(PINGS) },
            clock: Clock { last_received: now, ping_sent: None, next_due: None, idle_since: Some(now), armed: None },
            refused_by: None,
            retired: false,
            failure: None,
        }
    }

    /// Whether calls may be opened, now or later.
    pub(crate) fn takes_calls(&self) -> bool {
        self.failure.is_none() && self.refused_by.is_none() && !self.retired
    }

    /// Whether a call could be opened now.
    pub(crate) fn has_room(&self) -> bool {
        self.takes_calls()
            && self.in_flight < self.theirs.max_calls as usize
            && self.queued() < self.settings.queue
            && self.outbox.staged() < self.settings.unwritten
    }

    /// Requests whose OPEN is staged and was not handed to the writer.
    pub(crate) fn queued(&self) -> u64 {
        self.last_call.saturating_sub(self.sent_through) / 2
    }

    /// Opens a call. Headers were checked by the caller of this.
    pub(crate) fn open(&mut self, now: Instant, opening: Opening<'_>) -> Result<u64, OpenError> {
        if !self.takes_calls() {
            return Err(OpenError::Closing);
        }
        let limit = self.theirs.max_message;
        if opening.only.as_ref().is_some_and(|message| message.len() as u64 > limit) {
            return Err(OpenError::TooLarge { limit });
        }
        if !self.has_room() {
            return Err(OpenError::Full);
        }
        let id = if self.last_call == 0 { 1 } else { self.last_call + 2 };
        self.last_call = id;
        self.in_flight += 1;
        self.clock.idle_since = None;
        let mut call = Call {
            receiving: Receiving::new(self.settings.credit),
            sending: Sending::new(self.theirs.credit),
            reader: None,
            sender: None,
            ended: false,
            outcome: None,
            deadline: opening.deadline,
            role: Role::Caller(Caller {
                accept_by: Some(opening.accept_by),
                begun: false,
                headers: None,
                open: true,
                abandoned: false,
                cancelled: false,
            }),
        };
        let due = call.due();
        self.stage_open(now, id, &mut call, opening);
        self.calls.insert(id, call);
        self.settle(id);
        self.note_due(due);
        Ok(id)
    }

    fn stage_open(&mut self, now: Instant, id: u64, call: &mut Call, opening: Opening<'_>) {
        let Opening { endpoint, instance, headers, deadline, only, .. } = opening;
        let timeout = deadline.map(|deadline| deadline.saturating_duration_since(now));
        // A deadline that has passed must not become "none" on the wire.
        let timeout = timeout.map(|timeout| timeout.max(Duration::from_micros(1)));
        let fields = OpenFields { endpoint, instance, timeout, headers };
        let mut first = (Bytes::new(), Flags::NO_MESSAGE);
        if let Some(message) = only {
            call.sending.push(message, true);
            let room = CHUNK.min(self.max_chunk().saturating_sub(self.settings.headers.bytes + 512));
            first = call.sending.next_chunk(room).unwrap_or(first);
        }
        let (chunk, flags) = first;
        let length = chunk.len();
        self.outbox.push(|out| encode_open(out, id, flags, &fields, length), chunk);
    }

    fn max_chunk(&self) -> usize {
        CHUNK.min(self.theirs.max_frame as usize)
    }

    /// Takes a message of a stream, once there is credit and room for it.
    pub(crate) fn poll_ready(&mut self, id: u64, cx: &Context<'_>) -> Poll<Result<(), Closed>> {
        let crowded = self.outbox.staged() >= self.settings.unwritten;
        let Some(call) = self.calls.get_mut(&id).filter(|call| !call.sending.is_closed()) else {
            return Poll::Ready(Err(Closed));
        };
        if call.sending.is_ready() && !crowded {
            return Poll::Ready(Ok(()));
        }
        register(&mut call.sender, cx);
        if crowded {
            self.crowded.push(id);
        }
        Poll::Pending
    }

    /// Sends a message. A stream's sender waits for [`poll_ready`](Self::poll_ready) first; `only` says that this is
    /// the whole answer, which waits for nothing.
    pub(crate) fn send(&mut self, id: u64, message: Bytes, only: bool) -> Result<(), SendError> {
        let limit = self.theirs.max_message.min(self.settings.max_message as u64);
        let max_chunk = self.max_chunk();
        let Some(call) = self.calls.get_mut(&id).filter(|call| !call.sending.is_closed()) else {
            return Err(SendError::Closed);
        };
        if message.len() as u64 > limit {
            return Err(SendError::TooLarge { limit });
        }
        if let Some(handling) = call.handling() {
            handling.notice_at = None;
        }
        call.sending.push(message, only);
        // What fits one chunk goes at once while the writer keeps up; the rest takes its turn with other calls.
        if self.outbox.staged() < TURN
            && let Some((chunk, flags)) = call.sending.next_chunk(max_chunk)
        {
            let length = chunk.len();
            self.outbox.push(|out| encode_message_head(out, id, flags, length), chunk);
        }
        self.settle(id);
        Ok(())
    }

    /// Begins a streamed answer.
    pub(crate) fn begin(&mut self, id: u64, headers: &Headers) {
        let Some(call) = self.calls.get_mut(&id).filter(|call| !call.sending.is_closed()) else { return };
        if let Some(handling) = call.handling() {
            handling.notice_at = None;
        }
        self.outbox.push(|out| encode_headers(out, id, headers), Bytes::new());
    }

    /// Ends the outgoing direction behind what waits.
    pub(crate) fn finish(&mut self, id: u64, ending: Ending) {
        let Some(call) = self.calls.get_mut(&id).filter(|call| !call.sending.is_closed()) else { return };
        call.sending.finish(ending);
        if let Some(handling) = call.handling() {
            handling.notice_at = None;
        }
        self.settle(id);
    }

    /// After something was sent or asked to be: writes an end that is due, queues what waits, drops what is over.
    fn settle(&mut self, id: u64) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        if let Some((ending, count)) = call.sending.next_end() {
            let Ending { status, trailers, not_executed } = ending;
            let flags = Flags::when(not_executed, Flags::NOT_EXECUTED);
            self.outbox.push(|out| encode_end(out, id, flags, count, status.as_ref(), trailers.as_ref()), Bytes::new());
        }
        let sending = &mut call.sending;
        if sending.has_pending() {
            if sending.has_work() && !sending.queued {
                sending.queued = true;
                self.ready.push_back(id);
            }
        } else if sending.is_closed() && matches!(call.role, Role::Handler(_)) {
            // The answer is on its way: the call is over for this side.
            self.remove(id);
            self.budgets.cancels.earn();
        }
    }

    /// A call got credit.
    pub(crate) fn resume(&mut self, id: u64) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        if call.sending.is_ready() {
            self.wake.extend(call.sender.take());
        }
        self.settle(id);
    }

    /// How the answer begins.
    pub(crate) fn poll_begin(&mut self, id: u64, cx: &Context<'_>) -> Poll<Result<(Headers, Begun), Error>> {
        let Some(call) = self.calls.get_mut(&id) else { return Poll::Ready(Err(lost_track())) };
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
        if !(caller.begun || ended) {
            register(&mut call.reader, cx);
            return Poll::Pending;
        }
        let headers = caller.headers.take().unwrap_or_default();
        if only && let Some(message) = call.receiving.pop() {
            self.forget(id);
            return Poll::Ready(Ok((headers, Begun::Only(message))));
        }
        Poll::Ready(Ok((headers, Begun::Stream)))
    }

    /// The next message of the incoming direction.
    pub(crate) fn poll_next(&mut self, id: u64, cx: &Context<'_>) -> Poll<Next> {
        let Some(call) = self.calls.get_mut(&id) else { return Poll::Ready(Next::Failed(lost_track())) };
        let next = call.poll_next(cx);
        match &next {
            Poll::Ready(Next::Message(_)) => self.repay(id),
            Poll::Ready(_) => self.forget(id),
            Poll::Pending => {}
        }
        next
    }

    /// Gives credit back, unless the far side is done sending.
    pub(crate) fn repay(&mut self, id: u64) {
        let Some(call) = self.calls.get_mut(&id).filter(|call| !call.ended) else { return };
        if let Some(bytes) = call.receiving.repay() {
            encode_credit(self.outbox.control(), id, bytes);
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
        if let Some(call) = self.calls.get_mut(&id) {
            call.receiving.discard();
            call.reader = None;
        }
        self.cancel(id, code);
        self.forget(id);
    }

    /// Tells the far side to drop its work.
    pub(crate) fn cancel(&mut self, id: u64, code: Code) {
        let sent = id <= self.sent_through;
        let Some(call) = self.calls.get_mut(&id) else { return };
        call.sending.close();
        self.wake.extend(call.sender.take());
        let cancels = |caller: &mut Caller| caller.open && !std::mem::replace(&mut caller.cancelled, true);
        if call.caller().is_some_and(cancels) && self.failure.is_none() {
            // A cancel must not overtake the OPEN that it belongs to.
            let encode = |out: &mut BytesMut| encode_cancel(out, id, Cancel::Abort(code));
            if sent { encode(self.outbox.control()) } else { self.outbox.push(encode, Bytes::new()) }
        }
    }

    /// Ends a call that this side opened with an error of this side's own.
    pub(crate) fn fail_call(&mut self, id: u64, error: Error) {
        let code = error.code();
        if let Some(call) = self.calls.get_mut(&id) {
            call.end(Err(error), &mut self.wake);
        }
        self.cancel(id, code);
    }

    /// The handler does not read its request any more.
    pub(crate) fn discard(&mut self, id: u64) {
        if let Some(call) = self.calls.get_mut(&id) {
            call.receiving.discard();
            call.reader = None;
            self.repay(id);
        }
    }

    /// This side's reader is done with a call; it stays in the table while it counts at the far side.
    pub(crate) fn forget(&mut self, id: u64) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        match &mut call.role {
            // The request was read whole; the answer is still to come.
            Role::Handler(_) => {}
            Role::Caller(caller) if caller.open => caller.abandoned = true,
            Role::Caller(_) => {
                self.calls.remove(&id);
            }
        }
    }

    /// Takes a call out of the table and the count.
    pub(crate) fn remove(&mut self, id: u64) -> Option<Call> {
        let call = self.calls.remove(&id)?;
        self.leave();
        Some(call)
    }

    /// One call less counts.
    pub(crate) fn leave(&mut self) {
        self.in_flight -= 1;
    }

    /// Moves what is to be written next to `batch`.
    pub(crate) fn transmit(&mut self, batch: &mut Batch) {
        let max_chunk = self.max_chunk();
        while self.outbox.staged() < TURN
            && let Some(id) = self.ready.pop_front()
        {
            let Some(call) = self.calls.get_mut(&id) else { continue };
            call.sending.queued = false;
            if let Some((chunk, flags)) = call.sending.next_chunk(max_chunk) {
                let length = chunk.len();
                self.outbox.push(|out| encode_message_head(out, id, flags, length), chunk);
            }
            self.resume(id);
        }
        self.sent_through = self.last_call;
        self.outbox.take(batch);
        for id in self.crowded.drain(..) {
            self.wake.extend(self.calls.get_mut(&id).and_then(|call| call.sender.take()));
        }
    }

    /// Whether [`transmit`](Self::transmit) has something.
    pub(crate) fn wants_to_write(&self) -> bool {
        !self.outbox.is_empty() || !self.ready.is_empty()
    }

    /// Takes and opens no further calls, and says so (docs/protocol.md, "GOAWAY").
    pub(crate) fn go_away(&mut self, code: Code, text: &str, grace: Duration) {
        if std::mem::replace(&mut self.retired, true) {
            return;
        }
        let last_call = match self.side {
            Side::Dialler => 0,
            Side::Listener(_) => self.last_call,
        };
        encode_go_away(self.outbox.control(), &GoAway { last_call, code, grace, text: text.to_owned() });
    }

    /// Tells every handler to drop its work.
    pub(crate) fn abort_all(&mut self, reason: AbortReason) {
        let ids: Vec<u64> = self.calls.keys().copied().collect();
        for id in ids {
            if let Some(handling) = self.calls.get_mut(&id).and_then(Call::handling) {
                handling.canceller.abort(reason);
                self.end_aborted(id, reason);
            }
        }
    }

    /// Takes and opens no further calls, without a word: the other side does not listen any more.
    pub(crate) fn retire(&mut self) {
        self.retired = true;
    }

    /// Whether handlers of this side are at work for the other.
    pub(crate) fn answers_calls(&self) -> bool {
        matches!(self.side, Side::Listener(_)) && self.in_flight > 0
    }

    /// Whether the connection has done all it ever will.
    pub(crate) fn is_finished(&self) -> bool {
        let ends = self.retired || self.refused_by.is_some();
        ends && self.in_flight == 0 && !self.wants_to_write()
    }

    /// Ends every call: the connection is lost, or is given up.
    pub(crate) fn fail(&mut self, failure: Failure) {
        if self.failure.is_some() {
            return;
        }
        if let Some(code) = failure.tell {
            self.go_away(code, &failure.text, Duration::ZERO);
        }
        let ids: Vec<u64> = self.calls.keys().copied().collect();
        for id in ids {
            let delivery = self.delivery(id);
            let Some(call) = self.calls.get_mut(&id) else { continue };
            call.sending.close();
            call.end(Err(Error::new(failure.kind, delivery, failure.text.clone())), &mut self.wake);
            match &mut call.role {
                Role::Handler(handling) => {
                    handling.canceller.abort(AbortReason::Disconnected);
                    self.remove(id);
                }
                Role::Caller(caller) => {
                    let abandoned = caller.abandoned;
                    if std::mem::take(&mut caller.open) {
                        self.in_flight -= 1;
                    }
                    if abandoned {
                        self.calls.remove(&id);
                    }
                }
            }
        }
        self.failure = Some(failure);
    }

    /// How far a call has got.
    pub(crate) fn delivery(&mut self, id: u64) -> Delivery {
        let refused_after = self.refused_by.as_ref().map_or(u64::MAX, |go_away| go_away.last_call);
        let begun = self.calls.get_mut(&id).and_then(Call::caller).is_some_and(|caller| caller.begun);
        if begun {
            Delivery::Executed
        } else if id > self.sent_through {
            Delivery::NotSent
        } else if id > refused_after {
            Delivery::NotExecuted
        } else {
            Delivery::Unknown
        }
    }

    /// Time has something to do with a call then.
    pub(crate) fn note_due(&mut self, due: Option<Instant>) {
        self.clock.next_due = [self.clock.next_due, due].into_iter().flatten().min();
    }
}

/// The direction was closed: the call has ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Closed;

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

/// A reader that outlived its call, for example in a task that a handler left behind.
fn lost_track() -> Error {
    Error::new(ErrorKind::Cancelled, Delivery::Unknown, "the call has ended")
}
