//! The table of calls of one connection.

use std::ops::Deref;
use std::time::Instant;

use rustc_hash::FxHashMap;

use crate::proto::call::{Call, Role, Windows};

/// So much memory of calls that are over is kept, until the connection has rested.
const MOST: usize = 256;

/// The calls of one connection, by their ids. Those to come take the memory of those that are over, so that nothing as large
/// is moved or asked of the allocator for each.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    #[expect(clippy::vec_box, reason = "what is kept moves between the list and the table as it is")]
    spares: Vec<Box<Call>>,
    table: FxHashMap<u64, Box<Call>>,
}

impl Calls {
    /// A call that is in no table yet.
    pub(crate) fn make(&mut self, windows: Windows, deadline: Option<Instant>, role: Role) -> Box<Call> {
        match self.spares.pop() {
            Some(mut call) => {
                call.reset(windows, deadline, role);
                call
            }
            None => Box::new(Call::new(windows, deadline, role)),
        }
    }

    pub(crate) fn get_mut(&mut self, id: u64) -> Option<&mut Call> {
        self.table.get_mut(&id).map(|call| &mut **call)
    }

    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut Call> {
        self.table.values_mut().map(|call| &mut **call)
    }

    /// Puts a call in the table.
    pub(crate) fn insert(&mut self, id: u64, call: Box<Call>) {
        self.table.insert(id, call);
    }

    /// Takes a call out of the table, if it is there. It should come back with [`keep`](Self::keep).
    pub(crate) fn take(&mut self, id: u64) -> Option<Box<Call>> {
        self.table.remove(&id)
    }

    /// Keeps the memory of a call that is over, and nothing else of it.
    pub(crate) fn keep(&mut self, mut call: Box<Call>) {
        if self.spares.len() < MOST {
            call.clear();
            self.spares.push(call);
        }
    }

    /// Drops a call.
    pub(crate) fn remove(&mut self, id: u64) {
        if let Some(call) = self.take(id) {
            self.keep(call);
        }
    }

    /// Gives the memory back: no calls have come for a while.
    pub(crate) fn rest(&mut self) {
        self.spares = Vec::new();
        self.table.shrink_to_fit();
    }
}

impl Deref for Calls {
    type Target = FxHashMap<u64, Box<Call>>;

    fn deref(&self) -> &Self::Target {
        &self.table
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::task::Waker;
    use std::time::Duration;

    use bytes::Bytes;
    use plane_core::{AbortReason, Contexts, InstanceId, Peer};

    use super::*;
    use crate::proto::call::{Caller, Handling};
    use crate::proto::partial::Reassembly;
    use crate::proto::receiving::Limits;
    use crate::proto::sending::Ending;

    const WINDOWS: Windows = Windows { theirs: 10_000, ours: 20_000 };

    /// A call to which everything has happened that can.
    fn used(calls: &mut Calls, now: Instant, role: Role) -> Box<Call> {
        let mut call = calls.make(WINDOWS, Some(now), role);
        let reassembly = Reassembly::new(1 << 20);
        let limits = Limits { max_message: 1 << 20, reassembly: &reassembly, read: 7 };
        for (length, more) in [(5, false); 40].into_iter().chain([(100, true)]) {
            call.receiving.push(vec![1; length].into(), more, true, limits).expect("within the credit");
        }
        call.receiving.pop().expect("it came");
        call.sending.push(vec![1; 20_001].into(), false);
        call.sending.next_chunk(1000, u32::MAX).expect("a first chunk");
        assert!(call.sending.next_chunk(1000, 1).is_none(), "it gives way");
        call.sending.finish(Ending::orderly());
        call.sending.cut();
        call.sending.queued = true;
        call.reader = Some(Waker::noop().clone());
        call.sender = Some(Waker::noop().clone());
        call.end(Ok(None), &mut Vec::new());
        call
    }

    /// Nothing of a call shows in the next one.
    #[test]
    fn a_call_in_used_memory_is_a_new_one() {
        let now = Instant::now();
        let asks = || {
            let caller = Caller { accept_by: Some(now), open: true, ..Caller::default() };
            Role::Caller(Caller { begun: true, abandoned: true, cancelled: true, ..caller })
        };
        let answers = || {
            let endpoint = "a.b.c".parse().expect("a valid name");
            let instance = InstanceId::new(1).expect("not zero");
            let (_, canceller) = Contexts::default().make(&endpoint, instance, &Arc::new(Peer::default()), None);
            canceller.abort(AbortReason::Shutdown);
            Role::Handler(Handling { canceller, begun: true, notice_at: Some(now) })
        };
        for role in [asks(), answers()] {
            let mut calls = Calls::default();
            let call = used(&mut calls, now, role);
            let at = std::ptr::from_ref(&*call);
            calls.keep(call);
            let windows = Windows { theirs: 1, ours: 2 };
            let deadline = now + Duration::from_secs(1);
            for deadline in [Some(deadline), None] {
                let again = calls.make(windows, deadline, Role::default());
                assert_eq!(std::ptr::from_ref(&*again), at);
                assert_eq!(format!("{again:?}"), format!("{:?}", Call::new(windows, deadline, Role::default())));
                calls.keep(again);
            }
        }
    }

    /// What came and was not read, or was not sent, is dropped with the call and not with its memory.
    #[test]
    fn kept_memory_holds_nothing() {
        let mut calls = Calls::default();
        let mut call = used(&mut calls, Instant::now(), Role::default());
        let message = Bytes::from(vec![7; 100]);
        call.sending.reset(10_000);
        call.sending.push(message.clone(), false);
        calls.keep(call);
        assert!(message.is_unique());
    }

    #[test]
    fn so_many_are_kept_and_none_after_a_rest() {
        let mut calls = Calls::default();
        let all: Vec<_> = (0..=MOST).map(|_| calls.make(WINDOWS, None, Role::default())).collect();
        (0_u64..).zip(all).for_each(|(id, call)| calls.insert(id, call));
        (0_u64..=MOST as u64).for_each(|id| calls.remove(id));
        assert_eq!((calls.spares.len(), calls.len()), (MOST, 0));
        calls.rest();
        assert_eq!((calls.spares.capacity(), calls.capacity()), (0, 0));
    }
}
