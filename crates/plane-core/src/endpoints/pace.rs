//! Whether a handler may be polled in the task that reads its connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Whether a handler has been quick so far: then a connection polls it in its own task first, which saves a task for
/// an answer that is ready. One that is slow runs in a task of its own from the start, so that it holds nobody up.
#[derive(Debug, Clone, Default)]
pub struct Pace {
    quick_in_a_row: Arc<AtomicUsize>,
}

impl Pace {
    /// A handler has to be quick this often before it is trusted.
    const PROBATION: usize = 8;

    /// A first poll that takes longer than this holds other calls up.
    const QUICK: Duration = Duration::from_micros(200);

    /// Whether the handler's first polls have been quick lately.
    #[must_use]
    pub fn is_quick(&self) -> bool {
        self.quick_in_a_row.load(Ordering::Relaxed) >= Self::PROBATION
    }

    /// Whether both are of the same handler.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.quick_in_a_row, &other.quick_in_a_row)
    }

    /// A first poll took this long.
    pub fn note(&self, took: Duration) {
        if took > Self::QUICK {
            self.quick_in_a_row.store(0, Ordering::Relaxed);
        } else if !self.is_quick() {
            self.quick_in_a_row.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What docs/design-faq.md says: eight quick polls in a row are trusted, one slow one ends that.
    #[test]
    fn trust_is_earned_and_lost() {
        let pace = Pace::default();
        for _ in 0..2 {
            for _ in 0..8 {
                assert!(!pace.is_quick());
                pace.note(Duration::from_micros(200));
            }
            assert!(pace.is_quick());
            pace.note(Duration::from_micros(201));
        }
        assert!(!pace.is_quick());
    }
}
