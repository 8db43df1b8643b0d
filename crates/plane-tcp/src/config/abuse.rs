//! What the other side of a connection may do before it is taken for an enemy.

use std::fmt;
use std::time::Duration;

use plane_core::ConfigError;

use super::is_timeout;

/// How often something may happen: so many at once, and so many more for each second since.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// The reserve; at least one.
    pub at_once: u32,
    /// How much of it comes back each second. Zero counts as one.
    pub per_second: u32,
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} and {} more each second", self.at_once, self.per_second)
    }
}

/// Limits of what costs this side more than the other (docs/limits.md).
///
/// Messages have no budget of their own, however small: each costs 64 bytes of credit beside its own, so that a window
/// bounds them, and a stream of one-byte tokens is what this protocol is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct AbuseLimits {
    /// A frame that has begun to come must be whole within this time; 30 s by default. Too low refuses slow links: a
    /// frame has up to 256 KiB.
    pub frame_timeout: Duration,
    /// The other side must take at least a byte of what is written within this time; 10 s by default.
    pub write_timeout: Duration,
    /// Pings; 1,000 and 100 each second by default.
    pub pings: Rate,
    /// Aborts of calls whose answer had not begun; 100 each second by default. At once it is never less than twice the
    /// calls that may be in flight, and each call that ends otherwise gives one back: all calls of a connection may be
    /// given up together.
    pub aborts: Rate,
    /// Frames without effect, such as skipped kinds, frames for ended calls and credits of a few bytes; 10,000 and 1,000
    /// each second by default. Frames that may have crossed the end of their call are allowed beside it.
    pub idle_frames: Rate,
    /// Bytes of refusals that the other side may leave unread, beside what a connection may hold unwritten; 8 MiB by
    /// default.
    pub unread_refusals: usize,
}

impl Default for AbuseLimits {
    fn default() -> Self {
        Self {
            frame_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(10),
            pings: Rate { at_once: 1_000, per_second: 100 },
            aborts: Rate { at_once: 0, per_second: 100 },
            idle_frames: Rate { at_once: 10_000, per_second: 1_000 },
            unread_refusals: 8 << 20,
        }
    }
}

impl AbuseLimits {
    pub(super) fn check(self) -> Result<Self, ConfigError> {
        let Self { frame_timeout, write_timeout, pings, idle_frames, .. } = self;
        ConfigError::check(is_timeout(frame_timeout), "frame_timeout", frame_timeout, "1 ms to an hour")?;
        ConfigError::check(is_timeout(write_timeout), "write_timeout", write_timeout, "1 ms to an hour")?;
        ConfigError::check(pings.at_once > 0, "pings", pings, "1 or more at once")?;
        ConfigError::check(idle_frames.at_once > 0, "idle_frames", idle_frames, "1 or more at once")?;
        Ok(self)
    }
}
