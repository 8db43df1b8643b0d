//! One direction of a byte stream under virtual time: late, in pieces, paused, cut, reset; never out of order.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fastrand::Rng;

/// What comes out of a wire.
#[derive(Debug)]
pub(super) enum Got {
    Bytes(Bytes),
    /// The other side closed it in order.
    Closed,
    /// The other side is gone, and so is what was on its way.
    Reset,
}

/// Bytes on their way in one direction.
#[derive(Debug)]
pub(super) struct Wire {
    pieces: VecDeque<(Instant, Bytes)>,
    on_its_way: usize,
    /// Bytes that it holds before its writer must wait.
    capacity: usize,
    delay: Duration,
    jitter: Duration,
    /// Nothing comes out before this.
    paused_until: Option<Instant>,
    /// Nothing comes out any more, and nobody is told.
    cut: bool,
    /// When the end comes out, and whether it is a reset.
    end: Option<(Instant, bool)>,
}

impl Wire {
    pub(super) fn new(rng: &mut Rng) -> Self {
        let capacity = [64, 2_000, 64 * 1024, 1 << 20][rng.usize(..4)];
        let delay = Duration::from_micros([0, 50, 1_000, 40_000][rng.usize(..4)]);
        let jitter = Duration::from_micros([0, 100, 20_000][rng.usize(..3)]);
        // A frame must pass within 30 s: what holds little must not be late as well.
        let most = if capacity < 1_000 { Duration::from_millis(1) } else { Duration::MAX };
        let (delay, jitter) = (delay.min(most), jitter.min(most));
        Self { capacity, ..Self::with(delay, jitter) }
    }

    /// A wire that holds about what a socket does.
    pub(super) fn with(delay: Duration, jitter: Duration) -> Self {
        Self {
            pieces: VecDeque::new(),
            on_its_way: 0,
            capacity: 256 << 10,
            delay,
            jitter,
            paused_until: None,
            cut: false,
            end: None,
        }
    }

    /// How many bytes its writer may still put in.
    pub(super) fn room(&self) -> usize {
        self.capacity - self.on_its_way
    }

    /// What a byte takes at most behind all that one seed may send at once, unless something is wrong.
    pub(super) fn slowest(&self) -> Duration {
        const MOST: usize = 400_000;
        let turns = u32::try_from(MOST / self.capacity).unwrap_or(u32::MAX).max(1);
        (self.delay + self.jitter) * turns
    }

    /// Whether nothing more comes out of it, an end included, unless something is put in.
    pub(super) fn is_empty(&self) -> bool {
        self.pieces.is_empty() && self.end.is_none()
    }

    /// Puts bytes in; there must be room for them.
    pub(super) fn send(&mut self, now: Instant, rng: &mut Rng, bytes: Bytes) {
        if bytes.is_empty() || self.end.is_some() {
            return;
        }
        self.on_its_way += bytes.len();
        let arrival = self.arrival(now, rng);
        self.pieces.push_back((arrival, bytes));
    }

    fn arrival(&self, now: Instant, rng: &mut Rng) -> Instant {
        let late = self.jitter.mul_f64(rng.f64());
        let arrival = now + self.delay + late;
        self.pieces.back().map_or(arrival, |(before, _)| arrival.max(*before))
    }

    /// Ends it behind what is on its way.
    pub(super) fn close(&mut self, now: Instant, rng: &mut Rng) {
        let arrival = self.arrival(now, rng);
        self.end.get_or_insert((arrival, false));
    }

    /// Ends it and loses what is on its way.
    pub(super) fn reset(&mut self, now: Instant) {
        if self.end.is_none_or(|(_, reset)| !reset) {
            self.pieces.clear();
            self.on_its_way = 0;
            self.end = Some((now + self.delay, true));
        }
    }

    pub(super) fn pause(&mut self, until: Instant) {
        self.paused_until = self.paused_until.max(Some(until));
    }

    pub(super) fn cut(&mut self) {
        self.cut = true;
    }

    /// When something comes out next.
    pub(super) fn next_arrival(&self) -> Option<Instant> {
        if self.cut {
            return None;
        }
        let end = self.end.map(|(at, _)| at);
        let next = self.pieces.front().map(|(at, _)| *at).or(end)?;
        Some(self.paused_until.map_or(next, |until| until.max(next)))
    }

    /// What has come by now, at most `most` bytes of it.
    pub(super) fn receive(&mut self, now: Instant, most: usize) -> Option<Got> {
        self.next_arrival().filter(|at| *at <= now)?;
        let Some((_, piece)) = self.pieces.front_mut() else {
            return self.end.map(|(_, reset)| if reset { Got::Reset } else { Got::Closed });
        };
        let bytes = piece.split_to(most.clamp(1, piece.len()));
        if piece.is_empty() {
            self.pieces.pop_front();
        }
        self.on_its_way -= bytes.len();
        Some(Got::Bytes(bytes))
    }
}
