//! The one place that reads the environment: picks the transport, finds instances, balances, retries and drains.
//!
//! Application code names an endpoint and never a transport:
//!
//! ```no_run
//! use plane_manager::NetworkManager;
//! use plane_core::{handler_fn, Context, Request, Response};
//!
//! # async fn example() -> Result<(), plane_core::Error> {
//! let manager = NetworkManager::from_env_strict()?;
//! let endpoint: plane_core::EndpointId = "dynamo.backend.generate".parse().expect("three tokens");
//! let echo = handler_fn(|request: Request, _: Context| async move { Ok(Response::new(request.body)) });
//! let service = manager.serve(endpoint.clone(), echo).await?;
//! let answer = manager.client(endpoint).call("hello").await?.message().await?;
//! # drop((service, answer)); Ok(()) }
//! ```
//!
//! # Layout
//! In reading order; a module uses only what stands above it.
//! - `config`: the environment, read once and checked whole ([`Config`]).
//! - `discovery`: which instances there are ([`Discovery`]): in memory, a static list, a directory on disk, or a
//!   bucket on a NATS server.
//! - `balance`: which of them answers the next call ([`InstancePicker`]).
//! - `transports`: the lazily created server and clients of one manager.
//! - `manager`: [`NetworkManager`], [`Service`] and [`EndpointClient`].

mod config;
pub use config::{
    Config, ConfigProblem, ConfigWarning, DiscoveryConfig, InvalidConfig, NatsCredentials, NatsSettings, NatsTls,
    RpcHost, StaticInstance, StoreSettings, Strictness, TcpSettings, TcpTls, parse_duration, parse_size,
};

mod discovery;
pub use discovery::{
    ANY_INSTANCE, Discovery, FileDiscovery, InstanceSet, InstanceWatch, MemDiscovery, Published, StaticDiscovery,
};

#[cfg(feature = "nats")]
pub use discovery::{NatsDiscovery, NatsDiscoveryConfig};

mod balance;
pub use balance::{InstancePicker, Random, RoundRobin};

mod transports;

mod manager;
pub use manager::{EndpointClient, IntoRequest, ManagerStats, NetworkManager, NetworkManagerBuilder, Service};

/// Doors for fuzzing (crates/plane-fuzz).
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing {
    pub use crate::config::fuzzing::settings;
}

#[cfg(feature = "nats")]
pub use plane_nats::{DeadLetter, ReplayFrom, Replayed, RequestStore, StoreStats};
