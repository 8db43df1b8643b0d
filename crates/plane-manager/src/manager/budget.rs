//! How many retries a client may make, so that retries never make an overload worse.

use std::sync::atomic::{AtomicU32, Ordering};

/// What a call earns: ten calls pay for one retry.
const EARNED: u32 = 1;
const RETRY: u32 = 10;
/// What is saved at most, and there at the start: enough for every call in flight when an instance goes.
const MOST: u32 = 1_000 * RETRY;

/// Saved retries. In the long run retries add a tenth to the calls at most.
#[derive(Debug)]
pub(super) struct RetryBudget {
    saved: AtomicU32,
}

impl Default for RetryBudget {
    fn default() -> Self {
        Self { saved: AtomicU32::new(MOST) }
    }
}

impl RetryBudget {
    /// A call was made.
    pub(super) fn earn(&self) {
        // Full is the common case and costs no write that other threads would see.
        if self.saved.load(Ordering::Relaxed) < MOST {
            self.saved.fetch_add(EARNED, Ordering::Relaxed);
        }
    }

    /// Whether one more retry may be made; it is paid for if so.
    pub(super) fn spend(&self) -> bool {
        let pay = |saved: u32| saved.checked_sub(RETRY);
        self.saved.fetch_update(Ordering::Relaxed, Ordering::Relaxed, pay).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In the long run retries add at most a tenth.
    #[test]
    fn retries_are_a_tenth_of_the_calls() {
        let budget = RetryBudget::default();
        while budget.spend() {}
        let retries = (0..1_000)
            .filter(|_| {
                budget.earn();
                budget.spend()
            })
            .count();
        assert_eq!(retries, 100);
    }

    #[test]
    fn a_quiet_budget_is_bounded() {
        let budget = RetryBudget::default();
        for _ in 0..100 {
            budget.earn();
        }
        assert_eq!((0..).take_while(|_| budget.spend()).count(), 1_000);
    }
}
