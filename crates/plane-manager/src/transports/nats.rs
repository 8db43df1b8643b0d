//! Calls over NATS.

use std::sync::Arc;

use plane_core::Error;
use plane_nats::{NatsClient, NatsConnection, NatsServer};
use tokio_util::task::AbortOnDropHandle;

use super::{Client, Served};

pub(super) fn client(connection: &NatsConnection) -> Client {
    Arc::new(NatsClient::new(connection))
}

/// Connects the server and spawns the task that takes in its calls. The task ends with what is returned.
pub(super) async fn serve(connection: &NatsConnection) -> Result<Served, Error> {
    let (server, driver) = NatsServer::bind(connection).await?;
    Ok(Served { server: Arc::new(server), _driving: Some(AbortOnDropHandle::new(tokio::spawn(driver))) })
}
