//! Calls within the process.

use std::sync::Arc;

use plane_core::mem::{MemClient, MemConfig, MemNetwork, MemServer};
use plane_core::{Authorizer, Error};

use super::{Client, Served};
use crate::config::TcpSettings;

/// A server at a name that no other manager of the network has.
pub(super) fn serve(network: &MemNetwork, authorizer: Option<Authorizer>) -> Result<Served, Error> {
    let name = format!("manager-{:016x}", fastrand::u64(..));
    let server = MemServer::bind(network, &name, MemConfig { authorizer, ..MemConfig::default() })?;
    Ok(Served { server: Arc::new(server), _driving: None })
}

/// A client with the limits that the same calls would have over TCP.
pub(super) fn client(network: &MemNetwork, settings: &TcpSettings) -> Client {
    let config = MemConfig {
        max_message: settings.max_message_size,
        request_timeout: settings.request_timeout,
        ..MemConfig::default()
    };
    Arc::new(MemClient::new(network, config))
}
