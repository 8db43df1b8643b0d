//! Whether a connection that waits looks for what comes next itself for a moment, before its task sleeps.
//!
//! To be woken on another core takes several times as long as a short call (docs/benchmarks.md). So whoever has just seen
//! that what it waits for comes sooner than that looks again and again, giving its core to others in between.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// A wait that ended within this, being woken included, is worth looking out for.
const SHORT: Duration = Duration::from_micros(100);

/// Somebody had the core between two looks if they are so far apart. If what is waited for has not come meanwhile, it was
/// not the other side that needed it.
const TAKEN: Duration = Duration::from_micros(10);

/// It does not look for so long after that.
const PAUSE: Duration = Duration::from_millis(1);

/// Somebody who had the core for this long needs it for more than an answer, whatever has come meanwhile.
const CROWDED: Duration = Duration::from_micros(100);

/// Nor does it for so long after this.
const LONG_PAUSE: Duration = Duration::from_millis(100);

/// Which connection of a client or a server has read last. One that is not alone does not look: it would hold the others
/// up.
#[derive(Debug, Clone, Default)]
pub(crate) struct Company(Arc<AtomicUsize>);

/// What one connection has seen of its waits.
#[derive(Debug)]
pub(crate) struct Watch {
    /// It looks for so long at a time; zero for never.
    patience: Duration,
    company: Company,
    /// The wait that goes on began then.
    since: Option<Instant>,
    promising: bool,
    not_before: Option<Instant>,
}

impl Watch {
    pub(crate) fn new(patience: Duration, company: Company) -> Self {
        Self { patience, company, since: None, promising: false, not_before: None }
    }

    /// The connection waits from now on, if it did not already.
    pub(crate) fn note_wait(&mut self, now: Instant) {
        self.since.get_or_insert(now);
    }

    /// Bytes came. `lone` says that they were about one call, and that no other is in progress; `me` tells the connection from
    /// its company.
    pub(crate) fn note_read(&mut self, now: Instant, lone: bool, me: usize) {
        let waited = self.since.take();
        let alone = self.company.0.swap(me, Ordering::Relaxed) == me;
        let short = waited.is_some_and(|since| now.saturating_duration_since(since) <= SHORT);
        self.promising = lone && alone && short && self.not_before.is_none_or(|at| at <= now);
    }

    /// Whether what comes next may come before a task would be woken for it.
    pub(crate) fn is_promising(&self) -> bool {
        self.promising && !self.patience.is_zero()
    }

    /// It looks since `began`; others could have the core since `before`, and something was found just now or not. Whether it
    /// looks once more.
    pub(crate) fn goes_on(&mut self, began: Instant, before: Instant, now: Instant, found: bool) -> bool {
        let away = now.saturating_duration_since(before);
        let pause = match found {
            _ if away >= CROWDED => Some(LONG_PAUSE),
            false if away >= TAKEN => Some(PAUSE),
            _ => None,
        };
        if let Some(pause) = pause {
            self.not_before = Some(now + pause);
            self.promising = false;
        }
        !found && self.promising && now.saturating_duration_since(began) < self.patience
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_micros(30);

    fn micros(micros: u64) -> Duration {
        Duration::from_micros(micros)
    }

    /// A wait of so long, of connection `me`, in the company of the others of its client.
    fn wait(watch: &mut Watch, at: &mut Instant, micros: u64, lone: bool, me: usize) -> bool {
        watch.note_wait(*at);
        *at += Duration::from_micros(micros);
        watch.note_read(*at, lone, me);
        watch.is_promising()
    }

    /// Only what came soon, alone and for a lone call promises that the next does.
    #[test]
    fn it_looks_after_a_short_wait_of_a_lone_call() {
        let mut watch = Watch::new(PATIENCE, Company::default());
        let mut at = Instant::now();
        assert!(!watch.is_promising() && !wait(&mut watch, &mut at, 1, true, 1), "company was there before");
        assert!(wait(&mut watch, &mut at, 100, true, 1));
        assert!(!wait(&mut watch, &mut at, 101, true, 1));
        assert!(wait(&mut watch, &mut at, 1, true, 1));
        assert!(!wait(&mut watch, &mut at, 1, false, 1));
        watch.note_read(at, true, 1);
        assert!(!watch.is_promising(), "it did not wait");
    }

    #[test]
    fn it_does_not_look_in_company() {
        let company = Company::default();
        let [mut one, mut other] = [(); 2].map(|()| Watch::new(PATIENCE, company.clone()));
        let mut at = Instant::now();
        for _ in 0..3 {
            assert!(!wait(&mut one, &mut at, 1, true, 1));
            assert!(!wait(&mut other, &mut at, 1, true, 2));
        }
        assert!(wait(&mut other, &mut at, 1, true, 2), "the first is quiet now");
    }

    #[test]
    fn it_looks_for_a_while() {
        let mut watch = Watch::new(PATIENCE, Company::default());
        let mut at = Instant::now();
        wait(&mut watch, &mut at, 1, true, 1);
        assert!(wait(&mut watch, &mut at, 1, true, 1));
        let last = |now: Instant| now - micros(1);
        let now = at + micros(29);
        assert!(watch.goes_on(at, last(now), now, false) && !watch.goes_on(at, last(now), now, true));
        let now = at + PATIENCE;
        assert!(!watch.goes_on(at, last(now), now, false));
        assert!(watch.is_promising(), "a wait that took longer is judged by its end");
    }

    /// The other side may have the core, to answer; somebody else may not.
    #[test]
    fn it_does_not_look_where_others_need_the_core() {
        for (away, found, pause) in [
            (TAKEN - micros(1), false, Duration::ZERO),
            (TAKEN, true, Duration::ZERO),
            (TAKEN, false, PAUSE),
            (CROWDED, true, LONG_PAUSE),
            (CROWDED, false, LONG_PAUSE),
        ] {
            let mut watch = Watch::new(PATIENCE, Company::default());
            let mut at = Instant::now();
            wait(&mut watch, &mut at, 1, true, 1);
            assert!(wait(&mut watch, &mut at, 1, true, 1));
            watch.goes_on(at, at, at + away, found);
            assert_eq!(watch.is_promising(), pause.is_zero(), "away for {away:?}, found: {found}");
            if !pause.is_zero() {
                let over = at + away + pause;
                at = over - micros(2);
                assert!(!wait(&mut watch, &mut at, 1, true, 1));
                assert!(wait(&mut watch, &mut at, 1, true, 1));
                assert_eq!(at, over);
            }
        }
    }

    #[test]
    fn one_without_patience_never_looks() {
        let mut watch = Watch::new(Duration::ZERO, Company::default());
        let mut at = Instant::now();
        assert!((0..3).all(|_| !wait(&mut watch, &mut at, 1, true, 1)));
    }
}
