//! Setting a manager up by hand.

use std::fmt;
use std::sync::Arc;

use plane_core::mem::MemNetwork;
use plane_core::{Authorizer, Error, Transport};
use tokio::runtime::Handle;

use super::service::Announcements;
use super::{Inner, NetworkManager};
use crate::balance::{InstancePicker, RoundRobin};
use crate::config::{Config, DiscoveryConfig};
use crate::discovery::{Discovery, FileDiscovery, MemDiscovery, StaticDiscovery};
#[cfg(feature = "nats")]
use crate::discovery::{NatsDiscovery, NatsDiscoveryConfig};
use crate::transports::Transports;

/// Sets a [`NetworkManager`] up by hand.
#[derive(Default)]
pub struct NetworkManagerBuilder {
    config: Config,
    discovery: Option<Arc<dyn Discovery>>,
    network: Option<MemNetwork>,
    authorizer: Option<Authorizer>,
    new_picker: Option<Box<dyn Fn() -> Arc<dyn InstancePicker> + Send + Sync>>,
    handlers: Option<Handle>,
}

impl NetworkManagerBuilder {
    /// The settings; [`Config::default`] otherwise.
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Where instances are announced and found, in place of what the settings say.
    #[must_use]
    pub fn discovery(mut self, discovery: impl Discovery) -> Self {
        self.discovery = Some(Arc::new(discovery));
        self
    }

    /// Serves within the process, at `mem://` addresses of this network, whatever mode the settings name. Calls still
    /// go wherever an instance is.
    ///
    /// Instances are then kept in memory unless [`discovery`](Self::discovery) says otherwise: no other process could
    /// reach them.
    #[must_use]
    pub fn mem_network(mut self, network: MemNetwork) -> Self {
        self.network = Some(network);
        self
    }

    /// Who may call what is served here; anybody anything otherwise.
    #[must_use]
    pub fn authorizer(mut self, authorizer: Authorizer) -> Self {
        self.authorizer = Some(authorizer);
        self
    }

    /// How each client picks the instance for its next call; [`RoundRobin`] otherwise.
    #[must_use]
    pub fn picker<P: InstancePicker>(mut self, new: impl Fn() -> P + Send + Sync + 'static) -> Self {
        self.new_picker = Some(Box::new(move || Arc::new(new())));
        self
    }

    /// Runs handlers on this runtime, and not on the one that carries calls, which is the one that the first
    /// [`serve`](NetworkManager::serve) is called on.
    ///
    /// For handlers that may keep their thread, for example in a library that computes: keepalives and other calls go on, as
    /// long as this runtime has threads left. It costs each call a task and two wake-ups. A body that is a stream is still
    /// polled where calls are carried: send the messages of such an answer through [`Body::channel`](plane_core::Body::channel).
    #[must_use]
    pub fn handlers_on(mut self, runtime: Handle) -> Self {
        self.handlers = Some(runtime);
        self
    }

    /// The manager. Opens and spawns nothing; makes the discovery directory if that is the backend.
    ///
    /// # Errors
    /// `InvalidArgument` for settings that cannot work, `FailedPrecondition` for a transport that this build lacks,
    /// `Unavailable` if the discovery directory cannot be used.
    pub fn build(self) -> Result<NetworkManager, Error> {
        let Self { mut config, discovery, network, authorizer, new_picker, handlers } = self;
        if network.is_some() {
            config.mode = Transport::Mem;
        }
        let config = Arc::new(config);
        let transports = Transports::new(config.clone(), network.clone(), authorizer)?;
        let discovery = match (discovery, network, &config.discovery) {
            (Some(discovery), _, _) => discovery,
            (None, Some(_), _) | (None, None, DiscoveryConfig::Mem) => Arc::new(MemDiscovery::new()),
            (None, None, DiscoveryConfig::Static(list)) => Arc::new(StaticDiscovery::new(list)),
            (None, None, DiscoveryConfig::File { directory, private }) => {
                Arc::new(FileDiscovery::open(directory, *private)?)
            }
            #[cfg(feature = "nats")]
            (None, None, DiscoveryConfig::Nats { bucket, ttl }) => {
                let settings = NatsDiscoveryConfig::of_settings(&config.nats.prefix, bucket.as_deref(), *ttl)?;
                Arc::new(NatsDiscovery::new(transports.nats_connection().clone(), settings))
            }
            #[cfg(not(feature = "nats"))]
            (None, None, DiscoveryConfig::Nats { .. }) => return Err(without_nats()),
        };
        Ok(NetworkManager {
            inner: Arc::new(Inner {
                config,
                discovery,
                transports,
                announcements: Announcements::default(),
                handlers,
                new_picker: new_picker.unwrap_or_else(|| Box::new(|| Arc::new(RoundRobin::default()))),
            }),
        })
    }
}

#[cfg(not(feature = "nats"))]
fn without_nats() -> Error {
    let what = format!(
        "{}=nats, but this build knows nothing of NATS: build it with the feature nats",
        crate::config::DISCOVERY_BACKEND
    );
    Error::new(plane_core::ErrorKind::FailedPrecondition, plane_core::Delivery::NotSent, what)
}

impl fmt::Debug for NetworkManagerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NetworkManagerBuilder")
            .field("config", &self.config)
            .field("discovery", &self.discovery)
            .field("network", &self.network)
            .field("authorizer", &self.authorizer)
            .finish_non_exhaustive()
    }
}
