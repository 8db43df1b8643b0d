//! The key-value bucket: found or made, and what is done with it.

use std::sync::OnceLock;
use std::time::Duration;

use async_nats::Client;
use async_nats::connection::State;
use async_nats::jetstream::context::{Context, ContextBuilder};
use async_nats::jetstream::kv::{self, Store};
use bytes::Bytes;
use plane_core::{Delivery, Error, ErrorKind};
use plane_nats::NatsConnection;
use tokio::sync::Mutex;
use tokio::sync::broadcast::error::RecvError;

use super::config::NatsDiscoveryConfig;
use super::keys::Keys;
use super::refusal::{self, lacks_bucket, refuse};
use crate::discovery::record::MAX_RECORD;

/// How long the server may take to answer: one that makes a bucket on a busy disk takes seconds.
pub(super) const ANSWER: Duration = Duration::from_secs(10);

/// The bucket of these settings on this connection.
#[derive(Debug)]
pub(super) struct Bucket {
    connection: NatsConnection,
    config: NatsDiscoveryConfig,
    client: OnceLock<Client>,
    state: Mutex<Opened>,
}

#[derive(Debug, Default)]
struct Opened {
    keys: Option<Keys>,
    /// The last expiry that differed from the settings, and was told.
    odd_ttl: Option<Duration>,
}

impl Bucket {
    pub(super) fn new(connection: NatsConnection, config: NatsDiscoveryConfig) -> Self {
        Self { connection, config, client: OnceLock::new(), state: Mutex::default() }
    }

    pub(super) fn connection(&self) -> &NatsConnection {
        &self.connection
    }

    /// Which bucket it is and where, for messages.
    pub(super) fn place(&self) -> String {
        format!("bucket {} at {}", self.config.bucket, self.connection.servers())
    }

    /// The keys of the bucket, which is made if it is not there.
    ///
    /// # Errors
    /// Those of the connection; `Unavailable` with the reason if there is no bucket and none can be made,
    /// `FailedPrecondition` if the one that is there keeps what it has for ever.
    pub(super) async fn open(&self) -> Result<Keys, Error> {
        // Of a lost connection nothing can be had, and what is sent now would be sent when it is back.
        let client = self.connection.client().await?;
        let mut state = self.state.lock().await;
        if let Some(keys) = &state.keys {
            return Ok(keys.clone());
        }
        let context = ContextBuilder::new().timeout(ANSWER).build(self.client.get_or_init(|| client.clone()).clone());
        let store = self.find_or_make(&context).await?;
        let ttl = store.stream.cached_info().config.max_age;
        self.check_ttl(ttl, &mut state.odd_ttl)?;
        let keys = Keys::new(store, ttl, self.place());
        state.keys = Some(keys.clone());
        Ok(keys)
    }

    /// The same, and whether the bucket is still there is looked up anew.
    pub(super) async fn reopen(&self) -> Result<Keys, Error> {
        self.state.lock().await.keys = None;
        self.open().await
    }

    /// Stores a value of a key, whatever is there, and gives its revision. Makes the bucket anew if it was lost.
    pub(super) async fn announce(&self, name: &str, value: Bytes) -> Result<u64, Error> {
        let put = match self.open().await?.put(name, value.clone()).await {
            Err(error) if lacks_bucket(&error) => self.reopen().await?.put(name, value).await,
            put => put,
        };
        put.map_err(|error| refuse(&self.place(), "announce an instance", error))
    }

    /// The same outcome, or at once that NATS does not let this user do what it takes: no answer comes to that.
    pub(super) async fn unless_denied<T>(&self, outcome: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let mut denied = self.connection.denied();
        let refused = async {
            loop {
                match denied.recv().await {
                    Ok(subject) if self.is_ours(&subject) => return refusal::denied(&self.place(), &subject),
                    Ok(_) | Err(RecvError::Lagged(_)) => {}
                    // The connection is gone, and with it what waits for an outcome.
                    Err(RecvError::Closed) => std::future::pending().await,
                }
            }
        };
        tokio::select! {
            biased;
            outcome = outcome => outcome,
            refused = refused => Err(refused),
        }
    }

    /// Whether discovery is what uses this subject.
    fn is_ours(&self, subject: &str) -> bool {
        let stream = format!("KV_{}", self.config.bucket);
        subject.starts_with(&format!("$KV.{}.", self.config.bucket))
            || subject.starts_with("$JS.") && subject.split('.').any(|token| token == stream)
            || subject == "$JS.API.INFO"
    }

    /// Waits until a connection that is lost is there again; `false` at once if it is not lost.
    pub(super) async fn reconnected(&self) -> bool {
        match self.client.get() {
            Some(client) if client.connection_state() != State::Connected => {
                // It is flushed once there is a connection to write to; it fails only when nothing is to be had any more.
                client.flush().await.is_ok()
            }
            _ => false,
        }
    }

    async fn find_or_make(&self, context: &Context) -> Result<Store, Error> {
        let name = &self.config.bucket;
        let found = match context.get_key_value(name).await {
            Err(error) if lacks_bucket(&error) => match self.make(context).await {
                Ok(store) => return Ok(store),
                // Somebody else may have made it in between, with other settings.
                Err(error) => context.get_key_value(name).await.map_err(|_| error)?,
            },
            found => found.map_err(|error| refuse(&self.place(), "use the bucket", error))?,
        };
        Ok(found)
    }

    async fn make(&self, context: &Context) -> Result<Store, Error> {
        let config = kv::Config {
            bucket: self.config.bucket.clone(),
            description: "Instances that can be called".to_owned(),
            history: 1,
            max_age: self.config.ttl,
            max_value_size: i32::try_from(MAX_RECORD).unwrap_or(i32::MAX),
            num_replicas: self.config.replicas,
            ..kv::Config::default()
        };
        let made = context.create_key_value(config).await;
        made.map_err(|error| refuse(&self.place(), "make the bucket", error))
    }

    fn check_ttl(&self, ttl: Duration, told: &mut Option<Duration>) -> Result<(), Error> {
        let (bucket, wanted) = (&self.config.bucket, self.config.ttl);
        if ttl.is_zero() {
            let what = format!(
                "the bucket {bucket} keeps instances for ever: give it an expiry (nats stream edit KV_{bucket} --max-age \
                 {wanted:?}), delete it so that it is made anew, or set DYN_NATS_BUCKET to another one"
            );
            return Err(Error::new(ErrorKind::FailedPrecondition, Delivery::NotSent, what));
        }
        if ttl != wanted && *told != Some(ttl) {
            *told = Some(ttl);
            tracing::warn!(
                bucket, found = ?ttl, ?wanted,
                "the bucket is there with another expiry, which counts; DYN_NATS_INSTANCE_TTL applies to a bucket that is made"
            );
        }
        Ok(())
    }
}
