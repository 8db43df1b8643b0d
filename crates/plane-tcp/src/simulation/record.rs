//! What happened to each call, and what must be true of it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use plane_core::{Code, Delivery, Error, ErrorKind};

/// The first of the codes that only handlers of a simulation use.
pub(super) const OWN_CODES: u16 = 1_000;

/// What a caller was left with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The whole answer, of this many messages.
    Complete(usize),
    Failed {
        kind: ErrorKind,
        delivery: Delivery,
        code: Code,
        text: String,
    },
    /// The connection took no calls.
    NotOpened,
    /// The caller itself was dropped.
    Left,
}

/// How a handler ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answered {
    /// In order.
    Whole,
    /// With this code and text.
    Failed(Code, String),
}

/// What is known of one call, from both ends.
#[derive(Debug, Default)]
pub(super) struct Facts {
    pub(super) opened: bool,
    pub(super) outcome: Option<Outcome>,
    /// The lengths of the messages that the caller handed over, and whether it ended its request in order.
    pub(super) requested: Vec<usize>,
    pub(super) request_whole: bool,
    pub(super) handlers: usize,
    /// Messages that the handler read.
    pub(super) read: usize,
    /// The lengths of the messages that the handler handed over.
    pub(super) sent: Vec<usize>,
    pub(super) answered: Option<Answered>,
}

/// What happened to every call of a seed.
#[derive(Debug, Default)]
pub(super) struct Record {
    facts: BTreeMap<u64, Facts>,
    /// How many things were done.
    pub(super) steps: u64,
    /// Something was done to the connection that may end calls.
    pub(super) disturbed: bool,
    /// The server was told to drain or to abort, or the client to close.
    pub(super) leaving: bool,
    /// How long an end may have stood still in all.
    pub(super) frozen: Duration,
}

impl Record {
    pub(super) fn new(disturbed: bool, leaving: bool) -> Self {
        Self { disturbed, leaving, ..Self::default() }
    }

    pub(super) fn of(&mut self, nonce: u64) -> &mut Facts {
        self.facts.entry(nonce).or_default()
    }

    /// How much has happened so far.
    pub(super) fn events(&self) -> usize {
        let of = |facts: &Facts| {
            let ended = usize::from(facts.outcome.is_some()) + usize::from(facts.answered.is_some());
            ended + facts.requested.len() + facts.handlers + facts.read + facts.sent.len()
        };
        self.facts.values().map(of).sum()
    }

    /// The caller of `nonce` has an error.
    pub(super) fn failed(&mut self, nonce: u64, error: &Error) {
        let (kind, delivery, code) = (error.kind(), error.delivery(), error.code());
        let failed = Outcome::Failed { kind, delivery, code, text: error.message().to_owned() };
        self.ended(nonce, failed);
    }

    pub(super) fn ended(&mut self, nonce: u64, outcome: Outcome) {
        let before = self.of(nonce).outcome.replace(outcome);
        assert_eq!(before, None, "call {nonce} ended twice: {:?}", self.of(nonce));
    }

    /// A handler of `nonce` starts.
    pub(super) fn started(&mut self, nonce: u64) {
        let facts = self.of(nonce);
        facts.handlers += 1;
        assert_eq!(facts.handlers, 1, "call {nonce} was started twice");
    }

    /// What must hold of every call once nothing goes on any more.
    pub(super) fn check(&self) {
        for (nonce, facts) in &self.facts {
            let Some(outcome) = &facts.outcome else { panic!("call {nonce} never ended: {facts:?}") };
            assert!(facts.handlers == 0 || facts.answered.is_some(), "handler {nonce} never ended: {facts:?}");
            assert!(facts.read <= facts.requested.len(), "handler {nonce} read more than was sent: {facts:?}");
            match outcome {
                Outcome::Complete(received) => {
                    let whole = facts.answered == Some(Answered::Whole) && facts.sent.len() == *received;
                    assert!(whole, "call {nonce} looks complete and is not: {facts:?}");
                }
                Outcome::Failed { kind, delivery, code, text } => {
                    self.check_failed(*nonce, facts, *kind, *delivery);
                    let told = Answered::Failed(*code, text.clone());
                    let own = code.0 >= OWN_CODES;
                    assert!(!own || facts.answered == Some(told), "call {nonce} was told something else: {facts:?}");
                }
                Outcome::NotOpened => assert!(!facts.opened && facts.handlers == 0, "call {nonce}: {facts:?}"),
                Outcome::Left => {}
            }
        }
    }

    fn check_failed(&self, nonce: u64, facts: &Facts, kind: ErrorKind, delivery: Delivery) {
        match delivery {
            Delivery::NotSent | Delivery::NotExecuted => {
                assert_eq!(facts.handlers, 0, "call {nonce} was executed after all: {facts:?}");
            }
            Delivery::Executed => assert_eq!(facts.handlers, 1, "call {nonce} was not executed: {facts:?}"),
            Delivery::Unknown => {}
        }
        match kind {
            // Both ends are correct, so neither may ever find the other wrong.
            ErrorKind::Protocol | ErrorKind::Truncated | ErrorKind::Internal => {
                panic!("call {nonce} blames the other side: {facts:?}")
            }
            ErrorKind::Disconnected => assert!(self.disturbed || self.leaving, "call {nonce}: {facts:?}"),
            ErrorKind::Unavailable => assert!(self.disturbed || self.leaving, "call {nonce}: {facts:?}"),
            _ => {}
        }
    }
}

/// What an end of a call may not do later than this.
pub(super) fn assert_in_time(nonce: u64, now: Instant, due: Option<Instant>, what: &str, record: &Record) {
    const SLACK: Duration = Duration::from_millis(1);
    if let Some(due) = due {
        assert!(now <= due + SLACK + record.frozen, "call {nonce} still waits {:?} after {what}", now - due);
    }
}
