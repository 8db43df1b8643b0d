//! How long to wait before NATS is tried again ([`Pauses`]).

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// The first pause is up to this long, and each after it up to twice as long as the one before.
const FIRST: Duration = Duration::from_millis(50);

/// An attempt and the pause after it take no longer than this, unless the attempt alone may (DYN_NATS_CONNECT_TIMEOUT,
/// 3 s by default): a server that is there again is found within 5 s, also when an attempt that cannot end any more had
/// begun a moment before (threat C8).
const ATTEMPT_AND_PAUSE: Duration = Duration::from_millis(4_500);

/// The pauses between the attempts of one connection.
#[derive(Debug, Default)]
pub(crate) struct Pauses {
    /// When the last one ended, and with that the last attempt began.
    attempted: Mutex<Option<Instant>>,
}

impl Pauses {
    /// The pause before attempt number `attempt`, counted from 1 since the connection was lost. Exponential with full
    /// jitter, so that the clients of a server that restarts do not come back all at once.
    pub(crate) fn before(&self, attempt: usize, now: Instant) -> Duration {
        let mut attempted = self.attempted.lock();
        let last = attempted.filter(|_| attempt > 1);
        let took = last.map_or(Duration::ZERO, |last| now.saturating_duration_since(last));
        let doublings = u32::try_from(attempt.saturating_sub(1)).unwrap_or(u32::MAX).min(16);
        let most = FIRST.saturating_mul(1 << doublings).min(ATTEMPT_AND_PAUSE.saturating_sub(took));
        let pause = most.mul_f64(fastrand::f64());
        *attempted = Some(now + pause);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reconnecting_waits_longer_and_never_too_long() {
        let now = Instant::now();
        let pauses = |attempt| (0..100).map(move |_| Pauses::default().before(attempt, now));
        for attempt in [0, 1, 2, 10, 1_000, usize::MAX] {
            assert!(pauses(attempt).all(|pause| pause <= ATTEMPT_AND_PAUSE));
        }
        assert!(pauses(1).all(|pause| pause <= FIRST));
        // Full jitter: not all the same, and long ones among them.
        assert!(pauses(10).any(|pause| pause > ATTEMPT_AND_PAUSE / 2));
        assert!(pauses(10).any(|pause| pause < ATTEMPT_AND_PAUSE / 2));
    }

    /// Threat C8.
    #[test]
    fn an_attempt_that_hangs_makes_its_pause_shorter() {
        for took in [Duration::ZERO, Duration::from_secs(3), ATTEMPT_AND_PAUSE, Duration::from_secs(60)] {
            for _ in 0..100 {
                let pauses = Pauses::default();
                let mut now = Instant::now();
                now += pauses.before(20, now);
                now += took;
                assert!(took + pauses.before(21, now) <= ATTEMPT_AND_PAUSE.max(took));
            }
        }
        // What hung before the connection was lost again is no part of it.
        let (pauses, now) = (Pauses::default(), Instant::now());
        pauses.before(20, now);
        let later = now + Duration::from_secs(3_600);
        assert!((0..100).any(|_| !pauses.before(1, later).is_zero()));
    }
}
