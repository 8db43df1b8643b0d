//! The keys of a bucket that is open.

use std::time::Duration;

use async_nats::jetstream::kv::{Entry, Operation, PutError, Store, UpdateErrorKind, Watch};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use plane_core::{Error, Instance};

use super::record::Record;
use super::refusal::{refuse, unanswered};

/// How many requests one pass over many keys has on their way at once.
pub(super) const AT_ONCE: usize = 64;

/// The keys of a bucket that is open. Clones are the same.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    store: Store,
    ttl: Duration,
    place: String,
}

/// How a renewal ended.
#[derive(Debug)]
pub(super) enum Renewal {
    /// The key says what it should, at this revision.
    Kept(u64),
    /// Somebody else announced the same instance since; the key is theirs.
    Taken(Box<Instance>),
}

impl Keys {
    pub(super) fn new(store: Store, ttl: Duration, place: String) -> Self {
        Self { store, ttl, place }
    }

    /// How long a key stays without a renewal.
    pub(super) fn ttl(&self) -> Duration {
        self.ttl
    }

    pub(super) async fn put(&self, name: &str, value: Bytes) -> Result<u64, PutError> {
        self.store.put(name, value).await
    }

    /// Stores the value again unless somebody else has announced the instance since this revision.
    pub(super) async fn renew(&self, name: &str, value: Bytes, revision: u64, us: u64) -> Result<Renewal, Error> {
        let purpose = "renew an instance";
        match self.store.update(name, value.clone(), revision).await {
            Ok(revision) => return Ok(Renewal::Kept(revision)),
            Err(error) if error.kind() == UpdateErrorKind::WrongLastRevision => {}
            Err(error) => return Err(refuse(&self.place, purpose, error)),
        }
        match self.holder(name).await? {
            Some((_, record)) if record.publisher != us => Ok(Renewal::Taken(Box::new(record.instance))),
            // It expired, was deleted or lost with the bucket, or an answer to us was.
            _ => {
                let put = self.store.put(name, value).await;
                put.map(Renewal::Kept).map_err(|error| refuse(&self.place, purpose, error))
            }
        }
    }

    /// Deletes the key unless somebody else has announced the instance since. Without a revision it is not known
    /// whether ours ever arrived.
    pub(super) async fn delete(&self, name: &str, revision: Option<u64>, us: u64) -> Result<(), Error> {
        let purpose = "withdraw an instance";
        match self.store.delete_expect_revision(name, revision).await {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == UpdateErrorKind::WrongLastRevision => {}
            Err(error) => return Err(refuse(&self.place, purpose, error)),
        }
        match self.holder(name).await? {
            Some((revision, record)) if record.publisher == us => {
                let deleted = self.store.delete_expect_revision(name, Some(revision)).await;
                deleted.map_err(|error| refuse(&self.place, purpose, error))
            }
            _ => Ok(()),
        }
    }

    /// What the key says now and since which revision, if that makes sense.
    pub(super) async fn holder(&self, name: &str) -> Result<Option<(u64, Record)>, Error> {
        let entry = self.entry(name).await?;
        Ok(entry.and_then(|entry| Some((entry.revision, Record::decode(&entry.value, name).ok()?))))
    }

    /// The same, at once or not at all: an answer that was held up may be older than what it is asked for.
    pub(super) async fn holder_in(&self, name: &str, in_time: Duration) -> Result<Option<(u64, Record)>, Error> {
        let late = |_| unanswered(&self.place, "look an instance up", in_time);
        tokio::time::timeout(in_time, self.holder(name)).await.map_err(late)?
    }

    async fn entry(&self, name: &str) -> Result<Option<Entry>, Error> {
        let found = self.store.entry(name).await.map_err(|error| refuse(&self.place, "look an instance up", error))?;
        Ok(found.filter(|entry| entry.operation == Operation::Put))
    }

    /// All keys with their values, looked up now.
    pub(super) async fn all(&self) -> Result<Vec<Entry>, Error> {
        let failed = |error| refuse(&self.place, "list the instances", error);
        // The names as they are at one moment: a walk over the values would miss those that are renewed meanwhile.
        let subjects = self.store.stream.info_with_subjects(format!("{}>", self.store.prefix)).await.map_err(failed)?;
        let subjects: Vec<(String, usize)> = subjects.try_collect().await.map_err(failed)?;
        let name_of = |(subject, _): (String, usize)| subject.strip_prefix(&self.store.prefix).map(str::to_owned);
        let names: Vec<String> = subjects.into_iter().filter_map(name_of).collect();
        let entries = stream::iter(names).map(|name| async move { self.entry(&name).await });
        let entries: Vec<Option<Entry>> = entries.buffer_unordered(AT_ONCE).try_collect().await?;
        Ok(entries.into_iter().flatten().collect())
    }

    /// Every key as it is now, and every change of one from then on.
    pub(super) async fn watch(&self) -> Result<Watch, Error> {
        let watch = self.store.watch_with_history(">").await;
        watch.map_err(|error| refuse(&self.place, "watch the instances", error))
    }

    /// Whether the bucket is there and its server answers in time.
    pub(super) async fn check(&self, in_time: Duration) -> Result<(), Error> {
        let purpose = "reach the bucket";
        match tokio::time::timeout(in_time, self.store.status()).await {
            Ok(status) => status.map(drop).map_err(|error| refuse(&self.place, purpose, error)),
            Err(_) => Err(unanswered(&self.place, purpose, in_time)),
        }
    }

    /// The error of renewals that were not all answered in time.
    pub(super) fn unrenewed(&self, in_time: Duration) -> Error {
        unanswered(&self.place, "renew the instances", in_time)
    }

    /// The error of a watch that ended.
    pub(super) fn unwatched(&self, error: impl std::error::Error + Send + Sync + 'static) -> Error {
        refuse(&self.place, "watch the instances any longer", error)
    }
}
