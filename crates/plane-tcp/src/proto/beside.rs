//! How large messages make room for small ones of their connection. Nothing overtakes what a socket holds, so a large
//! message that filled the sockets up to its credit would hold every small one up for as long as all that takes.

use std::time::{Duration, Instant};

use plane_core::frame::Flags;

/// So much of a large message is on its way at least; a receiver gives credit back for it (docs/protocol.md, "Credit").
pub(crate) const LEAST: u32 = 16 * 1024;

/// More than the usual window, so no bound.
const MOST: u32 = 1024 * 1024;

/// On a way on which credit takes at least this long, more than the least would fit.
const LONG: Duration = Duration::from_micros(250);

/// The shortest time that credit took is that of the last so long: ways change.
const ANEW: Duration = Duration::from_secs(10);

/// What goes beside large messages, and how much of one is on its way meanwhile.
#[derive(Debug)]
pub(crate) struct Beside {
    /// Messages of one frame, in both directions.
    small: u32,
    /// The same at the last look.
    before: u32,
    /// Bytes of large ones since the last of those.
    quiet: u32,
    /// What a large message that gives way has on its way before credit comes back.
    share: u32,
    /// A chunk whose credit is waited for.
    probe: Option<Probe>,
    /// The shortest time that one took lately, and since when that is.
    shortest: Duration,
    since: Option<Instant>,
}

#[derive(Debug)]
struct Probe {
    call: u64,
    /// Credit that is to come for it and for what went before it.
    left: u32,
    sent: Instant,
}

impl Beside {
    pub(crate) fn new() -> Self {
        Self { small: 0, before: 0, quiet: MOST, share: LEAST, probe: None, shortest: Duration::MAX, since: None }
    }

    /// A frame with the first part of a message went out or came.
    pub(crate) fn note(&mut self, flags: Flags) {
        if flags.has(Flags::MORE) {
            self.look(0);
        } else if !flags.has(Flags::NO_MESSAGE) {
            self.small = self.small.wrapping_add(1);
        }
    }

    /// A chunk of a large message went out, with so much of its call on the way now.
    pub(crate) fn note_chunk(&mut self, now: Instant, call: u64, ahead: u32) {
        // A call that has ended gets no credit any more.
        if self.probe.as_ref().is_none_or(|probe| now.saturating_duration_since(probe.sent) > ANEW) {
            self.probe = Some(Probe { call, left: ahead, sent: now });
        }
    }

    /// The other side has taken so many bytes of a large message.
    pub(crate) fn note_taken(&mut self, now: Instant, call: u64, bytes: u32) {
        self.look(bytes);
        if let Some(probe) = self.probe.as_mut().filter(|probe| probe.call == call) {
            probe.left = probe.left.saturating_sub(bytes);
            if probe.left == 0 {
                let took = now.saturating_duration_since(probe.sent);
                self.probe = None;
                self.adapt(now, took);
            }
        }
    }

    /// The last chunk of its message went out; credit for it comes when it is read.
    pub(crate) fn forget(&mut self, call: u64) {
        self.probe.take_if(|probe| probe.call == call);
    }

    /// A time that does not become longer with more on the way is that of the way itself; one that does is for what was
    /// sent before, and small messages wait as long.
    fn adapt(&mut self, now: Instant, took: Duration) {
        let since = *self.since.get_or_insert(now);
        if now.saturating_duration_since(since) > ANEW {
            // This was with what is on its way now.
            (self.since, self.share, self.shortest) = (Some(now), LEAST, Duration::MAX);
            return;
        }
        self.shortest = self.shortest.min(took);
        if took > self.shortest * 3 / 2 {
            self.share = (self.share / 2).max(LEAST);
        } else if self.shortest >= LONG && took <= self.shortest * 5 / 4 {
            self.share = (2 * self.share).min(MOST);
        }
    }

    fn look(&mut self, bytes: u32) {
        let some = std::mem::replace(&mut self.before, self.small) != self.small;
        self.quiet = if some { 0 } else { self.quiet.saturating_add(bytes) };
    }

    /// How much of a large message may be on its way: anything, once as much as a window of them has gone alone.
    pub(crate) fn share(&self) -> u32 {
        if self.quiet < MOST { self.share } else { u32::MAX }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: Duration = Duration::from_nanos(1);

    /// A large message begins, and so many bytes of it have gone.
    fn goes(beside: &mut Beside, now: Instant, bytes: u32) -> u32 {
        beside.note(Flags::MORE);
        beside.note_taken(now, 1, bytes);
        beside.share()
    }

    #[test]
    fn a_large_message_gives_way_only_to_small_ones() {
        let now = Instant::now();
        let mut beside = Beside::new();
        assert_eq!(beside.share(), u32::MAX);
        assert_eq!(goes(&mut beside, now, MOST), u32::MAX, "it is alone");
        beside.note(Flags::END);
        assert_eq!(goes(&mut beside, now, MOST), u32::MAX, "alone since");
        beside.note(Flags::NONE);
        assert_eq!(goes(&mut beside, now, MOST - 1), LEAST);
        assert_eq!(goes(&mut beside, now, 1), u32::MAX);
        for _ in 0..3 {
            beside.note(Flags::END);
            assert_eq!(goes(&mut beside, now, 1), LEAST);
        }
    }

    /// A message beside small ones on a way that takes so long, and that takes so many bytes in a millisecond.
    fn settles(beside: &mut Beside, start: Instant, way: Duration, bytes: u32) -> u32 {
        let (mut now, mut share) = (start, 0);
        for _ in 0..100 {
            beside.note(Flags::END);
            beside.note(Flags::MORE);
            share = beside.share();
            beside.note_chunk(now, 1, share);
            now += way + Duration::from_millis(1) * share / bytes;
            beside.note_chunk(now, 1, share);
            beside.note_taken(now, 3, share);
            beside.note_taken(now, 1, share - 1);
            beside.note_taken(now, 1, 1);
        }
        share
    }

    #[test]
    fn more_goes_on_a_way_that_is_long() {
        let start = Instant::now();
        for (way, bytes, shares) in [
            (Duration::ZERO, MOST, LEAST..=LEAST),
            // What the way itself takes is little beside what goes through it.
            (LONG, LEAST, LEAST..=2 * LEAST),
            (LONG / 2, 100 * MOST, LEAST..=LEAST),
            (LONG, 100 * MOST, MOST..=MOST),
            (4 * LONG, MOST, MOST / 2..=MOST / 2),
            (40 * LONG, MOST, MOST..=MOST),
        ] {
            let mut beside = Beside::new();
            let share = settles(&mut beside, start, way, bytes);
            assert!(shares.contains(&share), "{share} with {way:?}, {bytes} bytes in a millisecond");
            // The way becomes another.
            let later = start + Duration::from_secs(100);
            assert_eq!(settles(&mut beside, later, 40 * LONG, MOST), MOST);
            assert_eq!(settles(&mut beside, later + Duration::from_secs(100), Duration::ZERO, MOST), LEAST);
        }
    }

    /// A share that the credit of a chunk is known to take so long for.
    fn known(shortest: Duration, share: u32) -> (Beside, Instant) {
        let now = Instant::now();
        let mut beside = Beside { share, shortest, since: Some(now), ..Beside::new() };
        beside.note(Flags::END);
        beside.note(Flags::MORE);
        (beside, now)
    }

    /// Up to a quarter longer more goes; beyond a half less does; between them it stays.
    #[test]
    fn what_takes_longer_is_told_from_what_does_not() {
        let shortest = 4 * LONG;
        for (took, share) in [
            (shortest / 2, 8 * LEAST),
            (shortest, 8 * LEAST),
            (shortest + LONG, 8 * LEAST),
            (shortest + LONG + TICK, 4 * LEAST),
            (shortest + 2 * LONG, 4 * LEAST),
            (shortest + 2 * LONG + TICK, 2 * LEAST),
        ] {
            let (mut beside, now) = known(shortest, 4 * LEAST);
            beside.adapt(now, took);
            assert_eq!(beside.share(), share, "{took:?}");
        }
        for (took, share) in [(LONG - TICK, 4 * LEAST), (LONG, 8 * LEAST)] {
            let (mut beside, now) = known(Duration::MAX, 4 * LEAST);
            beside.adapt(now, took);
            assert_eq!(beside.share(), share, "{took:?}");
        }
    }

    #[test]
    fn what_was_known_of_the_way_is_forgotten_in_time() {
        for (later, share) in [(ANEW, 8 * LEAST), (ANEW + TICK, LEAST)] {
            let (mut beside, now) = known(4 * LONG, 4 * LEAST);
            beside.adapt(now + later, 4 * LONG);
            assert_eq!(beside.share(), share, "{later:?}");
        }
    }

    /// One chunk at a time is followed, and not for ever: its call may have ended.
    #[test]
    fn a_chunk_is_followed_until_its_credit_comes_or_cannot() {
        let probed = |beside: &Beside| beside.probe.as_ref().map(|probe| probe.call);
        let (mut beside, now) = known(LONG, LEAST);
        beside.note_chunk(now, 1, LEAST);
        beside.note_chunk(now + ANEW, 3, LEAST);
        assert_eq!(probed(&beside), Some(1));
        beside.note_chunk(now + ANEW + TICK, 3, LEAST);
        assert_eq!(probed(&beside), Some(3));
        beside.forget(1);
        assert_eq!(probed(&beside), Some(3));
        beside.forget(3);
        assert_eq!(probed(&beside), None);
    }
}
