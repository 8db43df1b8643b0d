//! What is announced here, and what was withdrawn and others are still to be told of.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::discovery::board::Key;

/// Withdrawals that wait to be told, at most: they pile up only while the server is away, and a forgotten one expires.
const MOST_WITHDRAWN: usize = 10_000;

/// What is announced here, and what was withdrawn.
#[derive(Debug, Default)]
pub(super) struct Own {
    announced: BTreeMap<Key, Announcement>,
    /// With the revision that was stored last, if it is known.
    withdrawn: BTreeMap<Key, Option<u64>>,
}

#[derive(Debug)]
struct Announcement {
    value: Bytes,
    stage: Stage,
    /// It was told that somebody else announces the same.
    contested: bool,
}

#[derive(Debug, Clone, Copy)]
enum Stage {
    /// Nothing was sent yet.
    Reserved,
    /// It is on its way, and may arrive whatever happens here.
    Sent,
    /// It is stored, at this revision.
    Stored(u64),
}

/// Whether a key is free to be announced.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reserved {
    Yes,
    /// It is announced here.
    Announced,
    /// It was withdrawn, and others are still to be told: what is stored next must not be deleted in its place.
    Withdrawing,
}

impl Own {
    pub(super) fn reserve(&mut self, key: &Key, value: &Bytes) -> Reserved {
        if self.announced.contains_key(key) {
            return Reserved::Announced;
        }
        if self.withdrawn.contains_key(key) {
            return Reserved::Withdrawing;
        }
        let announcement = Announcement { value: value.clone(), stage: Stage::Reserved, contested: false };
        self.announced.insert(key.clone(), announcement);
        Reserved::Yes
    }

    pub(super) fn sent(&mut self, key: &Key) {
        if let Some(own) = self.announced.get_mut(key) {
            own.stage = Stage::Sent;
        }
    }

    /// It is stored at this revision; also if it was withdrawn meanwhile.
    pub(super) fn stored(&mut self, key: &Key, revision: u64) {
        if let Some(own) = self.announced.get_mut(key) {
            own.stage = Stage::Stored(revision);
        } else if let Some(known) = self.withdrawn.get_mut(key) {
            *known = Some(revision);
        }
    }

    /// Somebody else announces the same; `true` the first time.
    pub(super) fn contested(&mut self, key: &Key) -> bool {
        self.announced.get_mut(key).is_some_and(|own| !std::mem::replace(&mut own.contested, true))
    }

    /// `true` if others must be told.
    pub(super) fn withdraw(&mut self, key: &Key) -> bool {
        let Some(own) = self.announced.remove(key) else { return false };
        let revision = match own.stage {
            Stage::Reserved => return false,
            Stage::Sent => None,
            Stage::Stored(revision) => Some(revision),
        };
        if self.withdrawn.len() >= MOST_WITHDRAWN {
            self.withdrawn.pop_first();
        }
        self.withdrawn.insert(key.clone(), revision);
        true
    }

    /// Others were told of the withdrawal.
    pub(super) fn told(&mut self, key: &Key) {
        self.withdrawn.remove(key);
    }

    pub(super) fn contains(&self, key: &Key) -> bool {
        self.announced.contains_key(key)
    }

    pub(super) fn is_idle(&self) -> bool {
        self.announced.is_empty() && self.withdrawn.is_empty()
    }

    pub(super) fn withdrawn(&self) -> &BTreeMap<Key, Option<u64>> {
        &self.withdrawn
    }

    /// What is stored and must be renewed.
    pub(super) fn stored_ones(&self) -> Vec<(Key, Bytes, u64)> {
        let stored = self.announced.iter().filter_map(|(key, own)| match own.stage {
            Stage::Stored(revision) => Some((key.clone(), own.value.clone(), revision)),
            Stage::Reserved | Stage::Sent => None,
        });
        stored.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(id: u64) -> Key {
        ("n.c.e".parse().unwrap(), plane_core::InstanceId::new(id).unwrap())
    }

    #[test]
    fn a_key_is_free_again_once_others_were_told() {
        let mut own = Own::default();
        assert_eq!(own.reserve(&key(1), &Bytes::new()), Reserved::Yes);
        assert_eq!(own.reserve(&key(1), &Bytes::new()), Reserved::Announced);
        own.sent(&key(1));
        own.stored(&key(1), 7);
        assert_eq!(own.stored_ones(), [(key(1), Bytes::new(), 7)]);
        assert!(own.withdraw(&key(1)) && !own.withdraw(&key(1)));
        assert_eq!(own.reserve(&key(1), &Bytes::new()), Reserved::Withdrawing);
        // A renewal that was on its way when it was withdrawn.
        own.stored(&key(1), 8);
        assert_eq!(own.withdrawn()[&key(1)], Some(8));
        own.told(&key(1));
        assert!(own.is_idle());
        assert_eq!(own.reserve(&key(1), &Bytes::new()), Reserved::Yes);
    }

    #[test]
    fn what_was_never_sent_needs_no_withdrawal() {
        let mut own = Own::default();
        own.reserve(&key(1), &Bytes::new());
        assert!(!own.withdraw(&key(1)));
        own.reserve(&key(1), &Bytes::new());
        own.sent(&key(1));
        assert!(own.withdraw(&key(1)));
        assert_eq!(own.withdrawn()[&key(1)], None);
    }

    #[test]
    fn withdrawals_do_not_pile_up() {
        let mut own = Own::default();
        for id in 1..=u64::try_from(MOST_WITHDRAWN).unwrap() + 10 {
            own.reserve(&key(id), &Bytes::new());
            own.sent(&key(id));
            own.withdraw(&key(id));
        }
        assert_eq!(own.withdrawn().len(), MOST_WITHDRAWN);
    }
}
