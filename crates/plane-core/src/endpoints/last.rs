//! Whom one connection called last.

use std::fmt;
use std::sync::{Arc, Weak};

use crate::endpoints::served::Served;
use crate::name::InstanceId;

/// Whom one connection called last: calls to it again are taken on without a look at the table.
#[derive(Default)]
pub struct LastCalled {
    /// Weak, because an idle connection must not keep a handler that was taken out.
    served: Weak<Served>,
    /// How often the table had been added to.
    additions: u64,
}

impl LastCalled {
    pub(super) fn note(&mut self, served: &Arc<Served>, additions: u64) {
        *self = Self { served: Arc::downgrade(served), additions };
    }

    /// Who was called last, with one call more, if it is who is called now and nobody came since who might be called instead.
    pub(super) fn again(&self, additions: u64, endpoint: &str, instance: Option<InstanceId>) -> Option<Arc<Served>> {
        if additions != self.additions {
            return None;
        }
        let served = self.served.upgrade()?;
        let found = served.instance.endpoint.as_str() == endpoint && instance.is_none_or(|id| id == served.instance.id);
        // One that was taken out lets no call in.
        (found && served.gauge.enter()).then_some(served)
    }
}

impl fmt::Debug for LastCalled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LastCalled").field("additions", &self.additions).finish_non_exhaustive()
    }
}
