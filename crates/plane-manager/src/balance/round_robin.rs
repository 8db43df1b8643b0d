//! Each in its turn.

use std::sync::atomic::{AtomicUsize, Ordering};

use plane_core::{Instance, InstanceId};

use super::InstancePicker;

/// Each instance in its turn, starting at a random one so that many clients do not all start with the first.
#[derive(Debug)]
pub struct RoundRobin {
    next: AtomicUsize,
}

impl Default for RoundRobin {
    fn default() -> Self {
        Self { next: AtomicUsize::new(fastrand::usize(..)) }
    }
}

impl InstancePicker for RoundRobin {
    fn pick<'a>(&self, instances: &'a [Instance], tried: &[InstanceId]) -> Option<&'a Instance> {
        let start = self.next.fetch_add(1, Ordering::Relaxed).checked_rem(instances.len())?;
        let (before, from) = instances.split_at(start);
        from.iter().chain(before).find(|instance| !tried.contains(&instance.id))
    }
}
