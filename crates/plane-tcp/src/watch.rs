//! Whether a connection that waits looks for what comes next itself for a moment, before its task sleeps.
//!
//! To be woken on another core takes several times as long as a short call (docs/benchmarks.md). So whoever has just seen
//! that what it waits for comes sooner than that looks again and again, as long as that mostly finds something.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

/// A wait that ended within this, being woken included, is worth looking out for.
const SHORT: Duration = Duration::from_micros(300);

/// Somebody had the core between two looks if they are so far apart. If it was offered and what is waited for has not come
/// meanwhile, it was not the other side that needed it.
const TAKEN: Duration = Duration::from_micros(10);

/// Somebody who had the core for this long needs it for more than an answer, whatever has come meanwhile.
const CROWDED: Duration = Duration::from_micros(300);

/// Whether this process has one core for all it does, by the cores it may use or the share of their time.
pub(crate) fn has_one_core() -> bool {
    static ONE: OnceLock<bool> = OnceLock::new();
    *ONE.get_or_init(|| available_parallelism().is_ok_and(|cores| cores.get() == 1))
}

/// What a connection does between two looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Between {
    /// This process has one core, which the other side may need to answer: it is offered. Others that are answered may need
    /// it as well, so only lone calls are looked out for.
    Offer,
    /// The other side has another core, and to offer this one would give it to somebody else for long.
    Keep,
}

impl Between {
    /// What suits this process.
    pub(crate) fn here() -> Self {
        if has_one_core() { Self::Offer } else { Self::Keep }
    }

    pub(crate) fn pass(self) {
        match self {
            Self::Offer => std::thread::yield_now(),
            Self::Keep => std::hint::spin_loop(),
        }
    }
}

/// Which connection of a client or a server has read last. One that is not alone does not look: it would hold the others
/// up.
#[derive(Debug, Clone, Default)]
pub(crate) struct Company(Arc<AtomicUsize>);

/// Looks that found something pay for those in vain. Where cores are scarce, whoever looks takes them from those it waits for,
/// and looks in vain are how that shows.
#[derive(Debug, Default)]
struct Account {
    /// Looks that found something, and have not paid for one in vain.
    found: u32,
    /// Waits that are to pass without a look.
    to_pass: u32,
}

impl Account {
    /// A look in vain costs so many that found something.
    const PRICE: u32 = 12;

    /// It can pay for so many looks in vain.
    const MOST: u32 = 4;

    /// Waits that pass after a look that it could not pay for.
    const PASSED: u32 = 32;

    /// Waits that pass after somebody else took a core that was offered for long.
    const CROWDED: u32 = 4_096;

    fn note_found(&mut self) {
        self.found = (self.found + 1).min(Self::MOST * Self::PRICE);
    }

    fn note_vain(&mut self) {
        match self.found.checked_sub(Self::PRICE) {
            Some(left) => self.found = left,
            None => *self = Self { found: 0, to_pass: Self::PASSED },
        }
    }

    fn note_crowded(&mut self) {
        *self = Self { found: 0, to_pass: Self::CROWDED };
    }

    /// Whether the next wait is to pass.
    fn passes(&mut self) -> bool {
        let passes = self.to_pass > 0;
        self.to_pass = self.to_pass.saturating_sub(1);
        passes
    }
}

/// What one connection has seen of its waits.
#[derive(Debug)]
pub(crate) struct Watch {
    /// It looks for so long at a time; zero for never.
    patience: Duration,
    between: Between,
    company: Company,
    /// The wait that goes on began then.
    since: Option<Instant>,
    promising: bool,
    account: Account,
}

/// How one look goes on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Look {
    began: Instant,
    /// Others could have the core since then.
    before: Instant,
}

impl Look {
    pub(crate) fn new(now: Instant) -> Self {
        Self { began: now, before: now }
    }
}

impl Watch {
    pub(crate) fn new(patience: Duration, between: Between, company: Company) -> Self {
        Self { patience, between, company, since: None, promising: false, account: Account::default() }
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
        let likely = alone && short && (lone || self.between == Between::Keep);
        self.promising = likely && !self.account.passes();
    }

    /// Whether what comes next may come before a task would be woken for it.
    pub(crate) fn is_promising(&self) -> bool {
        self.promising && !self.patience.is_zero()
    }

    /// Something was `found` just now or not. Whether it looks once more.
    pub(crate) fn goes_on(&mut self, look: &mut Look, now: Instant, found: bool) -> bool {
        let away = now.saturating_duration_since(look.before);
        let over = now.saturating_duration_since(look.began) >= self.patience;
        let offered = self.between == Between::Offer;
        look.before = now;
        match found {
            _ if offered && away >= CROWDED => self.account.note_crowded(),
            true if away < CROWDED => self.account.note_found(),
            false if !over && away < CROWDED && !(offered && away >= TAKEN) => return true,
            _ => self.account.note_vain(),
        }
        self.promising = false;
        false
    }

    pub(crate) fn between(&self) -> Between {
        self.between
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_micros(30);

    fn micros(micros: u64) -> Duration {
        Duration::from_micros(micros)
    }

    fn watch(between: Between) -> Watch {
        Watch::new(PATIENCE, between, Company::default())
    }

    /// A wait of so long, of connection `me`, in the company of the others of its client.
    fn wait(watch: &mut Watch, at: &mut Instant, wait: Duration, lone: bool, me: usize) -> bool {
        watch.note_wait(*at);
        *at += wait;
        watch.note_read(*at, lone, me);
        watch.is_promising()
    }

    /// Connection 1 waits shortly for a lone call until it looks. Returns the waits that passed before.
    fn until_it_looks(watch: &mut Watch, at: &mut Instant) -> usize {
        (0..10_000).position(|_| wait(watch, at, micros(1), true, 1)).expect("it looks again some time")
    }

    /// A look that others have the core for, and that then finds something or not.
    fn look(watch: &mut Watch, at: &mut Instant, away: Duration, found: bool) -> bool {
        let mut look = Look::new(*at);
        *at += away;
        watch.goes_on(&mut look, *at, found)
    }

    /// Only what came soon and alone promises that the next does; and on an only core what was for a lone call.
    #[test]
    fn it_looks_after_a_short_wait() {
        for (between, of_many) in [(Between::Offer, false), (Between::Keep, true)] {
            let mut watch = watch(between);
            let mut at = Instant::now();
            assert!(
                !watch.is_promising() && !wait(&mut watch, &mut at, micros(1), true, 1),
                "company was there before"
            );
            assert!(wait(&mut watch, &mut at, SHORT, true, 1));
            assert!(!wait(&mut watch, &mut at, SHORT + micros(1), true, 1));
            assert!(wait(&mut watch, &mut at, micros(1), true, 1));
            assert_eq!(wait(&mut watch, &mut at, micros(1), false, 1), of_many, "{between:?}");
            watch.note_read(at, true, 1);
            assert!(!watch.is_promising(), "it did not wait");
        }
    }

    #[test]
    fn it_does_not_look_in_company() {
        let company = Company::default();
        let [mut one, mut other] = [(); 2].map(|()| Watch::new(PATIENCE, Between::Keep, company.clone()));
        let mut at = Instant::now();
        for _ in 0..3 {
            assert!(!wait(&mut one, &mut at, micros(1), true, 1));
            assert!(!wait(&mut other, &mut at, micros(1), true, 2));
        }
        assert!(wait(&mut other, &mut at, micros(1), true, 2), "the first is quiet now");
    }

    #[test]
    fn it_looks_for_a_while() {
        let mut watch = watch(Between::Keep);
        let mut at = Instant::now();
        until_it_looks(&mut watch, &mut at);
        let mut look = Look::new(at);
        for later in 1..30 {
            assert!(watch.goes_on(&mut look, at + micros(later), false));
        }
        assert!(watch.is_promising());
        assert!(!watch.goes_on(&mut look, at + PATIENCE, false));
        assert!(!watch.is_promising());
    }

    /// Looks that find something are followed by others, and pay for some in vain.
    #[test]
    fn looks_that_find_something_pay_for_those_in_vain() {
        let mut watch = watch(Between::Keep);
        let mut at = Instant::now();
        until_it_looks(&mut watch, &mut at);
        let mut next = |found: usize, vain: usize| {
            let outcomes = std::iter::repeat_n(true, found).chain(std::iter::repeat_n(false, vain));
            let passed: Vec<_> = outcomes
                .map(|found| {
                    assert!(!look(&mut watch, &mut at, PATIENCE, found));
                    until_it_looks(&mut watch, &mut at)
                })
                .collect();
            assert_eq!(passed[..found + vain - 1], vec![0; found + vain - 1]);
            passed[found + vain - 1]
        };
        assert_eq!([next(0, 1), next(11, 1)], [32, 32]);
        assert_eq!([next(12, 1), next(0, 1)], [0, 32]);
        assert_eq!([next(24, 2), next(0, 1)], [0, 32]);
        assert_eq!([next(1_000, 4), next(0, 1)], [0, 32]);
    }

    /// The other side may have the core, to answer; somebody else may not.
    #[test]
    fn it_does_not_look_where_others_need_the_core() {
        for (between, away, found, passed) in [
            (Between::Offer, TAKEN - micros(1), false, None),
            (Between::Offer, TAKEN, true, Some(0)),
            (Between::Offer, TAKEN, false, Some(32)),
            (Between::Keep, TAKEN, false, None),
            (Between::Keep, CROWDED - micros(1), true, Some(0)),
            (Between::Offer, CROWDED, true, Some(4_096)),
            (Between::Keep, CROWDED, true, Some(32)),
            (Between::Keep, CROWDED, false, Some(32)),
        ] {
            let mut watch = watch(between);
            let mut at = Instant::now();
            until_it_looks(&mut watch, &mut at);
            let goes_on = look(&mut watch, &mut at, away, found);
            let passes = (!goes_on).then(|| until_it_looks(&mut watch, &mut at));
            assert_eq!(passes, passed, "{between:?}, away for {away:?}, found: {found}");
        }
    }

    #[test]
    fn one_without_patience_never_looks() {
        let mut watch = Watch::new(Duration::ZERO, Between::Keep, Company::default());
        let mut at = Instant::now();
        assert!((0..3).all(|_| !wait(&mut watch, &mut at, micros(1), true, 1)));
    }
}
