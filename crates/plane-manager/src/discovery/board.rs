//! The instances that a backend knows, and those who watch them.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use parking_lot::Mutex;
use plane_core::{EndpointId, Instance, InstanceId};
use tokio::sync::watch;

use super::{InstanceSet, InstanceWatch};

/// What tells instances apart and orders them.
pub(super) type Key = (EndpointId, InstanceId);

pub(super) fn key(instance: &Instance) -> Key {
    (instance.endpoint.clone(), instance.id)
}

/// The instances that are known, and the watches on them. A change wakes only those whose set changed.
#[derive(Debug)]
pub(super) struct Board {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    known: BTreeMap<Key, Instance>,
    all: watch::Sender<InstanceSet>,
    by_endpoint: BTreeMap<EndpointId, watch::Sender<InstanceSet>>,
}

impl Default for Board {
    fn default() -> Self {
        let all = watch::Sender::new(InstanceSet::default());
        Self { state: Mutex::new(State { known: BTreeMap::new(), all, by_endpoint: BTreeMap::new() }) }
    }
}

impl Board {
    /// Adds an instance; `false` if it is there already.
    pub(super) fn insert(&self, instance: Instance) -> bool {
        let mut state = self.state.lock();
        let endpoint = instance.endpoint.clone();
        match state.known.entry(key(&instance)) {
            Entry::Occupied(_) => return false,
            Entry::Vacant(place) => place.insert(instance),
        };
        state.tell(&endpoint);
        true
    }

    pub(super) fn remove(&self, key: &Key) {
        let mut state = self.state.lock();
        if state.known.remove(key).is_some() {
            state.tell(&key.0);
        }
    }

    /// Adds, changes or forgets (`None`) these instances, as one change.
    #[cfg(feature = "nats")]
    pub(super) fn update(&self, changes: BTreeMap<Key, Option<Instance>>) {
        let mut state = self.state.lock();
        let mut touched = BTreeSet::new();
        for (key, now) in changes {
            if state.known.get(&key) != now.as_ref() {
                touched.insert(key.0.clone());
                match now {
                    Some(instance) => drop(state.known.insert(key, instance)),
                    None => drop(state.known.remove(&key)),
                }
            }
        }
        state.tell_touched(&touched);
    }

    /// Makes these the known instances.
    pub(super) fn replace(&self, found: BTreeMap<Key, Instance>) {
        let mut state = self.state.lock();
        let before = std::mem::replace(&mut state.known, found);
        let after = &state.known;
        let gone_or_changed = before.iter().filter(|(key, old)| after.get(*key) != Some(*old)).map(|(key, _)| &key.0);
        let new = after.keys().filter(|key| !before.contains_key(*key)).map(|key| &key.0);
        let touched: BTreeSet<EndpointId> = gone_or_changed.chain(new).cloned().collect();
        state.tell_touched(&touched);
    }

    pub(super) fn watch(&self, endpoint: &EndpointId) -> InstanceWatch {
        let mut state = self.state.lock();
        let State { known, by_endpoint, .. } = &mut *state;
        by_endpoint.entry(endpoint.clone()).or_insert_with(|| watch::Sender::new(of(known, endpoint))).subscribe()
    }

    pub(super) fn watch_all(&self) -> InstanceWatch {
        self.state.lock().all.subscribe()
    }

    pub(super) fn list(&self) -> Vec<Instance> {
        self.state.lock().known.values().cloned().collect()
    }
}

impl State {
    fn tell(&mut self, endpoint: &EndpointId) {
        self.tell_endpoint(endpoint);
        self.tell_all();
    }

    fn tell_touched(&mut self, touched: &BTreeSet<EndpointId>) {
        for endpoint in touched {
            self.tell_endpoint(endpoint);
        }
        if !touched.is_empty() {
            self.tell_all();
        }
    }

    fn tell_endpoint(&mut self, endpoint: &EndpointId) {
        let Some(sender) = self.by_endpoint.get(endpoint) else { return };
        if sender.receiver_count() == 0 {
            self.by_endpoint.remove(endpoint);
        } else {
            sender.send_replace(of(&self.known, endpoint));
        }
    }

    fn tell_all(&self) {
        self.all.send_replace(self.known.values().cloned().collect());
    }
}

fn of(known: &BTreeMap<Key, Instance>, endpoint: &EndpointId) -> Arc<[Instance]> {
    let Some(first) = InstanceId::new(1) else { return InstanceSet::default() };
    let from = (endpoint.clone(), first);
    known.range(from..).take_while(|(key, _)| key.0 == *endpoint).map(|(_, instance)| instance.clone()).collect()
}

#[cfg(test)]
mod tests {
    use plane_core::Address;

    use super::*;

    fn instance(endpoint: &str, id: u64) -> Instance {
        Instance {
            endpoint: endpoint.parse().unwrap(),
            id: InstanceId::new(id).unwrap(),
            address: Address::mem("x"),
            metadata: BTreeMap::new(),
        }
    }

    fn ids(set: &[Instance]) -> Vec<u64> {
        set.iter().map(|instance| instance.id.get()).collect()
    }

    /// Case C10: an event about one instance does not reset what is known about the others.
    #[test]
    fn a_change_wakes_only_those_it_concerns() {
        let board = Board::default();
        let (a, b) = (instance("n.c.a", 1), instance("n.c.b", 2));
        let mut watch_a = board.watch(&a.endpoint);
        let mut watch_b = board.watch(&b.endpoint);
        assert!(board.insert(a.clone()) && board.insert(b.clone()));
        assert_eq!(ids(&watch_a.borrow_and_update()), [1]);
        assert_eq!(ids(&watch_b.borrow_and_update()), [2]);
        let more = instance("n.c.b", 3);
        let now = [a, b, more].into_iter().map(|instance| (key(&instance), instance)).collect();
        board.replace(now);
        assert!(!watch_a.has_changed().unwrap());
        assert_eq!(ids(&watch_b.borrow_and_update()), [2, 3]);
        assert_eq!(ids(&board.list()), [1, 2, 3]);
    }

    #[test]
    fn an_instance_is_there_once() {
        let board = Board::default();
        assert!(board.insert(instance("n.c.a", 1)));
        assert!(!board.insert(instance("n.c.a", 1)));
        board.remove(&key(&instance("n.c.a", 1)));
        assert!(board.list().is_empty());
    }

    #[test]
    fn a_changed_address_is_a_change() {
        let board = Board::default();
        let mut moved = instance("n.c.a", 1);
        board.insert(moved.clone());
        let watch = board.watch(&moved.endpoint);
        moved.address = Address::mem("y");
        board.replace([(key(&moved), moved.clone())].into());
        assert!(watch.has_changed().unwrap());
        assert_eq!(watch.borrow()[0].address, Address::mem("y"));
    }

    #[cfg(feature = "nats")]
    #[test]
    fn an_update_touches_what_it_names() {
        let board = Board::default();
        let [a, b, c] = [instance("n.c.a", 1), instance("n.c.b", 2), instance("n.c.b", 3)];
        board.update([(key(&a), Some(a.clone())), (key(&b), Some(b.clone()))].into());
        let (watch_a, mut watch_b) = (board.watch(&a.endpoint), board.watch(&b.endpoint));
        board.update([(key(&a), Some(a.clone())), (key(&b), None), (key(&c), Some(c.clone()))].into());
        assert!(!watch_a.has_changed().unwrap());
        assert_eq!(ids(&watch_b.borrow_and_update()), [3]);
    }

    #[test]
    fn watches_that_nobody_holds_are_forgotten() {
        let board = Board::default();
        drop(board.watch(&"n.c.a".parse().unwrap()));
        board.insert(instance("n.c.a", 1));
        assert!(board.state.lock().by_endpoint.is_empty());
    }
}
