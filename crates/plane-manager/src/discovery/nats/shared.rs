//! What is announced here and known from others.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_nats::jetstream::kv::{Entry, Operation};
use bytes::Bytes;
use parking_lot::Mutex;
use plane_core::{Delivery, EndpointId, Error, ErrorKind, Health, Instance};
use plane_nats::NatsConnection;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::bucket::{ANSWER, Bucket};
use super::config::NatsDiscoveryConfig;
use super::heard::Heard;
use super::keys::Renewal;
use super::own::{Own, Reserved};
use super::record::{Record, name, parse_name};
use super::skipped::Skipped;
use crate::discovery::board::{Board, Key, key};
use crate::discovery::trouble::Trouble;
use crate::discovery::{InstanceWatch, Published};

/// What is announced here and known from others.
#[derive(Debug)]
pub(super) struct Shared {
    bucket: Bucket,
    publisher: u64,
    board: Board,
    /// Held while the board is changed, so that what was withdrawn here does not come back from what was under way.
    state: Mutex<State>,
    watched: AtomicBool,
    changed: Notify,
    settled: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct State {
    own: Own,
    heard: Heard,
    skipped: Skipped,
    trouble: Trouble,
}

impl Shared {
    pub(super) fn new(connection: NatsConnection, config: NatsDiscoveryConfig) -> Self {
        Self {
            bucket: Bucket::new(connection, config),
            publisher: fastrand::u64(..),
            board: Board::default(),
            state: Mutex::default(),
            watched: AtomicBool::new(false),
            changed: Notify::new(),
            settled: watch::Sender::default(),
        }
    }

    pub(super) fn bucket(&self) -> &Bucket {
        &self.bucket
    }

    /// Which backend's announcements are ours.
    pub(super) fn publisher(&self) -> u64 {
        self.publisher
    }

    /// Rings when there is something to do.
    pub(super) fn changed(&self) -> &Notify {
        &self.changed
    }

    pub(super) fn is_watched(&self) -> bool {
        self.watched.load(Ordering::Acquire)
    }

    pub(super) fn is_idle(&self) -> bool {
        !self.is_watched() && self.state.lock().own.is_idle()
    }

    pub(super) fn watch(&self, endpoint: &EndpointId) -> InstanceWatch {
        self.start_watching();
        self.board.watch(endpoint)
    }

    pub(super) fn watch_all(&self) -> InstanceWatch {
        self.start_watching();
        self.board.watch_all()
    }

    fn start_watching(&self) {
        if !self.watched.swap(true, Ordering::AcqRel) {
            self.changed.notify_one();
        }
    }

    /// Stores the key; the announcement deletes it. Whatever was stored is deleted as well if nobody waits any more.
    pub(super) async fn publish(shared: &Arc<Self>, instance: Instance) -> Result<Published, Error> {
        let key = key(&instance);
        let record = Record { instance: instance.clone(), publisher: shared.publisher };
        let value = record.encode().map(Bytes::from).map_err(|error| {
            Error::new(ErrorKind::InvalidArgument, Delivery::NotSent, error.to_string()).with_source(error)
        })?;
        shared.reserve(&instance, &key, &value).await?;
        let (us, own) = (shared.clone(), key.clone());
        let published = Published::new(instance.clone(), move || us.withdraw(&own));
        let announce = async {
            shared.bucket.open().await?;
            shared.state.lock().own.sent(&key);
            shared.bucket.announce(&name(&key), value).await
        };
        let revision = shared.bucket.unless_denied(announce).await?;
        let mut state = shared.state.lock();
        state.own.stored(&key, revision);
        state.heard.forget(&key);
        shared.board.update([(key, Some(instance))].into());
        drop(state);
        // It must be renewed from now on.
        shared.changed.notify_one();
        Ok(published)
    }

    async fn reserve(&self, instance: &Instance, key: &Key, value: &Bytes) -> Result<(), Error> {
        let mut settled = self.settled.subscribe();
        let reserve = async {
            loop {
                let reserved = self.state.lock().own.reserve(key, value);
                match reserved {
                    Reserved::Yes => return Ok(()),
                    Reserved::Announced => {
                        let what = format!("instance {} of {} is already published", instance.id, instance.endpoint);
                        return Err(Error::new(ErrorKind::AlreadyExists, Delivery::NotSent, what));
                    }
                    // The sender is in `self`.
                    Reserved::Withdrawing => drop(settled.changed().await),
                }
            }
        };
        let waited = tokio::time::timeout(ANSWER, reserve).await;
        waited.unwrap_or_else(|_| {
            let what = format!(
                "instance {} of {} was withdrawn, and NATS could not be told yet; try again later",
                instance.id, instance.endpoint
            );
            Err(Error::new(ErrorKind::Unavailable, Delivery::NotSent, what))
        })
    }

    fn withdraw(&self, key: &Key) {
        let mut state = self.state.lock();
        if state.own.withdraw(key) {
            self.board.remove(key);
            drop(state);
            self.changed.notify_one();
        }
    }

    /// What was withdrawn and others are still to be told of, with the revision that was stored last.
    pub(super) fn withdrawn(&self) -> Vec<(Key, Option<u64>)> {
        self.state.lock().own.withdrawn().iter().map(|(key, revision)| (key.clone(), *revision)).collect()
    }

    pub(super) fn told(&self, key: &Key) {
        self.state.lock().own.told(key);
        self.settled.send_replace(());
    }

    /// Waits until all were told of every withdrawal, or that does not work.
    pub(super) async fn flush(&self) {
        let mut settled = self.settled.subscribe();
        while !self.is_settled() && settled.changed().await.is_ok() {}
    }

    fn is_settled(&self) -> bool {
        let state = self.state.lock();
        state.own.withdrawn().is_empty() || state.trouble.now().is_some()
    }

    /// What must be renewed.
    pub(super) fn stored(&self) -> Vec<(Key, Bytes, u64)> {
        self.state.lock().own.stored_ones()
    }

    pub(super) fn renewed(&self, key: &Key, renewal: Renewal) {
        let mut state = self.state.lock();
        match renewal {
            Renewal::Kept(revision) => state.own.stored(key, revision),
            Renewal::Taken(other) => {
                if state.own.contested(key) {
                    tracing::warn!(
                        endpoint = %key.0, instance = %key.1, address = %other.address,
                        "this instance is announced by somebody else as well, and callers find that one; \
                         give each that lives at the same time an id of its own"
                    );
                }
            }
        }
    }

    /// Takes over what the bucket says. What is announced here is known better.
    pub(super) fn hear(&self, entries: Vec<Entry>) {
        let now = Instant::now();
        let mut state = self.state.lock();
        let mut changes = BTreeMap::new();
        for entry in entries {
            let change = match entry.operation {
                Operation::Put => self.found(&mut state, &entry).map(|instance| (key(&instance), Some(instance))),
                Operation::Delete | Operation::Purge => parse_name(&entry.key).map(|key| (key, None)),
            };
            let Some((key, instance)) = change.filter(|(key, _)| !state.own.contains(key)) else { continue };
            match &instance {
                Some(_) => state.heard.note(key.clone(), now),
                None => state.heard.forget(&key),
            }
            changes.insert(key, instance);
        }
        self.board.update(changes);
    }

    /// What a value of somebody else says.
    fn found(&self, state: &mut State, entry: &Entry) -> Option<Instance> {
        match Record::decode(&entry.value, &entry.key) {
            Ok(record) => (record.publisher != self.publisher).then_some(record.instance),
            Err(error) => {
                state.skipped.tell(&entry.key, &error);
                None
            }
        }
    }

    /// All instances that these entries tell of, ours among them.
    pub(super) fn decode(&self, entries: Vec<Entry>) -> Vec<Instance> {
        let mut state = self.state.lock();
        let mut found = BTreeMap::new();
        for entry in entries {
            match Record::decode(&entry.value, &entry.key) {
                Ok(record) => drop(found.insert(key(&record.instance), record.instance)),
                Err(error) => state.skipped.tell(&entry.key, &error),
            }
        }
        found.into_values().collect()
    }

    /// Those that were not heard of for this long.
    pub(super) fn silent(&self, patience: std::time::Duration) -> Vec<Key> {
        self.state.lock().heard.silent(Instant::now(), patience)
    }

    /// Forgets those who have no key any more.
    pub(super) fn expire(&self, keys: &[Key]) {
        let mut state = self.state.lock();
        for key in keys {
            tracing::info!(endpoint = %key.0, instance = %key.1, "this instance is not renewed any more");
            state.heard.forget(key);
        }
        self.board.update(keys.iter().map(|key| (key.clone(), None)).collect());
    }

    /// Nobody could be heard until then.
    pub(super) fn excuse(&self, until: Instant) {
        self.state.lock().heard.excuse(until);
    }

    pub(super) fn note(&self, outcome: Result<(), Error>) {
        self.state.lock().trouble.note(outcome);
        self.settled.send_replace(());
    }

    pub(super) fn health(&self) -> Health {
        match self.state.lock().trouble.now() {
            Some(trouble) => Health::Unavailable(format!("{trouble}; what was last known is still called")),
            None => Health::Ready,
        }
    }
}
