//! The calls in flight of one side.

use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use tokio::sync::Notify;

use crate::context::{AbortReason, Canceller};
use crate::report::DrainReport;

/// The calls in flight of one side: they can be waited for, and aborted together.
#[derive(Debug, Clone, Default)]
pub(super) struct Running {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    table: Mutex<Table>,
    /// Rings when the last call leaves.
    empty: Notify,
}

#[derive(Debug, Default)]
struct Table {
    calls: FxHashMap<u64, Canceller>,
    next: u64,
    closed: Option<AbortReason>,
}

impl Running {
    /// Puts a call in the table until the entry is dropped. One that comes after the table was closed is aborted.
    pub(super) fn enter(&self, canceller: &Canceller) -> Entry {
        let mut table = self.shared.table.lock();
        let key = table.next;
        table.next += 1;
        table.calls.insert(key, canceller.clone());
        let closed = table.closed;
        drop(table);
        if let Some(reason) = closed {
            canceller.abort(reason);
        }
        Entry { shared: self.shared.clone(), key }
    }

    pub(super) fn len(&self) -> usize {
        self.shared.table.lock().calls.len()
    }

    /// Aborts every call, and those that come later.
    pub(super) fn abort_all(&self, reason: AbortReason) {
        let cancellers: Vec<_> = {
            let mut table = self.shared.table.lock();
            table.closed = Some(reason);
            table.calls.values().cloned().collect()
        };
        for canceller in cancellers {
            canceller.abort(reason);
        }
    }

    /// Waits until no call is in flight, at most until `deadline`; tells how many finished and how many were left.
    pub(super) async fn wait_until_empty(&self, deadline: Instant) -> DrainReport {
        let before = self.len();
        let empty = async {
            loop {
                let bell = self.shared.empty.notified();
                if self.len() == 0 {
                    return;
                }
                bell.await;
            }
        };
        // Whether it was in time shows in the table.
        let _ = tokio::time::timeout_at(deadline.into(), empty).await;
        let left = self.len();
        DrainReport::new(before.saturating_sub(left) as u64, left as u64)
    }
}

/// A call's place in the table.
#[derive(Debug)]
pub(super) struct Entry {
    shared: Arc<Shared>,
    key: u64,
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut table = self.shared.table.lock();
        table.calls.remove(&self.key);
        let last = table.calls.is_empty();
        drop(table);
        if last {
            self.shared.empty.notify_waiters();
        }
    }
}
