//! How often a peer may do something cheap.

use std::time::{Duration, Instant};

use crate::config::Rate;

/// Tokens that are spent one by one and come back with time.
#[derive(Debug)]
pub(crate) struct Budget {
    tokens: u32,
    most: u32,
    /// How long one token takes to come back.
    every: Duration,
    counted_from: Instant,
}

impl Budget {
    /// A full budget of as many tokens as may be spent at once, which come back at this rate.
    pub(crate) fn new(rate: Rate, now: Instant) -> Self {
        let every = Duration::from_secs(1) / rate.per_second.max(1);
        Self { tokens: rate.at_once, most: rate.at_once, every, counted_from: now }
    }

    /// Takes one token; false if there is none.
    pub(crate) fn spend(&mut self, now: Instant) -> bool {
        if self.tokens == 0 {
            self.refill(now);
        }
        match self.tokens.checked_sub(1) {
            Some(left) => {
                self.tokens = left;
                true
            }
            None => false,
        }
    }

    /// Gives one token back for honest work.
    pub(crate) fn earn(&mut self) {
        self.tokens = self.tokens.max(self.most.min(self.tokens.saturating_add(1)));
    }

    /// Allows this much more, once.
    pub(crate) fn grant(&mut self, tokens: u32) {
        self.tokens = self.tokens.saturating_add(tokens);
    }

    fn refill(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.counted_from);
        let back = u32::try_from(elapsed.as_nanos() / self.every.as_nanos()).unwrap_or(u32::MAX);
        if back > 0 {
            self.tokens = self.most.min(back);
            self.counted_from = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_run_out_and_come_back() {
        let start = Instant::now();
        let mut budget = Budget::new(Rate { at_once: 2, per_second: 10 }, start);
        assert!(budget.spend(start) && budget.spend(start) && !budget.spend(start));
        let later = start + Duration::from_millis(100);
        assert!(budget.spend(later) && !budget.spend(later));
        budget.earn();
        assert!(budget.spend(later));
        let much_later = start + Duration::from_secs(3600);
        assert!(budget.spend(much_later) && budget.spend(much_later) && !budget.spend(much_later));
    }

    /// One who asks more often than tokens come back must not keep them from coming back.
    #[test]
    fn to_ask_in_vain_costs_nothing() {
        let start = Instant::now();
        let mut budget = Budget::new(Rate { at_once: 1, per_second: 10 }, start);
        assert!(budget.spend(start));
        let asks = (1..=20).map(|asks| start + asks * Duration::from_millis(30));
        assert_eq!(asks.filter(|now| budget.spend(*now)).count(), 5, "one after 120 ms each, in 600 ms");
    }

    /// What is granted counts beside the reserve; what is earned fills the reserve up and no more.
    #[test]
    fn grants_go_beyond_the_reserve_and_honest_work_does_not() {
        let start = Instant::now();
        let spent = |grant: u32, earn: u32| {
            let mut budget = Budget::new(Rate { at_once: 2, per_second: 10 }, start);
            budget.grant(grant);
            (0..earn).for_each(|_| budget.earn());
            (0..10).filter(|_| budget.spend(start)).count()
        };
        assert_eq!((spent(0, 0), spent(0, 3), spent(3, 0), spent(3, 3)), (2, 2, 5, 5));
    }
}
