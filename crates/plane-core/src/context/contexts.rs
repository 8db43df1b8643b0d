//! Contexts in the memory of those whose calls are over.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use crate::context::signal::Signal;
use crate::context::{CallInfo, Canceller, Context, Shared};
use crate::name::{EndpointId, InstanceId};
use crate::peer::Peer;

/// So many are kept, until the connection has rested.
const MOST: usize = 256;

/// Makes the contexts of one connection's calls. Those that are over and that nobody holds any more are used again:
/// calls of one peer to one endpoint come by the thousand.
#[derive(Default)]
pub struct Contexts {
    spares: Vec<Arc<Shared>>,
}

impl Contexts {
    /// A context and the handle that cancels it.
    pub fn make(
        &mut self,
        endpoint: &EndpointId,
        instance: InstanceId,
        peer: &Arc<Peer>,
        deadline: Option<Instant>,
    ) -> (Context, Canceller) {
        let mut spare = self.spares.pop();
        if let Some(Shared { info, signal }) = spare.as_mut().and_then(Arc::get_mut) {
            if info.endpoint != *endpoint {
                info.endpoint = endpoint.clone();
            }
            if !Arc::ptr_eq(&info.peer, peer) {
                info.peer = peer.clone();
            }
            info.instance = instance;
            info.deadline = deadline;
            *signal = Signal::default();
        } else {
            spare = None;
        }
        match spare {
            Some(shared) => (Context { shared: shared.clone() }, Canceller { shared }),
            None => Context::new(CallInfo { endpoint: endpoint.clone(), instance, peer: peer.clone(), deadline }),
        }
    }

    /// The call of this one is over.
    pub fn keep(&mut self, canceller: Canceller) {
        let Canceller { shared } = canceller;
        // Whether nobody holds it is looked at again before it is used.
        if self.spares.len() < MOST && Arc::strong_count(&shared) == 1 {
            self.spares.push(shared);
        }
    }

    /// Gives the memory back: no calls have come for a while.
    pub fn rest(&mut self) {
        self.spares = Vec::new();
    }
}

impl fmt::Debug for Contexts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Contexts").field("spares", &self.spares.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::AbortReason;

    fn make(contexts: &mut Contexts, endpoint: &str, peer: &Arc<Peer>) -> (Context, Canceller) {
        contexts.make(&endpoint.parse().unwrap(), InstanceId::new(1).unwrap(), peer, None)
    }

    /// Nothing of a call shows in the next one.
    #[test]
    fn a_context_that_is_used_again_is_a_new_one() {
        let mut contexts = Contexts::default();
        let peers = [(); 2].map(|()| Arc::new(Peer::default()));
        let (context, canceller) = make(&mut contexts, "a.b.c", &peers[0]);
        let at = Arc::as_ptr(&context.shared);
        canceller.stop();
        canceller.abort(AbortReason::Cancelled);
        drop(context);
        contexts.keep(canceller);
        let instance = InstanceId::new(2).unwrap();
        let now = Instant::now();
        let (context, canceller) = contexts.make(&"a.b.d".parse().unwrap(), instance, &peers[1], Some(now));
        assert_eq!(Arc::as_ptr(&context.shared), at);
        assert_eq!((canceller.is_stopped(), context.abort_reason()), (false, None));
        assert_eq!(
            (context.endpoint().as_str(), context.instance(), context.deadline()),
            ("a.b.d", instance, Some(now))
        );
        assert!(std::ptr::eq(context.peer(), &*peers[1]));
    }

    /// A handler may keep its context for as long as it likes; it stays that of its call.
    #[test]
    fn a_context_that_somebody_holds_is_not_used_again() {
        let mut contexts = Contexts::default();
        let peer = Arc::new(Peer::default());
        let (held, canceller) = make(&mut contexts, "a.b.c", &peer);
        canceller.abort(AbortReason::Shutdown);
        contexts.keep(canceller);
        let (other, _) = make(&mut contexts, "a.b.c", &peer);
        assert!(!Arc::ptr_eq(&held.shared, &other.shared));
        assert_eq!((held.abort_reason(), other.abort_reason()), (Some(AbortReason::Shutdown), None));
    }

    #[test]
    fn so_many_are_kept_and_none_after_a_rest() {
        let mut contexts = Contexts::default();
        let peer = Arc::new(Peer::default());
        let all: Vec<_> = (0..=MOST).map(|_| make(&mut contexts, "a.b.c", &peer).1).collect();
        all.into_iter().for_each(|canceller| contexts.keep(canceller));
        assert_eq!(contexts.spares.len(), MOST);
        contexts.rest();
        assert_eq!(contexts.spares.capacity(), 0);
    }
}
