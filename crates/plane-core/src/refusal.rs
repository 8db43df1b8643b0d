//! What the other side was not let do: counted by reason, and told in the log without flooding it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// For each reason the log has at most one line in this time, however often it happens.
const LINE_EVERY: Duration = Duration::from_secs(10);

macro_rules! refusals {
    ($($(#[$doc:meta])* $variant:ident = $name:literal;)*) => {
        /// Why something was refused. docs/limits.md says what each limit is and what sets it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Refusal {
            $($(#[$doc])* $variant,)*
        }

        impl Refusal {
            /// Every reason, in the order of the declaration.
            pub const ALL: [Self; [$($name),*].len()] = [$(Self::$variant),*];

            /// The name for metrics and logs: lower case with underscores. It does not change.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

refusals! {
    /// A connection beyond those that may be open; it was closed.
    Connections = "connections";
    /// A connection whose hello was not complete in time.
    HelloTimeout = "hello_timeout";
    /// A connection whose first bytes are of another protocol.
    Stranger = "stranger";
    /// A TLS handshake that failed, or that should have been one.
    Tls = "tls";
    /// A hello of another version, or one that breaks the rules.
    Hello = "hello";
    /// A frame that was begun and not complete in time.
    FrameTimeout = "frame_timeout";
    /// A connection whose other side took no bytes for too long.
    WriteTimeout = "write_timeout";
    /// A frame that no correct peer sends.
    Protocol = "protocol";
    /// More than the credit that was given, or an impossible credit.
    FlowControl = "flow_control";
    /// Too many pings.
    Pings = "pings";
    /// Too many calls that were opened only to be aborted.
    Aborts = "aborts";
    /// Too many frames that have no effect.
    IdleFrames = "idle_frames";
    /// Too many refusals that the other side did not read.
    UnreadRefusals = "unread_refusals";
    /// A call beyond those that one connection may have in flight.
    Calls = "calls";
    /// A call beyond those that the server runs and queues.
    Admission = "admission";
    /// A call of an endpoint or instance that is not served.
    NotFound = "not_found";
    /// A call that the server's authorizer forbids to this peer.
    Denied = "denied";
    /// A call while the server drains.
    Draining = "draining";
    /// A call of what can be no endpoint, with a bad header, or of another version.
    InvalidCall = "invalid_call";
    /// More headers, or more bytes of them, than are taken.
    Headers = "headers";
    /// A message over the limit.
    Message = "message";
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How often each [`Refusal`] happened.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RefusalCounts([u64; Refusal::ALL.len()]);

impl RefusalCounts {
    /// How often it happened for this reason.
    #[must_use]
    pub fn of(&self, refusal: Refusal) -> u64 {
        self.0[refusal as usize]
    }

    /// How often it happened for any reason.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Every reason with its count.
    pub fn iter(&self) -> impl Iterator<Item = (Refusal, u64)> {
        Refusal::ALL.into_iter().zip(self.0)
    }
}

impl Default for RefusalCounts {
    fn default() -> Self {
        Self([0; Refusal::ALL.len()])
    }
}

/// Only what happened at all, so that a line of statistics stays readable.
impl fmt::Debug for RefusalCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter().filter(|(_, count)| *count > 0)).finish()
    }
}

/// Counts what a client or server refused, and logs it at a bounded pace. Clones are the same.
#[derive(Clone)]
pub struct Refusals {
    entries: Arc<[Entry; Refusal::ALL.len()]>,
}

#[derive(Default)]
struct Entry {
    count: AtomicU64,
    told: Mutex<Told>,
}

/// The last line of the log.
#[derive(Default)]
struct Told {
    at: Option<Instant>,
    /// The count at that time.
    count: u64,
}

impl Refusals {
    /// Counts a refusal. The first of a reason is logged at once, then at most one every 10 s with the number of those
    /// in between. Whatever of `reason` the other side sent must be escaped.
    pub fn note(&self, now: Instant, refusal: Refusal, peer: &str, reason: &dyn fmt::Display) {
        let entry = &self.entries[refusal as usize];
        let count = entry.count.fetch_add(1, Ordering::Relaxed) + 1;
        if let Some(more) = entry.told.lock().line_due(now, count) {
            tracing::warn!(refusal = refusal.name(), peer, %reason, more, "refused");
        }
    }

    /// How often each happened so far.
    #[must_use]
    pub fn counts(&self) -> RefusalCounts {
        let mut counts = RefusalCounts::default();
        for (count, entry) in counts.0.iter_mut().zip(self.entries.iter()) {
            *count = entry.count.load(Ordering::Relaxed);
        }
        counts
    }
}

impl Told {
    /// How many were not logged since the last line, if a line is due.
    fn line_due(&mut self, now: Instant, count: u64) -> Option<u64> {
        if self.at.is_some_and(|at| now.saturating_duration_since(at) < LINE_EVERY) {
            return None;
        }
        self.at = Some(now);
        let before = std::mem::replace(&mut self.count, count);
        Some(count.saturating_sub(before + 1))
    }
}

impl Default for Refusals {
    fn default() -> Self {
        Self { entries: Arc::new(std::array::from_fn(|_| Entry::default())) }
    }
}

impl fmt::Debug for Refusals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.counts().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_is_counted_alone() {
        let refusals = Refusals::default();
        let now = Instant::now();
        for refusal in Refusal::ALL {
            refusals.note(now, refusal, "test", &"once");
        }
        refusals.clone().note(now, Refusal::Pings, "test", &"again");
        let counts = refusals.counts();
        for (refusal, count) in counts.iter() {
            assert_eq!(count, if refusal == Refusal::Pings { 2 } else { 1 }, "{refusal}");
            assert_eq!(counts.of(refusal), count);
        }
        assert_eq!(counts.total(), Refusal::ALL.len() as u64 + 1);
    }

    #[test]
    fn names_are_labels_and_differ() {
        let mut names = Refusal::ALL.map(Refusal::name).to_vec();
        assert!(names.iter().all(|name| name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')), "{names:?}");
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Refusal::ALL.len());
    }

    /// Promise G6: one line at once, then one every ten seconds that says how many it stands for.
    #[test]
    fn lines_are_few_and_say_what_they_stand_for() {
        let mut told = Told::default();
        let start = Instant::now();
        let mut lines = Vec::new();
        for count in 1..=100_000_u64 {
            let now = start + Duration::from_millis(count);
            lines.extend(told.line_due(now, count));
        }
        assert_eq!(lines, [&[0][..], &[9_999; 9][..]].concat());
    }
}
