//! The face of the crate: what is served, what is called, and the end of both.

mod apart;
mod budget;
mod builder;
mod endpoint_client;
mod into_request;
mod known;
mod retry;
mod selection;
mod service;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use plane_core::{
    ClientStats, Delivery, DrainReport, EndpointId, Error, ErrorKind, Handler, Health, ServerStats, Transport,
};

pub use builder::NetworkManagerBuilder;
pub use endpoint_client::EndpointClient;
pub use into_request::IntoRequest;
pub use service::Service;

use crate::balance::InstancePicker;
#[cfg(feature = "nats")]
use crate::config::NATS_DELIVERY;
use crate::config::{Config, InvalidConfig, Strictness};
use crate::discovery::Discovery;
use crate::transports::Transports;
use apart::Apart;
use service::Announcements;
use tokio::runtime::Handle;

/// Serves endpoints and calls them, over the transport that the configuration names.
///
/// Clones are the same manager. Two managers share nothing: each has its own settings, server and clients. The server
/// is started by the first [`serve`](Self::serve), each client by the first call that needs it. When the last clone,
/// [`Service`] and [`EndpointClient`] is dropped, everything ends at once; [`drain`](Self::drain) first to let calls finish.
#[derive(Debug, Clone)]
pub struct NetworkManager {
    inner: Arc<Inner>,
}

struct Inner {
    config: Arc<Config>,
    discovery: Arc<dyn Discovery>,
    transports: Transports,
    announcements: Announcements,
    new_picker: Box<dyn Fn() -> Arc<dyn InstancePicker> + Send + Sync>,
    /// Where handlers run, if not where calls are carried.
    handlers: Option<Handle>,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NetworkManager")
            .field("config", &self.config)
            .field("discovery", &self.discovery)
            .field("transports", &self.transports)
            .finish_non_exhaustive()
    }
}

/// What the server and the clients of a manager have done so far and hold now.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ManagerStats {
    /// The server, if one was started.
    pub server: Option<ServerStats>,
    /// The clients that were needed so far.
    pub clients: Vec<(Transport, ClientStats)>,
}

impl NetworkManager {
    /// A manager with the settings of this process's environment. An invalid `DYN_REQUEST_PLANE` is logged as a
    /// warning, and TCP is used.
    ///
    /// Opens and spawns nothing; makes the discovery directory if that is the backend.
    ///
    /// # Errors
    /// `InvalidArgument` naming every bad variable, `FailedPrecondition` for a transport that this build lacks,
    /// `Unavailable` if the discovery directory cannot be used.
    pub fn from_env() -> Result<Self, Error> {
        Self::configured(Config::from_env(Strictness::Lenient))
    }

    /// The same, and an invalid `DYN_REQUEST_PLANE` is an error.
    ///
    /// # Errors
    /// As [`from_env`](Self::from_env).
    pub fn from_env_strict() -> Result<Self, Error> {
        Self::configured(Config::from_env(Strictness::Strict))
    }

    fn configured(config: Result<Config, InvalidConfig>) -> Result<Self, Error> {
        Self::builder().config(config?).build()
    }

    /// Sets a manager up by hand.
    #[must_use]
    pub fn builder() -> NetworkManagerBuilder {
        NetworkManagerBuilder::default()
    }

    /// What carries the calls to what is served here.
    #[must_use]
    pub fn mode(&self) -> Transport {
        self.inner.config.mode
    }

    /// The settings.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.inner.config
    }

    /// Where instances are announced and found.
    #[must_use]
    pub fn discovery(&self) -> &Arc<dyn Discovery> {
        &self.inner.discovery
    }

    /// Answers calls to a new instance of `endpoint` until the [`Service`] is dropped or shut down.
    ///
    /// Starts the server if there is none yet, which spawns the task that accepts its connections. Once this is ready,
    /// others find the instance, and a call to it succeeds.
    ///
    /// # Errors
    /// `Unavailable` if the server cannot listen or the instance cannot be published, `InvalidArgument` for settings
    /// that cannot work, `Cancelled` after [`drain`](Self::drain).
    pub async fn serve(&self, endpoint: EndpointId, handler: impl Handler) -> Result<Service, Error> {
        self.serve_with_metadata(endpoint, BTreeMap::new(), handler).await
    }

    /// The same, telling callers something about the instance, for example the model that it serves.
    ///
    /// # Errors
    /// As [`serve`](Self::serve).
    pub async fn serve_with_metadata(
        &self,
        endpoint: EndpointId,
        metadata: BTreeMap<String, String>,
        handler: impl Handler,
    ) -> Result<Service, Error> {
        let handler: Arc<dyn Handler> = match &self.inner.handlers {
            Some(runtime) => Arc::new(Apart::new(runtime.clone(), Arc::new(handler))),
            None => Arc::new(handler),
        };
        Service::start(&self.inner, endpoint, metadata, handler).await
    }

    /// A client of whatever instances answer `endpoint`, now and later.
    ///
    /// # Panics
    /// Outside of a tokio runtime, with a discovery backend that works in the background.
    #[must_use]
    pub fn client(&self, endpoint: EndpointId) -> EndpointClient {
        EndpointClient::new(self.inner.clone(), endpoint)
    }

    /// The stored requests of this prefix, for whoever operates them. Connects to NATS, and makes the store if it is not there.
    ///
    /// # Errors
    /// `FailedPrecondition` unless `DYN_NATS_DELIVERY` is `jetstream`, or if the store that is there is set up in another
    /// way; what connecting to NATS can fail with.
    #[cfg(feature = "nats")]
    pub async fn request_store(&self) -> Result<plane_nats::RequestStore, Error> {
        plane_nats::RequestStore::open(self.store_connection()?).await
    }

    /// The same, after changing the store that is there to the settings of this manager.
    ///
    /// # Errors
    /// As [`request_store`](Self::request_store); `FailedPrecondition` if the NATS server does not allow the change.
    #[cfg(feature = "nats")]
    pub async fn apply_store_settings(&self) -> Result<plane_nats::RequestStore, Error> {
        plane_nats::RequestStore::apply(self.store_connection()?).await
    }

    #[cfg(feature = "nats")]
    fn store_connection(&self) -> Result<&plane_nats::NatsConnection, Error> {
        let transports = &self.inner.transports;
        if transports.store().is_none() {
            let what = format!("requests are stored with {NATS_DELIVERY}=jetstream only");
            return Err(Error::new(ErrorKind::FailedPrecondition, Delivery::NotSent, what));
        }
        Ok(transports.nats_connection())
    }

    /// Ends everything in order: withdraws what is announced, refuses new calls, lets those in flight finish until
    /// `deadline`, then aborts the rest. The report counts calls answered here and calls made from here.
    pub async fn drain(&self, deadline: Instant) -> DrainReport {
        self.inner.announcements.withdraw_all();
        let told = tokio::time::timeout_at(deadline.into(), self.inner.discovery.flush());
        // Too late or not: calls that still come are refused, and go to another instance.
        let (_, report) = tokio::join!(told, self.inner.transports.drain(deadline));
        report
    }

    /// The worst that discovery, the server and the clients say. A server or client that was not needed yet says nothing.
    #[must_use]
    pub fn health(&self) -> Health {
        let all = self.inner.transports.health().chain([self.inner.discovery.health()]);
        all.max_by_key(severity).unwrap_or(Health::Ready)
    }

    /// What was done so far.
    #[must_use]
    pub fn stats(&self) -> ManagerStats {
        let transports = &self.inner.transports;
        ManagerStats { server: transports.server_stats(), clients: transports.client_stats() }
    }
}

fn severity(health: &Health) -> u8 {
    match health {
        Health::Ready => 0,
        Health::Degraded(_) => 1,
        _ => 2,
    }
}

impl From<InvalidConfig> for Error {
    fn from(error: InvalidConfig) -> Self {
        Self::new(ErrorKind::InvalidArgument, Delivery::NotSent, error.to_string()).with_source(error)
    }
}
