//! Which instances a client may call.

use std::sync::Arc;

use parking_lot::Mutex;
use plane_core::Instance;

use crate::discovery::InstanceSet;

/// The instances that are wanted, worked out once per change of the set: a call must not pay for all of them.
pub(super) struct Selection {
    wanted: Box<dyn Fn(&Instance) -> bool + Send + Sync>,
    last: Mutex<Worked>,
}

/// The last set that was seen, and those of it that are wanted.
#[derive(Default)]
struct Worked {
    all: InstanceSet,
    wanted: InstanceSet,
}

impl Selection {
    pub(super) fn new(wanted: impl Fn(&Instance) -> bool + Send + Sync + 'static) -> Self {
        Self { wanted: Box::new(wanted), last: Mutex::default() }
    }

    pub(super) fn contains(&self, instance: &Instance) -> bool {
        (self.wanted)(instance)
    }

    /// Those of the set that are wanted.
    pub(super) fn of(&self, all: &InstanceSet) -> InstanceSet {
        let mut last = self.last.lock();
        if !Arc::ptr_eq(&last.all, all) {
            let wanted = all.iter().filter(|instance| self.contains(instance)).cloned().collect();
            *last = Worked { all: all.clone(), wanted };
        }
        last.wanted.clone()
    }
}
