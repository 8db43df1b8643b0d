//! The store of one prefix: makes its streams, and puts requests and answers into them ([`Store`]).

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use async_nats::HeaderMap;
use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::publish::PublishAck;
use async_nats::jetstream::stream::RawMessage;
use bytes::Bytes;
use plane_core::{Delivery, EndpointId, Error};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::api::{self, Failure};
use super::names::{self, Names};
use super::streams;
use super::wire::{ConsumerInfo, ConsumerPage, ConsumerSettings, StreamInfo, StreamSettings, Wanted};
use crate::connection::NatsConnection;
use crate::delivery::{NatsDelivery, StoreConfig};
use crate::head;

/// The store of one prefix.
#[derive(Debug)]
pub(crate) struct Store {
    connection: NatsConnection,
    config: StoreConfig,
    names: Names,
    /// Whether the streams have been seen as they should be.
    seen: AtomicBool,
    making: Mutex<()>,
}

/// What comes around a message that is asked for.
#[derive(Debug, Deserialize)]
struct Found {
    message: RawMessage,
}

impl Store {
    /// The store that the connection's settings name; `None` with core delivery.
    pub(crate) fn of(connection: &NatsConnection) -> Option<Self> {
        let NatsDelivery::JetStream(config) = &connection.config().delivery else { return None };
        Some(Self {
            connection: connection.clone(),
            config: config.clone(),
            names: Names::new(&connection.config().prefix),
            seen: AtomicBool::new(false),
            making: Mutex::default(),
        })
    }

    pub(crate) fn connection(&self) -> &NatsConnection {
        &self.connection
    }

    pub(crate) fn config(&self) -> &StoreConfig {
        &self.config
    }

    pub(crate) fn names(&self) -> &Names {
        &self.names
    }

    fn wanted(&self) -> [StreamSettings; 3] {
        [streams::requests, streams::answers, streams::dead].map(|make| make(&self.names, &self.config))
    }

    /// Makes the streams that are not there, and sees that the others are as they should be.
    ///
    /// # Errors
    /// `InvalidArgument` for a prefix that no stream can be named after; `FailedPrecondition` naming a setting that differs; else why JetStream did not do it.
    pub(crate) async fn ensure(&self) -> Result<(), Error> {
        if self.seen.load(Ordering::Acquire) {
            return Ok(());
        }
        let _making = self.making.lock().await;
        if self.seen.load(Ordering::Acquire) {
            return Ok(());
        }
        self.names.check()?;
        for wanted in self.wanted() {
            self.ensure_stream(&wanted).await?;
        }
        self.seen.store(true, Ordering::Release);
        Ok(())
    }

    async fn ensure_stream(&self, wanted: &StreamSettings) -> Result<(), Error> {
        let failed =
            |failure: Failure| failure.into_error(&format!("open the store {}", wanted.name), Delivery::NotSent);
        let found = match self.stream(&wanted.name).await {
            Ok(info) => info.config,
            Err(failure) if failure.is_not_found() => {
                let made: Result<StreamInfo, _> =
                    api::call(&self.connection, &format!("STREAM.CREATE.{}", wanted.name), wanted).await;
                match made {
                    Ok(info) => info.config,
                    // Somebody else may have been quicker, with other settings.
                    Err(refused @ Failure::Refused(_)) => {
                        self.stream(&wanted.name).await.map_err(|_| failed(refused))?.config
                    }
                    Err(failure) => return Err(failed(failure)),
                }
            }
            Err(failure) => return Err(failed(failure)),
        };
        streams::check_stream(&found, wanted)
    }

    /// Looks at the streams again before the next request is stored.
    pub(crate) fn forget(&self) {
        self.seen.store(false, Ordering::Release);
    }

    /// Changes the streams and consumers that are there to the settings of this side.
    pub(crate) async fn apply(&self) -> Result<(), Error> {
        self.names.check()?;
        let failed = |name: &str| {
            let what = format!("change the settings of {name}");
            move |failure: Failure| failure.into_error(&what, Delivery::Unknown)
        };
        for wanted in self.wanted() {
            let changed: Result<StreamInfo, _> =
                api::call(&self.connection, &format!("STREAM.UPDATE.{}", wanted.name), &wanted).await;
            match changed {
                Ok(_) => {}
                Err(failure) if failure.is_not_found() => self.ensure_stream(&wanted).await?,
                Err(failure) => return Err(failed(&wanted.name)(failure)),
            }
        }
        for found in self.consumers().await.map_err(failed(&self.names.requests))? {
            let Some(endpoint) = self.names.endpoint_of(&found.config.filter) else { continue };
            let wanted = streams::consumer(&self.names, &self.config, &endpoint);
            self.put_consumer(&wanted, "update").await.map_err(failed(&wanted.name))?;
        }
        Ok(())
    }

    pub(crate) async fn stream(&self, name: &str) -> Result<StreamInfo, Failure> {
        api::call(&self.connection, &format!("STREAM.INFO.{name}"), &json!({})).await
    }

    /// What gives an endpoint's servers their requests, made if it is not there.
    ///
    /// # Errors
    /// As [`ensure`](Self::ensure).
    pub(crate) async fn ensure_consumer(&self, endpoint: &EndpointId) -> Result<(), Error> {
        let wanted = streams::consumer(&self.names, &self.config, endpoint);
        let failed = |failure: Failure| failure.into_error(&format!("take requests of {endpoint}"), Delivery::NotSent);
        let found: Result<ConsumerInfo, _> =
            api::call(&self.connection, &format!("CONSUMER.INFO.{}.{}", self.names.requests, wanted.name), &json!({}))
                .await;
        let found = match found {
            // Made anew it would be the same: NATS takes that for done.
            Err(failure) if failure.is_not_found() => self.put_consumer(&wanted, "").await,
            found => found,
        };
        streams::check_consumer(&found.map_err(failed)?.config, &wanted)
    }

    async fn put_consumer(&self, wanted: &ConsumerSettings, action: &str) -> Result<ConsumerInfo, Failure> {
        let Names { requests, .. } = &self.names;
        let request = json!({ "stream_name": requests, "config": wanted, "action": action });
        let below = format!("CONSUMER.CREATE.{requests}.{}.{}", wanted.name, wanted.filter);
        api::call(&self.connection, &below, &request).await
    }

    /// Every consumer of the requests.
    pub(crate) async fn consumers(&self) -> Result<Vec<ConsumerInfo>, Failure> {
        let mut all = Vec::new();
        loop {
            let request = json!({ "offset": all.len() });
            let below = format!("CONSUMER.LIST.{}", self.names.requests);
            let page: ConsumerPage = api::call(&self.connection, &below, &request).await?;
            let is_last = page.consumers.is_empty();
            all.extend(page.consumers);
            if is_last || all.len() as u64 >= page.total {
                return Ok(all);
            }
        }
    }

    /// Stores a message, and waits until it is. A connection that is lost meanwhile is waited for: what was stored
    /// already is not stored twice, if the message has an id.
    pub(crate) async fn put(
        &self,
        subject: &str,
        headers: HeaderMap,
        payload: Bytes,
        until: Instant,
    ) -> Result<PublishAck, Failure> {
        let (mut connects, mut was_sent) = (self.connection.connects(), false);
        loop {
            connects.mark_unchanged();
            let left = until.saturating_duration_since(Instant::now());
            let limit = left.min(self.connection.config().request_timeout);
            let stored = api::ask(&self.connection, subject, Some(headers.clone()), payload.clone(), limit).await;
            match stored {
                // An acknowledgement that was lost does not take all the time there is.
                Err(Failure::TimedOut(_)) if limit < left => {
                    was_sent = true;
                    continue;
                }
                Err(Failure::Lost) => was_sent = true,
                Err(Failure::NotConnected(_)) if was_sent => {}
                Err(Failure::NoResponders) if was_sent => {
                    // A NATS server that has just started may not have its streams yet.
                    tokio::time::sleep(Duration::from_millis(20).min(left)).await;
                    if left.is_zero() {
                        return Err(Failure::Lost);
                    }
                    continue;
                }
                result => return result,
            }
            if tokio::time::timeout_at(until.into(), connects.changed()).await.is_err() {
                return Err(Failure::Lost);
            }
        }
    }

    /// One message of a stream, if it is there.
    pub(crate) async fn find(&self, stream: &str, wanted: &Wanted<'_>) -> Result<Option<StreamMessage>, Failure> {
        // Not a direct get: a replica that lags behind could say that there is none.
        let found: Result<Found, _> = api::call(&self.connection, &format!("STREAM.MSG.GET.{stream}"), wanted).await;
        match found {
            Ok(found) => found
                .message
                .try_into()
                .map(Some)
                .map_err(|error: async_nats::Error| Failure::Garbled(error.to_string())),
            Err(failure) if failure.is_not_found() => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    pub(crate) async fn delete(&self, stream: &str, sequence: u64) -> Result<(), Failure> {
        let request = json!({ "seq": sequence, "no_erase": true });
        let _: Value = api::call(&self.connection, &format!("STREAM.MSG.DELETE.{stream}"), &request).await?;
        Ok(())
    }

    /// Drops what a subject has before this sequence.
    pub(crate) async fn purge(&self, subject: &str, before: u64) -> Result<(), Failure> {
        let request = json!({ "filter": subject, "seq": before });
        let below = format!("STREAM.PURGE.{}", self.names.requests);
        let _: Value = api::call(&self.connection, &below, &request).await?;
        Ok(())
    }

    /// Stores a request. Its id makes it one with another that has the same.
    ///
    /// # Errors
    /// `ResourceExhausted` if the store is full; else why it is not known to be stored.
    pub(crate) async fn put_request(
        &self,
        endpoint: &EndpointId,
        id: &str,
        mut headers: HeaderMap,
        payload: Bytes,
        until: Instant,
    ) -> Result<PublishAck, Error> {
        head::set(&mut headers, head::REQUEST_ID, id);
        head::set(&mut headers, head::MESSAGE_ID, names::message_id(endpoint, id));
        let subject = self.names.request_subject(Some(endpoint));
        self.put(&subject, headers, payload, until).await.map_err(|failure| {
            if matches!(failure, Failure::NoResponders) {
                // Whoever comes next makes it anew.
                self.forget();
            }
            failure.into_error("store the request", Delivery::Unknown)
        })
    }

    /// What is known of the end of a request, as its caller was or would have been told.
    pub(crate) async fn answer(&self, endpoint: &EndpointId, id: &str) -> Result<Option<StreamMessage>, Failure> {
        let subject = self.names.answer_subject(endpoint, id);
        self.find(&self.names.answers, &Wanted { last_of: Some(&subject), ..Wanted::default() }).await
    }

    /// Keeps what the caller of a request is told, or what else must be known of it.
    pub(crate) async fn keep_answer(
        &self,
        endpoint: &EndpointId,
        id: &str,
        headers: HeaderMap,
        payload: Bytes,
        until: Instant,
    ) -> Result<(), Failure> {
        let subject = self.names.answer_subject(endpoint, id);
        self.put(&subject, headers, payload, until).await.map(|_| ())
    }
}
