//! What clients and servers tell of themselves: health, counts, and how a drain ended.

use crate::refusal::RefusalCounts;

/// Whether a client or server can do its work now.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Health {
    /// It can.
    Ready,
    /// It can, but something needs attention; the text says what.
    Degraded(String),
    /// It cannot; the text says why.
    Unavailable(String),
}

/// What a client has done so far and holds now. Every started call is in exactly one of the other counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ClientStats {
    /// Calls that were started.
    pub started: u64,
    /// Calls that ended in order.
    pub completed: u64,
    /// Calls that ended with an error.
    pub failed: u64,
    /// Calls whose caller went away first.
    pub cancelled: u64,
    /// Calls in flight now.
    pub in_flight: u64,
    /// Connections that are open now.
    pub connections: u64,
    /// Connections that were opened so far.
    pub dials: u64,
    /// What servers did that ended a connection to them, by reason.
    pub refusals: RefusalCounts,
    /// Messages that came and belonged to no call, where others than the server can send some (NATS): late answers,
    /// mostly.
    pub unknown_replies: u64,
    /// 1 if servers that speak TLS are taken at their word, because verification was switched off; else 0.
    pub tls_unverified: u64,
}

/// What a server has done so far and holds now. Every started call is in exactly one of the other counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ServerStats {
    /// Calls that were admitted.
    pub started: u64,
    /// Calls whose handler ended well.
    pub completed: u64,
    /// Calls whose handler ended with a status other than OK.
    pub failed: u64,
    /// Calls that were aborted: by the caller, the deadline or shutdown.
    pub cancelled: u64,
    /// Calls that were refused without starting a handler.
    pub refused: u64,
    /// Calls that are admitted and have not ended.
    pub in_flight: u64,
    /// Of those, the ones that wait for their turn.
    pub queued: u64,
    /// Connections that are open now.
    pub connections: u64,
    /// What was refused, by reason: the calls counted in `refused`, and what ended connections.
    pub refusals: RefusalCounts,
}

/// How a drain ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct DrainReport {
    /// Calls that were in flight when the drain began and finished in time.
    pub finished: u64,
    /// Calls that were still in flight at its deadline and were aborted.
    pub aborted: u64,
}

impl DrainReport {
    /// A report with these numbers.
    #[must_use]
    pub fn new(finished: u64, aborted: u64) -> Self {
        Self { finished, aborted }
    }
}
