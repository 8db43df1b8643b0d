//! How long the other side may leave something unfinished.

use std::time::{Duration, Instant};

/// Watches over something that the other side has begun and must finish: a frame, or taking what is written.
#[derive(Debug)]
pub(crate) struct Stall {
    limit: Duration,
    since: Option<Instant>,
}

impl Stall {
    pub(crate) fn new(limit: Duration) -> Self {
        Self { limit, since: None }
    }

    /// Something is unfinished. Time counts from the first such look since it last went on.
    pub(crate) fn note_unfinished(&mut self, now: Instant) {
        self.since.get_or_insert(now);
    }

    /// It went on. On a busy connection there is always more, but what is unfinished then is something else.
    pub(crate) fn note_progress(&mut self) {
        self.since = None;
    }

    /// When its time is over.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.since.map(|since| since + self.limit)
    }

    pub(crate) fn is_over(&self, now: Instant) -> bool {
        self.due().is_some_and(|due| due <= now)
    }

    pub(crate) fn limit(&self) -> Duration {
        self.limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    #[test]
    fn what_is_never_finished_is_given_up() {
        let start = Instant::now();
        let mut stall = Stall::new(LIMIT);
        assert_eq!((stall.limit(), stall.due()), (LIMIT, None));
        for seconds in 0..30 {
            stall.note_unfinished(start + Duration::from_secs(seconds));
            assert!(!stall.is_over(start + Duration::from_secs(seconds)));
        }
        assert_eq!(stall.due(), Some(start + LIMIT));
        assert!(stall.is_over(start + LIMIT));
    }

    /// A connection that is busy for longer than the limit, and at no look has nothing unfinished, is healthy.
    #[test]
    fn what_goes_on_is_never_given_up() {
        let start = Instant::now();
        let mut stall = Stall::new(LIMIT);
        for seconds in 0..300 {
            let now = start + Duration::from_secs(seconds);
            assert!(!stall.is_over(now));
            stall.note_progress();
            stall.note_unfinished(now);
        }
    }
}
