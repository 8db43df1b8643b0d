//! Calls over TCP.

mod listen;

use std::sync::Arc;

use plane_core::{Authorizer, Delivery, Error, ErrorKind};
use plane_tcp::{ClientConfig, TcpClient, TcpServer};
use tokio_util::task::AbortOnDropHandle;

use super::{Client, Served};
use crate::config::{RpcHost, TCP_RPC_HOST, TCP_RPC_PORT, TcpSettings};
use listen::Listening;

pub(super) fn client(config: ClientConfig) -> Client {
    Arc::new(TcpClient::new(config))
}

/// Binds the server and spawns the task that accepts its connections. The task ends with what is returned.
pub(super) async fn serve(settings: &TcpSettings, authorizer: Option<Authorizer>) -> Result<Served, Error> {
    let listening = listening(settings)?;
    let mut config = settings.server_config(listening.bind, listening.advertise)?;
    if let Some(authorizer) = authorizer {
        config = config.authorizer(authorizer);
    }
    let (server, driver) = TcpServer::bind(config).await.map_err(|error| {
        let what = format!("{error}; {TCP_RPC_HOST} and {TCP_RPC_PORT} choose another address");
        Error::new(error.kind(), Delivery::NotSent, what).with_source(error)
    })?;
    Ok(Served { server: Arc::new(server), _driving: Some(AbortOnDropHandle::new(tokio::spawn(driver))) })
}

fn listening(settings: &TcpSettings) -> Result<Listening, Error> {
    let TcpSettings { host, port, .. } = settings;
    if let RpcHost::Address(address) = host
        && !address.is_unspecified()
    {
        // Needs no look at the interfaces, which may fail.
        return Ok(Listening { bind: (*address, *port).into(), advertise: None });
    }
    let interfaces = if_addrs::get_if_addrs().map_err(|error| {
        let what = format!("cannot list the network interfaces: {error}; set {TCP_RPC_HOST} to an address");
        Error::new(ErrorKind::Unavailable, Delivery::NotSent, what).with_source(error)
    })?;
    listen::resolve(host, *port, &interfaces)
}
