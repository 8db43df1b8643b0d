//! The calls in flight of one server.

use std::sync::Arc;

use async_nats::Message;
use parking_lot::Mutex;
use plane_core::AbortReason;
use rustc_hash::FxHashMap;
use tokio::sync::Notify;

use super::call::Call;

/// The calls in flight, by the ids that their callers gave them.
#[derive(Debug, Default)]
pub(super) struct Calls {
    table: Mutex<Table>,
    empty: Notify,
}

#[derive(Debug, Default)]
struct Table {
    calls: FxHashMap<Box<str>, Arc<Call>>,
    closed: Option<AbortReason>,
}

impl Calls {
    /// Whether there is a call of this id.
    pub(super) fn has(&self, id: &str) -> bool {
        self.table.lock().calls.contains_key(id)
    }

    /// Puts a call in the table until the entry is dropped; `None` if its id is there already.
    pub(super) fn enter(self: &Arc<Self>, call: &Arc<Call>) -> Option<Entry> {
        let mut table = self.table.lock();
        if table.calls.contains_key(call.id()) {
            return None;
        }
        table.calls.insert(call.id().into(), call.clone());
        let closed = table.closed;
        drop(table);
        if let Some(reason) = closed {
            call.canceller.abort(reason);
        }
        Some(Entry { calls: self.clone(), call: call.clone() })
    }

    /// Whether one call at most is in flight.
    pub(super) fn is_alone(&self) -> bool {
        self.table.lock().calls.len() <= 1
    }

    /// Puts a call in the table under an id that this side has just made up.
    pub(super) fn enter_new(self: &Arc<Self>, call: &Arc<Call>) -> Entry {
        // 128 random bits are not there already.
        self.enter(call).unwrap_or_else(|| Entry { calls: self.clone(), call: call.clone() })
    }

    /// Hands a message to the call that it is for; one that has ended needs none.
    pub(super) fn take(&self, id: &str, message: Message) {
        let call = self.table.lock().calls.get(id).cloned();
        if let Some(call) = call {
            call.take(message);
        }
    }

    /// No caller can be reached any more.
    pub(super) fn lose_callers(&self) {
        let calls: Vec<_> = self.table.lock().calls.values().cloned().collect();
        for call in calls {
            call.lose_caller(AbortReason::Disconnected);
        }
    }

    /// Looks at every call once more.
    pub(super) fn look(&self) -> Vec<Arc<Call>> {
        let calls: Vec<_> = self.table.lock().calls.values().cloned().collect();
        calls.iter().for_each(|call| call.look());
        calls
    }

    /// Aborts every call, and those that come later as well.
    pub(super) fn abort_all(&self, reason: AbortReason) {
        let calls: Vec<_> = {
            let mut table = self.table.lock();
            table.closed = Some(reason);
            table.calls.values().cloned().collect()
        };
        for call in calls {
            call.canceller.abort(reason);
        }
    }

    /// Waits until every call has said its last word.
    pub(super) async fn wait_until_empty(&self) {
        loop {
            let bell = self.empty.notified();
            if self.table.lock().calls.is_empty() {
                return;
            }
            bell.await;
        }
    }
}

/// A call's place in the table.
#[derive(Debug)]
pub(super) struct Entry {
    calls: Arc<Calls>,
    call: Arc<Call>,
}

impl Entry {
    /// Whether no other call is in flight.
    pub(super) fn is_alone(&self) -> bool {
        self.calls.is_alone()
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut table = self.calls.table.lock();
        table.calls.remove(self.call.id());
        let last = table.calls.is_empty();
        drop(table);
        if last {
            self.calls.empty.notify_waiters();
        }
    }
}
