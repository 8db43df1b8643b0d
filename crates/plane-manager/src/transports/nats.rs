//! Calls over NATS.

use std::sync::Arc;

use plane_core::{Authorizer, Error};
use plane_nats::{NatsClient, NatsConnection, NatsServer};
use tokio_util::task::AbortOnDropHandle;

use super::{Client, Served};
use crate::config::NatsSettings;

/// A connection with these settings. Nothing is opened.
pub(super) fn connection(settings: &NatsSettings, authorizer: Option<Authorizer>) -> Result<NatsConnection, Error> {
    let config = settings.nats_config()?;
    Ok(NatsConnection::new(match authorizer {
        Some(authorizer) => config.authorizer(authorizer),
        None => config,
    }))
}

pub(super) fn client(connection: &NatsConnection) -> Client {
    Arc::new(NatsClient::new(connection))
}

/// Connects the server and spawns the task that takes in its calls. The task ends with what is returned.
pub(super) async fn serve(connection: &NatsConnection) -> Result<Served, Error> {
    let (server, driver) = NatsServer::bind(connection).await?;
    Ok(Served { server: Arc::new(server), _driving: Some(AbortOnDropHandle::new(tokio::spawn(driver))) })
}
