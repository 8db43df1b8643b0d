//! Which instances a client may call.

use std::sync::Arc;

use parking_lot::Mutex;
use plane_core::{Error, Instance};

use crate::discovery::InstanceSet;
use crate::transports::Reach;

/// The instances that can be called and are wanted, worked out once per change of the set: a call must not pay for all
/// of them.
pub(super) struct Selection {
    reach: Reach,
    /// All of them if `None`.
    wanted: Option<Wanted>,
    last: Mutex<Worked>,
}

type Wanted = Arc<dyn Fn(&Instance) -> bool + Send + Sync>;

/// The last set that was seen, and those of it that may be called.
#[derive(Default)]
struct Worked {
    all: InstanceSet,
    chosen: InstanceSet,
}

impl Selection {
    /// Whatever can be called.
    pub(super) fn new(reach: Reach) -> Self {
        Self { reach, wanted: None, last: Mutex::default() }
    }

    /// Those of these for which `wanted` is true as well.
    pub(super) fn only(&self, wanted: impl Fn(&Instance) -> bool + Send + Sync + 'static) -> Self {
        let outer = self.wanted.clone();
        let both = move |instance: &Instance| outer.as_ref().is_none_or(|outer| outer(instance)) && wanted(instance);
        Self { reach: self.reach, wanted: Some(Arc::new(both)), last: Mutex::default() }
    }

    pub(super) fn contains(&self, instance: &Instance) -> bool {
        self.reach.covers(&instance.address) && self.is_wanted(instance)
    }

    fn is_wanted(&self, instance: &Instance) -> bool {
        self.wanted.as_ref().is_none_or(|wanted| wanted(instance))
    }

    /// Whether only some instances are wanted.
    pub(super) fn is_narrow(&self) -> bool {
        self.wanted.is_some()
    }

    /// Why none of these can be called, if one is wanted.
    pub(super) fn refusal(&self, all: &InstanceSet) -> Option<Error> {
        let wanted = all.iter().find(|instance| self.is_wanted(instance))?;
        Some(self.reach.refusal(&wanted.address))
    }

    /// Those of the set that may be called.
    pub(super) fn of(&self, all: &InstanceSet) -> InstanceSet {
        let mut last = self.last.lock();
        if !Arc::ptr_eq(&last.all, all) {
            let chosen = all.iter().filter(|instance| self.contains(instance)).cloned().collect();
            *last = Worked { all: all.clone(), chosen };
        }
        last.chosen.clone()
    }
}
