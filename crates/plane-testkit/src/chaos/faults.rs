//! What can be done to bytes, without sockets or time.

use std::num::{NonZeroU64, NonZeroUsize};
use std::time::Duration;

/// What is done to the bytes of one direction. The default passes them on as they come.
///
/// Offsets count the bytes that came in on that direction of the connection, from zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Faults {
    /// Whether bytes pass at all.
    pub flow: Flow,
    /// How long each piece is held back.
    pub delay: Duration,
    /// The most bytes of a piece: 1 is byte-at-a-time. Each piece is a write of its own.
    pub pieces: Option<NonZeroUsize>,
    /// A piece ends before this byte.
    pub split_at: Option<u64>,
    /// The most bytes in a second.
    pub throttle: Option<NonZeroU64>,
    /// The lowest bit of this byte is turned over.
    pub corrupt_at: Option<u64>,
    /// Both sockets end once this many bytes came in.
    pub end_after: Option<(u64, Ending)>,
}

/// Whether bytes pass at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Flow {
    /// They pass.
    #[default]
    Forward,
    /// They are read and thrown away, and so is an end: a black hole. What comes after has a hole before it.
    Swallow,
    /// They are not even read, and the sockets stay open: the other side froze.
    Stall,
}

/// How both sockets of a connection end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// In order (FIN).
    Close,
    /// At once, unsent bytes thrown away (RST).
    Reset,
}

impl Faults {
    /// Passes everything on.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Holds each piece back this long.
    #[must_use]
    pub fn delayed(delay: Duration) -> Self {
        Self { delay, ..Self::default() }
    }

    /// Writes at most this many bytes at once; zero counts as one.
    #[must_use]
    pub fn in_pieces(bytes: usize) -> Self {
        Self { pieces: NonZeroUsize::new(bytes.max(1)), ..Self::default() }
    }

    /// Writes the bytes before `offset` and those from it on separately.
    #[must_use]
    pub fn split_at(offset: u64) -> Self {
        Self { split_at: Some(offset), ..Self::default() }
    }

    /// Passes at most this many bytes in a second; zero counts as one.
    #[must_use]
    pub fn throttled(bytes_per_second: u64) -> Self {
        Self { throttle: NonZeroU64::new(bytes_per_second.max(1)), ..Self::default() }
    }

    /// Reads and throws away.
    #[must_use]
    pub fn black_hole() -> Self {
        Self { flow: Flow::Swallow, ..Self::default() }
    }

    /// Stops reading and keeps the sockets open.
    #[must_use]
    pub fn half_open() -> Self {
        Self { flow: Flow::Stall, ..Self::default() }
    }

    /// Turns one bit of the byte at `offset` over.
    #[must_use]
    pub fn corrupted_at(offset: u64) -> Self {
        Self { corrupt_at: Some(offset), ..Self::default() }
    }

    /// Ends both sockets after `bytes` bytes.
    #[must_use]
    pub fn ending_after(bytes: u64, ending: Ending) -> Self {
        Self { end_after: Some((bytes, ending)), ..Self::default() }
    }

    /// How the connection ends now that `position` bytes came in, if it does.
    pub(super) fn ending_at(&self, position: u64) -> Option<Ending> {
        self.end_after.filter(|(bytes, _)| position >= *bytes).map(|(_, ending)| ending)
    }

    /// How many of the next `available` bytes, which start at `position`, are one piece.
    pub(super) fn piece(&self, position: u64, available: usize) -> usize {
        let until = |offset: u64| offset.checked_sub(position).filter(|left| *left > 0);
        // A throttled piece is at most what passes in a twentieth of a second, so that the flow is even.
        let per_tick = self.throttle.map(|rate| (rate.get() / 20).max(1));
        let limits = [
            self.pieces.map(|most| most.get() as u64),
            self.split_at.and_then(until),
            self.end_after.and_then(|(bytes, _)| until(bytes)),
            per_tick,
        ];
        let least = limits.into_iter().flatten().min().unwrap_or(u64::MAX);
        available.min(usize::try_from(least).unwrap_or(usize::MAX))
    }

    /// How long a piece of this many bytes is held back.
    pub(super) fn hold(&self, bytes: usize) -> Duration {
        let throttled = self
            .throttle
            .map_or(Duration::ZERO, |rate| Duration::from_nanos((bytes as u64).saturating_mul(1_000_000_000) / rate));
        self.delay + throttled
    }

    /// Does harm to a piece that starts at `position`.
    pub(super) fn corrupt(&self, position: u64, piece: &mut [u8]) {
        let index = self.corrupt_at.and_then(|offset| usize::try_from(offset.checked_sub(position)?).ok());
        if let Some(byte) = index.and_then(|index| piece.get_mut(index)) {
            *byte ^= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_ends_at_the_nearest_limit() {
        assert_eq!(Faults::none().piece(0, 10), 10);
        assert_eq!(Faults::in_pieces(0).piece(0, 10), 1);
        assert_eq!([0, 3, 4, 9].map(|at| Faults::split_at(4).piece(at, 10)), [4, 1, 10, 10]);
        assert_eq!(Faults::throttled(100).piece(0, 10), 5);
        let mixed = Faults { pieces: NonZeroUsize::new(6), ..Faults::ending_after(8, Ending::Close) };
        assert_eq!([0, 6].map(|at| mixed.piece(at, 10)), [6, 2]);
        assert_eq!((mixed.ending_at(7), mixed.ending_at(8)), (None, Some(Ending::Close)));
    }

    #[test]
    fn exactly_one_bit_is_turned() {
        let mut pieces = [*b"abc", *b"def"];
        let faults = Faults::corrupted_at(4);
        faults.corrupt(0, &mut pieces[0]);
        faults.corrupt(3, &mut pieces[1]);
        assert_eq!(pieces, [*b"abc", *b"ddf"]);
    }

    #[test]
    fn time_is_added_up() {
        let faults = Faults { delay: Duration::from_secs(1), ..Faults::throttled(10) };
        assert_eq!(faults.hold(5), Duration::from_millis(1_500));
    }
}
