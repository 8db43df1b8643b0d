//! Callers that say now and then that they are there, and are missed when they do not.
//!
//! NATS tells when nobody listens for an answer any more. A caller whose network fails without a word is still listened for,
//! until NATS gives its connection up: that takes minutes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use plane_core::AbortReason;
use rustc_hash::FxHashMap;

use super::call::{Call, LOOKS};
use super::calls::Calls;

/// Callers that are known at once. With more, none is missed: NATS tells of them in its own time.
const MOST: usize = 65_536;

/// A caller that says so each half second is not missed sooner than this, however short the keepalive is.
const LEAST_PATIENCE: Duration = Duration::from_secs(2);

/// When each caller, by its inbox, last said that it is there.
#[derive(Debug, Default)]
pub(super) struct Callers {
    heard: Mutex<FxHashMap<Box<str>, Instant>>,
}

impl Callers {
    /// A caller says that it is there, and where NATS were to tell it that this server is not.
    pub(super) fn hear(&self, reply: &str, now: Instant) {
        let Some((inbox, _)) = reply.rsplit_once('.') else { return };
        let mut heard = self.heard.lock();
        let is_full = heard.len() >= MOST;
        match heard.get_mut(inbox) {
            Some(last) => *last = now,
            None if is_full => {}
            None => _ = heard.insert(inbox.into(), now),
        }
    }

    /// Forgets callers that are silent; the calls whose callers are known to be.
    fn missed<'a>(&self, calls: &'a [Arc<Call>], patience: Duration, now: Instant) -> Vec<&'a Call> {
        let mut heard = self.heard.lock();
        let is_full = heard.len() >= MOST;
        heard.retain(|_, last| now.saturating_duration_since(*last) <= patience);
        if is_full {
            return Vec::new();
        }
        let is_missed = |call: &&Call| call.is_old() && call.inbox().is_some_and(|inbox| !heard.contains_key(inbox));
        calls.iter().map(|call| &**call).filter(is_missed).collect()
    }
}

/// Looks again and again for calls that have been in flight for as long as a caller may be silent, and were not heard of.
pub(super) async fn watch(callers: &Callers, calls: &Calls, patience: Duration) {
    let patience = patience.max(LEAST_PATIENCE);
    loop {
        tokio::time::sleep(patience / LOOKS).await;
        let calls = calls.look();
        for call in callers.missed(&calls, patience, Instant::now()) {
            call.lose_caller(AbortReason::Disconnected);
        }
    }
}

#[cfg(test)]
mod tests {
    use plane_core::{CallInfo, Context, InstanceId, Peer};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(15);

    fn call(reply: &str, looks: u32) -> Arc<Call> {
        let info = CallInfo {
            endpoint: "test.nats.callers".parse().unwrap(),
            instance: InstanceId::new(1).unwrap(),
            peer: Arc::new(Peer::new("nats", "")),
            deadline: None,
        };
        let (_, canceller) = Context::new(info);
        let call = Call::new(reply.into(), "p.@1.x".into(), canceller, 0, None);
        (0..looks).for_each(|_| call.look());
        Arc::new(call)
    }

    fn missed(callers: &Callers, calls: &[Arc<Call>], now: Instant) -> Vec<String> {
        callers.missed(calls, PATIENCE, now).into_iter().map(|call| call.reply.to_string()).collect()
    }

    #[test]
    fn a_caller_is_missed_once_it_is_silent_for_too_long() {
        let (callers, began) = (Callers::default(), Instant::now());
        let old = LOOKS + 1;
        // The last two promise nothing: one is a plain client, the other's call has only begun.
        let calls = [call("in.a.+1", old), call("in.b.+1", old), call("in.plain", old), call("in.new.+1", 1)];
        callers.hear("in.a.@1", began);
        callers.hear("in.b.@1", began + PATIENCE);
        assert_eq!(missed(&callers, &calls, began + PATIENCE), Vec::<String>::new());
        assert_eq!(missed(&callers, &calls, began + PATIENCE + Duration::from_millis(1)), ["in.a.+1"]);
    }

    #[test]
    fn the_table_is_bounded_and_empties() {
        let (callers, began) = (Callers::default(), Instant::now());
        for number in 0..=MOST {
            callers.hear(&format!("in.{number}.@1"), began);
        }
        assert_eq!(callers.heard.lock().len(), MOST);
        assert!(missed(&callers, &[call("in.more.+1", LOOKS + 1)], began).is_empty());
        missed(&callers, &[], began + 2 * PATIENCE);
        assert_eq!(callers.heard.lock().len(), 0);
    }
}
