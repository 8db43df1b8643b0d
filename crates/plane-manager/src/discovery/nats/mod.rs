//! Instances as keys of a JetStream key-value bucket: discovery across machines, for either request plane.
//!
//! - `config`: which bucket, and for how long without a renewal.
//! - `record`: what a key says.
//! - `refusal`: what is said if the bucket cannot be used.
//! - `keys`: the keys of a bucket that is open.
//! - `bucket`: the bucket, found or made.
//! - `heard`: when each instance was last heard of.
//! - `own`: what is announced here.
//! - `skipped`: what makes no sense.
//! - `shared`: what is announced here and known from others.
//! - `session`: the task that keeps both true.

mod bucket;
mod config;
mod heard;
mod keys;
mod own;
mod record;
mod refusal;
mod session;
mod shared;
mod skipped;

use std::fmt;
use std::sync::{Arc, OnceLock};

use plane_core::{BoxFuture, EndpointId, Error, Health, Instance};
use plane_nats::NatsConnection;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{Discovery, InstanceWatch, Published};
pub use config::NatsDiscoveryConfig;
use shared::Shared;

/// Instances as keys of a JetStream key-value bucket, one each (docs/nats.md, "Discovery on NATS").
///
/// All who use the same bucket see an instance, and its withdrawal, within milliseconds. One whose process was killed
/// disappears one and a half times the expiry of the bucket later. While NATS cannot be reached nothing is forgotten;
/// when it is back, what is announced here is announced again at once, and what nobody announces is forgotten ten
/// seconds after the expiry. Values that make no sense are skipped with one warning each.
///
/// An instance that is announced with the id of another one replaces it, as a worker that was started again under a fixed
/// id does. Whoever announced it before keeps quiet and logs a warning.
///
/// Nothing is connected before the first [`publish`](Discovery::publish), [`list`](Discovery::list) or
/// [`watch`](Discovery::watch). The first and the last spawn one task that keeps both going. When this is dropped it still
/// tells what was withdrawn, for five seconds at most, and ends; what is announced then expires.
pub struct NatsDiscovery {
    shared: Arc<Shared>,
    /// Cancels the task.
    driver: OnceLock<DropGuard>,
}

impl NatsDiscovery {
    /// Uses this connection, which calls may share.
    #[must_use]
    pub fn new(connection: NatsConnection, config: NatsDiscoveryConfig) -> Self {
        Self { shared: Arc::new(Shared::new(connection, config)), driver: OnceLock::new() }
    }

    fn drive(&self) {
        self.driver.get_or_init(|| {
            let dropped = CancellationToken::new();
            tokio::spawn(session::drive(self.shared.clone(), dropped.clone()));
            dropped.drop_guard()
        });
    }
}

impl Discovery for NatsDiscovery {
    fn publish(&self, instance: Instance) -> BoxFuture<'_, Result<Published, Error>> {
        Box::pin(async move {
            self.drive();
            Shared::publish(&self.shared, instance).await
        })
    }

    fn watch(&self, endpoint: &EndpointId) -> InstanceWatch {
        let watch = self.shared.watch(endpoint);
        self.drive();
        watch
    }

    fn watch_all(&self) -> InstanceWatch {
        let watch = self.shared.watch_all();
        self.drive();
        watch
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<Instance>, Error>> {
        Box::pin(async move {
            let bucket = self.shared.bucket();
            let all = async { bucket.open().await?.all().await };
            Ok(self.shared.decode(bucket.unless_denied(all).await?))
        })
    }

    fn describe(&self) -> String {
        format!("nats ({})", self.shared.bucket().place())
    }

    fn flush(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.shared.flush())
    }

    fn health(&self) -> Health {
        self.shared.health()
    }
}

impl fmt::Debug for NatsDiscovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("NatsDiscovery").field(&self.describe()).finish()
    }
}
