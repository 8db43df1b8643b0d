//! When each instance was last heard of.

use std::collections::BTreeMap;

use tokio::time::{Duration, Instant};

use crate::discovery::board::Key;

/// When each instance of others was last heard of, by this machine's clock.
#[derive(Debug, Default)]
pub(super) struct Heard {
    last: BTreeMap<Key, Instant>,
}

impl Heard {
    pub(super) fn note(&mut self, key: Key, now: Instant) {
        self.last.insert(key, now);
    }

    pub(super) fn forget(&mut self, key: &Key) {
        self.last.remove(key);
    }

    /// Nobody could be heard until then: that is no silence.
    pub(super) fn excuse(&mut self, until: Instant) {
        for last in self.last.values_mut() {
            *last = until.max(*last);
        }
    }

    /// Those that were not heard of for this long.
    pub(super) fn silent(&self, now: Instant, patience: Duration) -> Vec<Key> {
        let silent = self.last.iter().filter(|(_, last)| now.saturating_duration_since(**last) > patience);
        silent.map(|(key, _)| key.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn key(id: u64) -> Key {
        ("n.c.e".parse().unwrap(), plane_core::InstanceId::new(id).unwrap())
    }

    #[test]
    fn an_outage_is_no_silence() {
        let (mut heard, start) = (Heard::default(), Instant::now());
        heard.note(key(1), start);
        heard.note(key(2), start);
        assert!(heard.silent(start + SECOND, SECOND).is_empty());
        let back = start + 60 * SECOND;
        assert_eq!(heard.silent(back, SECOND).len(), 2);
        heard.excuse(back);
        assert!(heard.silent(back + SECOND, SECOND).is_empty());
        heard.note(key(1), back + SECOND);
        assert_eq!(heard.silent(back + 2 * SECOND, SECOND), [key(2)]);
        heard.forget(&key(2));
        assert!(heard.silent(back + 2 * SECOND, SECOND).is_empty());
    }
}
