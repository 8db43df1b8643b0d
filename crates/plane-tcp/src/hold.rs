//! Whether requests that are written for the room they take wait in the socket for those behind them.
//!
//! Where both sides share one core the other one takes it for each write, which is worth it once and not for every part of what
//! callers have to send. Where it has a core of its own, it answers the first part while the next is made.

use std::time::Duration;

use crate::watch::has_one_core;

/// Whoever wrote for longer has lost the core to the other side meanwhile.
const LOST: Duration = Duration::from_micros(20);

/// So many writes are held after one that lost the core; then one shows whether it still would.
const HELD: u32 = 64;

/// What the writes of one connection have shown.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Hold {
    /// This process has one core.
    possible: bool,
    /// Writes to hold before the next that is timed.
    left: u32,
}

impl Hold {
    /// What suits this process.
    pub(crate) fn here() -> Self {
        Self { possible: has_one_core(), left: 0 }
    }

    #[cfg(test)]
    pub(crate) fn once() -> Self {
        Self { possible: true, left: 1 }
    }

    /// Whether the next write is held.
    pub(crate) fn next(&mut self) -> bool {
        let holds = self.possible && self.left > 0;
        self.left = self.left.saturating_sub(1);
        holds
    }

    /// A write that was not held took so long.
    pub(crate) fn note_written(&mut self, took: Duration) {
        if took >= LOST {
            self.left = HELD;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_are_held_while_one_in_a_while_loses_the_core() {
        let mut hold = Hold { possible: true, left: 0 };
        assert!(!hold.next());
        hold.note_written(LOST - Duration::from_nanos(1));
        assert!(!hold.next());
        for _ in 0..2 {
            hold.note_written(LOST);
            assert_eq!((0..1_000).position(|_| !hold.next()), Some(64));
        }
        assert!(!hold.next(), "the last one kept the core");
    }

    #[test]
    fn nothing_is_held_with_several_cores() {
        let mut hold = Hold { possible: false, left: 0 };
        hold.note_written(LOST);
        assert!(!hold.next());
    }
}
