//! The task that keeps what is announced here alive, and what is known from others true.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::kv::{Entry, Watch, WatcherError};
use futures_util::stream::{self, ReadyChunks};
use futures_util::{StreamExt, TryStreamExt};
use plane_core::{Delivery, Error, ErrorKind};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::keys::{AT_ONCE, Keys};
use super::record::name;
use super::shared::Shared;
use crate::discovery::board::Key;

/// Trying again starts at this delay and doubles it, up to [`MAX_DELAY`].
const DELAY: Duration = Duration::from_millis(50);
const MAX_DELAY: Duration = Duration::from_secs(2);

/// How much later than this side others may be connected again after an outage: twice their longest delay.
const RETURN: Duration = Duration::from_secs(10);

/// The bucket is looked after at least this often.
const LONGEST_PERIOD: Duration = Duration::from_secs(5);

/// How long a backend that was dropped goes on to tell what was withdrawn.
const FAREWELL: Duration = Duration::from_secs(5);

/// Changes that are taken over as one, at most.
const BATCH: usize = 1_000;

/// Keeps both going until its backend is `dropped`; what was withdrawn by then is still told, if that can be done now.
pub(super) async fn drive(shared: Arc<Shared>, dropped: CancellationToken) {
    dropped.run_until_cancelled(run(&shared)).await;
    let farewell = async { tell_withdrawals(&shared, &shared.bucket().open().await?).await };
    if !shared.withdrawn().is_empty() {
        // Whoever is not told sees it expire.
        let _ = timeout(FAREWELL, farewell).await;
    }
}

/// Runs one session after the other, each until something goes wrong.
async fn run(shared: &Shared) {
    let mut losses = shared.bucket().connection().losses();
    let mut failures = 0;
    loop {
        while shared.is_idle() {
            shared.changed().notified().await;
        }
        losses.mark_unchanged();
        let trouble = tokio::select! {
            Err(error) = shared.bucket().unless_denied(session(shared, &mut failures)) => error,
            _ = losses.changed() => lost(shared),
        };
        shared.note(Err(trouble));
        if !shared.bucket().reconnected().await {
            sleep(delay(failures)).await;
        }
        failures = failures.saturating_add(1);
    }
}

fn lost(shared: &Shared) -> Error {
    let what = format!("the connection to NATS is lost ({})", shared.bucket().place());
    Error::new(ErrorKind::Unavailable, Delivery::NotSent, what)
}

/// Exponential with half of it random, so that those who lost the same server do not come back all at once.
fn delay(failures: u32) -> Duration {
    DELAY.saturating_mul(1 << failures.min(16)).min(MAX_DELAY).mul_f64(0.5 + fastrand::f64() / 2.0)
}

/// Announces what is to be announced, then does what is due until something goes wrong.
async fn session(shared: &Shared, failures: &mut u32) -> Result<Infallible, Error> {
    let keys = shared.bucket().reopen().await?;
    shared.excuse(Instant::now() + RETURN);
    let mut session = Session { shared, renew_at: Instant::now(), look_at: Instant::now(), keys, watch: None };
    session.renew().await?;
    session.catch_up().await?;
    shared.note(Ok(()));
    *failures = 0;
    session.run().await
}

struct Session<'a> {
    shared: &'a Shared,
    keys: Keys,
    watch: Option<ReadyChunks<Watch>>,
    renew_at: Instant,
    look_at: Instant,
}

impl Session<'_> {
    async fn run(&mut self) -> Result<Infallible, Error> {
        loop {
            let due = self.renew_at.min(self.look_at);
            tokio::select! {
                entries = next(&mut self.watch) => self.hear(entries)?,
                () = self.shared.changed().notified() => self.catch_up().await?,
                () = sleep_until(due) => self.do_what_is_due().await?,
            }
        }
    }

    fn hear(&self, entries: Option<Vec<Result<Entry, WatcherError>>>) -> Result<(), Error> {
        let entries = entries.ok_or_else(|| self.keys.unwatched(std::io::Error::other("the connection is closed")))?;
        let mut ended = Ok(());
        let good = entries.into_iter().map_while(|entry| entry.map_err(|error| ended = Err(error)).ok());
        self.shared.hear(good.collect());
        ended.map_err(|error| self.keys.unwatched(error))
    }

    /// Tells others of what was withdrawn, and begins to watch once somebody wants to know.
    async fn catch_up(&mut self) -> Result<(), Error> {
        tell_withdrawals(self.shared, &self.keys).await?;
        if self.watch.is_none() && self.shared.is_watched() {
            self.watch_anew().await?;
        }
        Ok(())
    }

    async fn watch_anew(&mut self) -> Result<(), Error> {
        self.watch = Some(self.keys.watch().await?.ready_chunks(BATCH));
        Ok(())
    }

    async fn do_what_is_due(&mut self) -> Result<(), Error> {
        if Instant::now() >= self.renew_at {
            self.renew().await?;
        }
        if self.watch.is_some() {
            self.keys.check(self.patience()).await?;
            self.expire().await?;
        }
        self.look_at = Instant::now() + (self.keys.ttl() / 4).min(LONGEST_PERIOD);
        Ok(())
    }

    /// Stores what is announced here again, before it expires.
    async fn renew(&mut self) -> Result<(), Error> {
        // Not all processes at the same time.
        self.renew_at = Instant::now() + (self.keys.ttl() / 3).mul_f64(1.0 - fastrand::f64() / 5.0);
        let (shared, keys) = (self.shared, &self.keys);
        let renew = async |(key, value, revision): (Key, bytes::Bytes, u64)| {
            let renewal = keys.renew(&name(&key), value, revision, shared.publisher()).await?;
            shared.renewed(&key, renewal);
            Ok::<(), Error>(())
        };
        let all = stream::iter(shared.stored()).map(renew).buffer_unordered(AT_ONCE).try_collect::<()>();
        // An answer that never comes must not keep them from being renewed in time.
        let in_time = keys.ttl() * 2 / 3;
        timeout(in_time, all).await.unwrap_or_else(|_| Err(keys.unrenewed(in_time)))
    }

    /// Forgets those that were not heard of in time, if the bucket says so as well: one that was only missed is there.
    async fn expire(&mut self) -> Result<(), Error> {
        let silent = self.shared.silent(self.keys.ttl() + self.patience());
        if silent.is_empty() {
            return Ok(());
        }
        let (keys, patience) = (&self.keys, self.patience());
        let look = async |key: Key| Ok::<_, Error>((keys.holder_in(&name(&key), patience).await?.is_none(), key));
        let looked = stream::iter(silent).map(look).buffer_unordered(AT_ONCE).try_collect::<Vec<_>>().await?;
        let (gone, missed): (Vec<_>, Vec<_>) = looked.into_iter().partition(|(is_gone, _)| *is_gone);
        let gone: Vec<Key> = gone.into_iter().map(|(_, key)| key).collect();
        self.shared.expire(&gone);
        if !missed.is_empty() {
            tracing::debug!(missed = missed.len(), "the watch is made anew: it missed instances that are there");
            self.watch_anew().await?;
        }
        Ok(())
    }

    /// How long the server may take to show that it is there, and how much later than expected a renewal may come.
    fn patience(&self) -> Duration {
        (self.keys.ttl() / 2).min(LONGEST_PERIOD)
    }
}

async fn tell_withdrawals(shared: &Shared, keys: &Keys) -> Result<(), Error> {
    let tell = async |(key, revision): (Key, Option<u64>)| {
        keys.delete(&name(&key), revision, shared.publisher()).await?;
        shared.told(&key);
        Ok::<(), Error>(())
    };
    stream::iter(shared.withdrawn()).map(tell).buffer_unordered(AT_ONCE).try_collect().await
}

/// The next changes, `None` if there are no more; it waits for ever while nothing is watched.
async fn next(watch: &mut Option<ReadyChunks<Watch>>) -> Option<Vec<Result<Entry, WatcherError>>> {
    match watch {
        Some(watch) => watch.next().await,
        None => std::future::pending().await,
    }
}
