//! The table of calls of one connection, and what this side does with it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use bytes::Bytes;
use plane_core::frame::{Flags, GoAway, Hello, OpenFields, encode_go_away, encode_open};
use plane_core::{
    AbortReason, Code, Contexts, Delivery, EndpointId, Endpoints, Error, ErrorKind, HeaderLimits, Headers, InstanceId,
    LastCalled, Peer, Refusals,
};

use crate::config::{AbuseLimits, Rate};
use crate::failure::Failure;
use crate::proto::beside::Beside;
use crate::proto::budget::Budget;
use crate::proto::call::{Call, Caller, Handling, Opened, Role, Windows};
use crate::proto::calls::Calls;
use crate::proto::outbox::Outbox;
use crate::proto::partial::Reassembly;

/// Messages go out in chunks of at most this many bytes, so that a large one holds its neighbours up for one chunk.
const CHUNK: usize = 64 * 1024;

/// What an OPEN carries beside headers and message, at most.
const OPEN_REST: usize = 512;

/// So many bytes are worth a system call of their own.
const WORTH_A_WRITE: usize = 16 * 1024;

/// One turn of the writer takes about this many bytes, so that what comes up meanwhile does not wait for more.
pub(crate) const TURN: usize = 256 * 1024;

/// What both sides agreed on, and this side's own settings.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) max_message: usize,
    pub(crate) credit: u32,
    pub(crate) unwritten: usize,
    pub(crate) large_messages: usize,
    pub(crate) max_calls: u32,
    pub(crate) headers: HeaderLimits,
    pub(crate) keepalive_interval: Duration,
    pub(crate) keepalive_timeout: Duration,
    pub(crate) idle_timeout: Duration,
    pub(crate) abuse: AbuseLimits,
    /// Requests that may be staged before the connection counts as full; the dialler's.
    pub(crate) queue: u64,
}

/// Which side this is.
#[derive(Debug)]
pub(crate) enum Side {
    Dialler(Refusals),
    Listener(Endpoints),
}

/// One connection after the hellos.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) side: Side,
    pub(crate) settings: Settings,
    pub(crate) theirs: Hello,
    pub(crate) peer: Arc<Peer>,
    pub(crate) calls: Calls,
    /// Calls that count against the far side's limit.
    pub(crate) in_flight: usize,
    /// The last call that was opened, by this side (dialler) or the other (listener).
    pub(crate) last_call: u64,
    /// The last call whose OPEN was handed to the writer.
    pub(crate) sent_through: u64,
    pub(crate) outbox: Outbox,
    /// What large messages give way to.
    pub(crate) beside: Beside,
    /// Calls with something to send and credit for it, each once.
    pub(crate) ready: VecDeque<u64>,
    /// Calls whose sender waits until the outbox has room.
    pub(crate) crowded: Vec<u64>,
    /// What messages larger than their windows hold.
    pub(crate) reassembly: Arc<Reassembly>,
    /// Calls whose message waits until others hold less, each once.
    pub(crate) starved: VecDeque<u64>,
    pub(crate) opened: Vec<Opened>,
    pub(crate) contexts: Contexts,
    pub(crate) called: LastCalled,
    pub(crate) wake: Vec<Waker>,
    /// Reads so far, and how many tasks the last one woke.
    pub(crate) reads: u64,
    pub(crate) woken: usize,
    pub(crate) budgets: Budgets,
    /// Where is noted what the other side was not let do.
    pub(crate) refusals: Refusals,
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
    /// Something was said since the last look at that, and when the next one is.
    pub(crate) said: bool,
    pub(crate) next_word: Instant,
    /// When the driver's timer fires at the latest.
    pub(crate) armed: Option<Instant>,
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
    pub(crate) only: Option<&'a Bytes>,
    /// Who is woken when the answer begins.
    pub(crate) reader: Option<Waker>,
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
    /// No connection to this server.
    HeadersTooLarge { limit: usize },
}

impl Connection {
    pub(crate) fn new(side: Side, mut settings: Settings, theirs: Hello, peer: Arc<Peer>, now: Instant) -> Self {
        let refusals = match &side {
            Side::Dialler(refusals) => refusals.clone(),
            Side::Listener(endpoints) => endpoints.refusals().clone(),
        };
        let AbuseLimits { pings, aborts, idle_frames, .. } = settings.abuse;
        // All calls of a full connection may end at once when their callers' common deadline passes (threat A17).
        let aborts = Rate { at_once: settings.max_calls.saturating_mul(2).max(aborts.at_once), ..aborts };
        // A frame carries at most what the other side takes, whatever this side allows for headers.
        settings.headers.bytes = settings.headers.bytes.min((theirs.max_frame as usize).saturating_sub(OPEN_REST));
        let budget = |rate| Budget::new(rate, now);
        Self {
            side,
            reassembly: Reassembly::new(settings.large_messages),
            settings,
            theirs,
            peer,
            calls: Calls::default(),
            in_flight: 0,
            last_call: 0,
            sent_through: 0,
            outbox: Outbox::default(),
            beside: Beside::new(),
            ready: VecDeque::new(),
            crowded: Vec::new(),
            starved: VecDeque::new(),
            opened: Vec::new(),
            contexts: Contexts::default(),
            called: LastCalled::default(),
            wake: Vec::new(),
            reads: 0,
            woken: 0,
            budgets: Budgets { strays: budget(idle_frames), cancels: budget(aborts), pings: budget(pings) },
            refusals,
            clock: Clock {
                last_received: now,
                ping_sent: None,
                next_due: None,
                idle_since: Some(now),
                said: true,
                next_word: now,
                armed: None,
            },
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

    /// Whether only requests that wait for the writer keep a call from being opened.
    pub(crate) fn has_backlog(&self) -> bool {
        self.takes_calls() && self.in_flight < self.theirs.max_calls as usize && self.queued() >= self.settings.queue
    }

    /// Whether no call is in progress beside the one that was just opened, nor likely to be before long: callers whose
    /// answers came together mostly call again together. One with much to send need not wait for them.
    pub(crate) fn is_alone(&self) -> bool {
        self.in_flight <= 1 && (self.woken <= 1 || self.outbox.staged() >= WORTH_A_WRITE)
    }

    /// Whether it has nothing to do but to wait for the other side: for answers, or for calls while no handler is at work.
    pub(crate) fn expects(&self) -> bool {
        match self.side {
            Side::Dialler(_) => self.in_flight > 0,
            Side::Listener(_) => self.in_flight == 0,
        }
    }

    /// Requests whose OPEN is staged and was not handed to the writer.
    pub(crate) fn queued(&self) -> u64 {
        // Ids go up by two from 1, and 0 stands for none: the first counts as well.
        self.last_call.saturating_sub(self.sent_through).div_ceil(2)
    }

    /// Opens a call. Headers were checked by the caller of this.
    pub(crate) fn open(&mut self, now: Instant, mut opening: Opening<'_>) -> Result<u64, OpenError> {
        if !self.takes_calls() {
            return Err(OpenError::Closing);
        }
        if plane_core::frame::block_len(opening.headers) > self.settings.headers.bytes {
            return Err(OpenError::HeadersTooLarge { limit: self.settings.headers.bytes });
        }
        let limit = self.theirs.max_message;
        if opening.only.is_some_and(|message| message.len() as u64 > limit) {
            return Err(OpenError::TooLarge { limit });
        }
        if !self.has_room() {
            return Err(OpenError::Full);
        }
        let id = if self.last_call == 0 { 1 } else { self.last_call + 2 };
        self.last_call = id;
        self.in_flight += 1;
        self.clock.idle_since = None;
        let role = Role::Caller(Caller { accept_by: Some(opening.accept_by), open: true, ..Caller::default() });
        let mut call = self.calls.make(self.windows(), opening.deadline, role);
        call.reader = opening.reader.take();
        let due = call.due();
        self.stage_open(now, id, &mut call, opening);
        let waits = call.sending.has_pending();
        self.calls.insert(id, call);
        if waits {
            self.settle(id);
        }
        self.note_due(due);
        Ok(id)
    }

    fn stage_open(&mut self, now: Instant, id: u64, call: &mut Call, opening: Opening<'_>) {
        let Opening { endpoint, instance, headers, deadline, only, .. } = opening;
        let timeout = deadline.map(|deadline| deadline.saturating_duration_since(now));
        // A deadline that has passed must not become "none" on the wire.
        let timeout = timeout.map(|timeout| timeout.max(Duration::from_micros(1)));
        let fields = OpenFields { endpoint, instance, timeout, headers };
        let room = CHUNK.min((self.theirs.max_frame as usize).saturating_sub(self.settings.headers.bytes + OPEN_REST));
        let mut push = |flags, chunk: &Bytes| {
            self.beside.note(flags);
            self.outbox.push(|out| encode_open(out, id, flags, &fields, chunk.len()), chunk);
        };
        match only {
            None => push(Flags::NO_MESSAGE, &Bytes::new()),
            Some(message) if call.sending.pass(message.len(), room, true) => push(Flags::END, message),
            Some(message) => {
                call.sending.push(message.clone(), true);
                let first = call.sending.next_chunk(room, u32::MAX);
                let (chunk, flags) = first.unwrap_or((Bytes::new(), Flags::NO_MESSAGE));
                push(flags, &chunk);
            }
        }
    }

    /// What each side of a new call may send.
    pub(crate) fn windows(&self) -> Windows {
        Windows { theirs: self.settings.credit, ours: self.theirs.credit }
    }

    pub(crate) fn max_chunk(&self) -> usize {
        CHUNK.min(self.theirs.max_frame as usize)
    }

    /// Takes a call out of the table and the count. Returns whether this side answered it, and was let do so to the end.
    pub(crate) fn remove(&mut self, id: u64) -> bool {
        let Some(mut call) = self.calls.take(id) else { return false };
        self.leave();
        if !call.ended {
            self.expect_strays();
        }
        // What was sent last may not have been read yet.
        self.budgets.strays.grant(call.sending.credits_to_come(self.theirs.credit));
        let mut answered = false;
        if let Role::Handler(Handling { canceller, .. }) = std::mem::take(&mut call.role) {
            answered = canceller.abort_reason().is_none();
            self.contexts.keep(canceller);
        }
        self.calls.keep(call);
        answered
    }

    /// One call less counts.
    pub(crate) fn leave(&mut self) {
        self.in_flight -= 1;
    }

    /// Takes and opens no further calls, and says so (docs/protocol.md, "GOAWAY").
    pub(crate) fn go_away(&mut self, code: Code, text: &str, grace: Duration) {
        if std::mem::replace(&mut self.retired, true) {
            return;
        }
        let last_call = match self.side {
            Side::Dialler(_) => 0,
            Side::Listener(_) => self.last_call,
        };
        encode_go_away(self.outbox.control(), &GoAway { last_call, code, grace, text: text.to_owned() });
    }

    /// The other side has closed its half. Requests that had not ended never will.
    pub(crate) fn half_close(&mut self) {
        self.retired = true;
        for call in self.calls.values_mut().filter(|call| !call.ended) {
            let what = "the caller closed the connection in the middle of its request";
            call.end(Err(Error::new(ErrorKind::Truncated, Delivery::Unknown, what)), &mut self.wake);
        }
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

    /// What the other side said of why it ends the connection.
    pub(crate) fn said(&self) -> String {
        let reason = self.refused_by.as_ref().filter(|go_away| go_away.code != Code::OK);
        reason.map_or_else(String::new, |go_away| format!(", saying {}: {}", go_away.code, go_away.text))
    }

    /// Ends every call: the connection is lost, or is given up.
    pub(crate) fn fail(&mut self, failure: Failure) {
        if self.failure.is_some() {
            return;
        }
        if let Some(code) = failure.tell {
            self.go_away(code, &failure.text, Duration::ZERO);
        }
        if matches!(self.side, Side::Dialler(_)) {
            // Their callers are told that they were not sent, and may send them elsewhere.
            self.outbox.drop_messages();
        }
        let ids: Vec<u64> = self.calls.keys().copied().collect();
        for id in ids {
            let delivery = self.delivery(id);
            let Some(call) = self.calls.get_mut(id) else { continue };
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
                        self.calls.remove(id);
                    }
                }
            }
        }
        self.failure = Some(failure);
    }

    /// How far a call has got on a connection that is lost.
    pub(crate) fn delivery(&mut self, id: u64) -> Delivery {
        let refused_after = self.refused_by.as_ref().map_or(u64::MAX, |go_away| go_away.last_call);
        let begun = self.calls.get_mut(id).and_then(Call::caller).is_some_and(|caller| caller.begun);
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
