//! A call in flight, at the caller or at the server.

use std::task::{Context, Poll, Waker};
use std::time::Instant;

use bytes::Bytes;
use plane_core::{Admitted, Canceller, Error, Headers};

use crate::proto::receiving::Receiving;
use crate::proto::sending::Sending;

/// A call in the connection's table, from its OPEN until the last of both sides is done with it.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) receiving: Receiving,
    pub(crate) sending: Sending,
    /// Who waits for a message.
    pub(crate) reader: Option<Waker>,
    /// Who waits to send one.
    pub(crate) sender: Option<Waker>,
    /// The incoming direction has ended, here or there.
    pub(crate) ended: bool,
    /// How it ended, until the reader was told.
    pub(crate) outcome: Option<Outcome>,
    /// When the whole call must have ended.
    pub(crate) deadline: Option<Instant>,
    pub(crate) role: Role,
}

/// What each side of a call may send at first, in bytes of credit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Windows {
    /// The other side.
    pub(crate) theirs: u32,
    /// This one.
    pub(crate) ours: u32,
}

/// How an incoming direction ended: in order, perhaps with trailers, or not.
pub(crate) type Outcome = Result<Option<Headers>, Error>;

/// What differs between the two sides of a call.
#[derive(Debug)]
pub(crate) enum Role {
    /// This side called.
    Caller(Caller),
    /// This side answers.
    Handler(Handling),
}

impl Default for Role {
    fn default() -> Self {
        Self::Caller(Caller::default())
    }
}

/// What only the caller's side of a call has.
#[derive(Debug, Default)]
pub(crate) struct Caller {
    /// Until when the server must accept or begin to answer; `None` once it did.
    pub(crate) accept_by: Option<Instant>,
    /// Headers or the first message came.
    pub(crate) begun: bool,
    pub(crate) headers: Option<Headers>,
    /// The far side has not ended the call, so it still counts there.
    pub(crate) open: bool,
    /// Nobody waits for the answer any more.
    pub(crate) abandoned: bool,
    /// The far side was told to drop its work.
    pub(crate) cancelled: bool,
}

/// What only the server's side of a call has.
#[derive(Debug)]
pub(crate) struct Handling {
    pub(crate) canceller: Canceller,
    /// Headers or the first message went out.
    pub(crate) begun: bool,
    /// When the caller is told that its call was accepted, unless the answer begins before.
    pub(crate) notice_at: Option<Instant>,
}

impl Handling {
    /// The answer begins: there is no need to tell the caller that it will.
    pub(crate) fn begin(&mut self) {
        self.notice_at = None;
        self.begun = true;
    }
}

/// A call that was taken on and whose handler is to be started.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) call: u64,
    pub(crate) admitted: Admitted,
    pub(crate) headers: Headers,
    /// The only message, or `None` if messages follow.
    pub(crate) only: Option<Bytes>,
    pub(crate) context: plane_core::Context,
}

/// How an answer begins.
#[derive(Debug)]
pub(crate) enum Begun {
    /// It is one message and over.
    Only(Bytes),
    /// It is a stream.
    Stream,
}

/// What a reader gets next.
#[derive(Debug)]
pub(crate) enum Next {
    Message(Bytes),
    End(Option<Headers>),
    Failed(Error),
}

impl Call {
    pub(crate) fn new(windows: Windows, deadline: Option<Instant>, role: Role) -> Self {
        Self {
            receiving: Receiving::new(windows.theirs),
            sending: Sending::new(windows.ours),
            reader: None,
            sender: None,
            ended: false,
            outcome: None,
            deadline,
            role,
        }
    }

    /// Lets go of all that it holds: it is over.
    pub(crate) fn clear(&mut self) {
        self.reader = None;
        self.sender = None;
        self.outcome = None;
        self.receiving.clear();
        self.sending.close();
        self.role = Role::default();
    }

    /// Makes a new call of one that was [cleared](Self::clear), in its memory.
    pub(crate) fn reset(&mut self, windows: Windows, deadline: Option<Instant>, role: Role) {
        self.receiving.reset(windows.theirs);
        self.sending.reset(windows.ours);
        self.ended = false;
        self.deadline = deadline;
        self.role = role;
    }

    /// What can be read now; registers the reader if that is nothing.
    pub(crate) fn poll_next(&mut self, cx: &Context<'_>) -> Poll<Next> {
        if let Some(message) = self.receiving.pop() {
            return Poll::Ready(Next::Message(message));
        }
        match self.outcome.take() {
            Some(Ok(trailers)) => Poll::Ready(Next::End(trailers)),
            Some(Err(error)) => Poll::Ready(Next::Failed(error)),
            None => {
                register(&mut self.reader, cx);
                Poll::Pending
            }
        }
    }

    /// The caller's half, if this side called.
    pub(crate) fn caller(&mut self) -> Option<&mut Caller> {
        match &mut self.role {
            Role::Caller(caller) => Some(caller),
            Role::Handler(_) => None,
        }
    }

    /// The server's half, if this side answers.
    pub(crate) fn handling(&mut self) -> Option<&mut Handling> {
        match &mut self.role {
            Role::Handler(handling) => Some(handling),
            Role::Caller(_) => None,
        }
    }

    /// Whether the incoming direction ended at this side alone: the far side has not heard of it, or not yet.
    pub(crate) fn ended_here(&self) -> bool {
        self.ended && matches!(&self.role, Role::Caller(caller) if caller.open)
    }

    /// When time has something to do with the call next.
    pub(crate) fn due(&self) -> Option<Instant> {
        let other = match &self.role {
            Role::Caller(caller) if caller.abandoned || self.ended => return None,
            Role::Caller(caller) => caller.accept_by,
            Role::Handler(handling) => handling.notice_at,
        };
        [self.deadline, other].into_iter().flatten().min()
    }

    /// Ends the incoming direction, unless it has ended, and tells who waits for either.
    pub(crate) fn end(&mut self, outcome: Outcome, wake: &mut Vec<Waker>) {
        if !std::mem::replace(&mut self.ended, true) {
            self.outcome = Some(outcome);
        }
        wake.extend(self.reader.take());
        wake.extend(self.sender.take());
    }
}

/// Keeps the waker of the task that polled last.
pub(crate) fn register(slot: &mut Option<Waker>, cx: &Context<'_>) {
    match slot {
        Some(waker) => waker.clone_from(cx.waker()),
        None => *slot = Some(cx.waker().clone()),
    }
}
