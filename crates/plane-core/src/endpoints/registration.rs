//! A handler's place in a server's table.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use crate::address::Instance;
use crate::endpoints::drained::drained;
use crate::endpoints::served::{Served, Shared};
use crate::endpoints::tally::Tally;
use crate::report::DrainReport;

/// A handler's place in a server's table. Dropping it takes the handler out; its calls in flight go on.
#[must_use = "dropping a registration unregisters the handler"]
pub struct Registration {
    pub(super) shared: Arc<Shared>,
    pub(super) served: Arc<Served>,
    pub(super) guard: Option<Box<dyn Any + Send + Sync>>,
}

impl Registration {
    /// What was registered, and where it is reached.
    #[must_use]
    pub fn instance(&self) -> &Instance {
        &self.served.instance
    }

    /// What the handler has done so far.
    #[must_use]
    pub fn tally(&self) -> &Tally {
        &self.served.tally
    }

    /// The same, keeping `guard` for as long: a transport that has more than the table to clear does so in its drop.
    pub fn with_guard(mut self, guard: impl Any + Send + Sync) -> Self {
        self.guard = Some(Box::new(guard));
        self
    }

    /// Takes the handler out and waits for its calls in flight, at most until `deadline`. What is left then goes on;
    /// the report counts it as `aborted` only in the sense that this wait was.
    pub async fn unregister(self, deadline: Instant) -> DrainReport {
        let served = self.served.clone();
        drop(self);
        drained(&served.gauge, deadline).await
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let Instance { endpoint, id, .. } = &self.served.instance;
        let mut table = self.shared.table.write();
        if let Some(served) = table.get_mut(endpoint) {
            served.retain(|served| served.instance.id != *id);
            if served.is_empty() {
                table.remove(endpoint);
            }
        }
        // Connections that called it last know it still.
        self.served.gauge.close();
        drop(table);
        self.guard = None;
    }
}

impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Registration").field(&self.served.instance).finish()
    }
}
