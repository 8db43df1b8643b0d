//! A NATS server, a worker of this process, and what tests ask of them.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use plane_core::{
    Address, EndpointId, Error, Handler, InstanceId, Registration, Request, RequestPlaneClient, RequestPlaneServer,
};
use plane_nats::{NatsClient, NatsConfig, NatsConnection, NatsDelivery, NatsServer, RequestStore, StoreConfig};
use plane_testkit::nats::{NatsServer as Nats, NatsServerOptions};

/// Far more than anything here takes, for a machine that is busy.
pub(crate) const IN_TIME: Duration = Duration::from_secs(60);

/// Short, so that a dead worker is found soon; long enough for a busy machine not to miss three.
pub(crate) const BEAT: Duration = Duration::from_millis(300);

const BYTES: u64 = 16 * 1024 * 1024;

pub(crate) async fn in_time<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(IN_TIME, work).await.expect("every call ends in time")
}

pub(crate) fn endpoint(name: &str) -> EndpointId {
    EndpointId::new("test", "durable", name).unwrap()
}

pub(crate) fn any() -> Address {
    "nats://plane".parse().unwrap()
}

pub(crate) fn store() -> StoreConfig {
    let (first, most) = (Duration::from_millis(10), Duration::from_millis(40));
    let store = StoreConfig::default().beat(BEAT).unwrap().retry_delay(first, most).unwrap().max_attempts(3).unwrap();
    // NATS sets this much of the disk aside for each server that a test starts.
    store.max_bytes(BYTES).unwrap().dead_bytes(BYTES).unwrap().answers(BYTES, Duration::from_secs(600)).unwrap()
}

pub(crate) fn config(nats: &Nats, store: StoreConfig) -> NatsConfig {
    config_at(&nats.url(), store)
}

pub(crate) fn config_at(url: &str, store: StoreConfig) -> NatsConfig {
    NatsConfig::default().servers([url]).unwrap().delivery(NatsDelivery::JetStream(store))
}

/// A client of a connection of its own.
pub(crate) fn client(config: &NatsConfig) -> NatsClient {
    NatsClient::new(&NatsConnection::new(config.clone()))
}

/// The store by a connection of its own.
pub(crate) async fn open(config: &NatsConfig) -> RequestStore {
    RequestStore::open(&NatsConnection::new(config.clone())).await.unwrap()
}

/// A worker with these handlers.
pub(crate) struct Worker {
    pub(crate) server: NatsServer,
    pub(crate) registrations: Vec<Registration>,
}

impl Worker {
    pub(crate) async fn start(config: &NatsConfig) -> Self {
        let (server, driver) = NatsServer::bind(&NatsConnection::new(config.clone())).await.unwrap();
        tokio::spawn(driver);
        Self { server, registrations: Vec::new() }
    }

    pub(crate) async fn with(self, name: &str, handler: impl Handler) -> Self {
        self.try_with(name, handler).await.unwrap()
    }

    pub(crate) async fn try_with(mut self, name: &str, handler: impl Handler) -> Result<Self, Error> {
        let id = InstanceId::new(fastrand::u64(1..)).unwrap();
        self.registrations.push(self.server.register(endpoint(name), id, Arc::new(handler)).await?);
        Ok(self)
    }
}

pub(crate) async fn call(client: &NatsClient, name: &str, message: impl Into<Bytes>) -> Result<Bytes, Error> {
    let response = client.call(&any(), Request::new(endpoint(name), message.into())).await?;
    response.message().await
}

/// The same, known by this key.
pub(crate) async fn call_as(client: &NatsClient, key: &str, name: &str, message: &'static str) -> Result<Bytes, Error> {
    let mut request = Request::new(endpoint(name), message);
    request.headers.insert("idempotency-key", key.parse().unwrap());
    client.call(&any(), request).await?.message().await
}

/// A NATS server whose JetStream is off.
pub(crate) fn without_jetstream() -> Nats {
    Nats::with(NatsServerOptions { without_jetstream: true, ..NatsServerOptions::default() })
}
