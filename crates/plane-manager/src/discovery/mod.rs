//! Which instances there are: a trait ([`Discovery`]), its three embedded backends, and one on a NATS server.

mod board;
mod file;
mod mem;
#[cfg(feature = "nats")]
mod nats;
mod record;
mod static_list;
mod trouble;

use std::fmt::Debug;
use std::sync::Arc;

use plane_core::{Address, BoxFuture, EndpointId, Error, Health, Instance, InstanceId};
use tokio::sync::watch;

pub use file::FileDiscovery;
pub use mem::MemDiscovery;
#[cfg(feature = "nats")]
pub use nats::{NatsDiscovery, NatsDiscoveryConfig};
pub use static_list::{ANY_INSTANCE, StaticDiscovery};

/// The instances that are known at one moment, sorted by endpoint and id.
pub type InstanceSet = Arc<[Instance]>;

/// A live [`InstanceSet`]: `borrow()` gives it as it is now, `changed().await` waits for the next change.
///
/// It changes only when the set itself does. It is closed once the backend it came from is dropped.
pub type InstanceWatch = watch::Receiver<InstanceSet>;

/// Where instances are announced and found.
///
/// Object-safe, because a manager is given any of them.
pub trait Discovery: Debug + Send + Sync + 'static {
    /// Announces an instance until the [`Published`] is dropped or withdrawn. Ready means that others can find it.
    ///
    /// # Errors
    /// `AlreadyExists` if this backend announces the same instance already; `Unavailable` with the reason if the
    /// backend cannot store it.
    fn publish(&self, instance: Instance) -> BoxFuture<'_, Result<Published, Error>>;

    /// The live set of the instances of one endpoint. Its first value may be empty until the backend has looked.
    ///
    /// # Panics
    /// A backend that works in the background panics outside of a tokio runtime.
    fn watch(&self, endpoint: &EndpointId) -> InstanceWatch;

    /// The live set of all instances of all endpoints.
    ///
    /// # Panics
    /// As [`watch`](Self::watch).
    fn watch_all(&self) -> InstanceWatch;

    /// All instances, looked up now.
    ///
    /// # Errors
    /// `Unavailable` with the reason if the backend cannot be read.
    fn list(&self) -> BoxFuture<'_, Result<Vec<Instance>, Error>>;

    /// Which backend this is and where it looks, for messages: `file (/run/user/1000/plane)`.
    fn describe(&self) -> String;

    /// The id that the next instance of `endpoint` at `address` must have, if the backend prescribes one.
    ///
    /// # Errors
    /// `AlreadyExists` if all that it prescribes are announced.
    fn assigned_id(&self, _endpoint: &EndpointId, _address: &Address) -> Result<Option<InstanceId>, Error> {
        Ok(None)
    }

    /// Waits until the others have been told of what was withdrawn here, as far as they can be. To be called before a
    /// process ends; whoever is not waited for is told in the background.
    ///
    /// # Cancel safety
    /// May be dropped and called again at any time.
    fn flush(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }

    /// Whether the backend can do its work now. What it last knew is still there while it cannot.
    fn health(&self) -> Health {
        Health::Ready
    }
}

/// An announced instance. Dropping it withdraws the announcement; a withdrawn instance is never picked again.
#[must_use = "dropping it withdraws the instance"]
pub struct Published {
    instance: Instance,
    withdraw: Option<Box<dyn FnOnce() + Send + Sync>>,
}

impl Published {
    /// An announcement that `withdraw` takes back. It runs exactly once and must not block for long.
    pub fn new(instance: Instance, withdraw: impl FnOnce() + Send + Sync + 'static) -> Self {
        Self { instance, withdraw: Some(Box::new(withdraw)) }
    }

    /// What is announced.
    #[must_use]
    pub fn instance(&self) -> &Instance {
        &self.instance
    }

    /// Takes the announcement back now.
    pub fn withdraw(self) {}
}

impl Drop for Published {
    fn drop(&mut self) {
        if let Some(withdraw) = self.withdraw.take() {
            withdraw();
        }
    }
}

impl Debug for Published {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Published").field(&self.instance).finish()
    }
}
