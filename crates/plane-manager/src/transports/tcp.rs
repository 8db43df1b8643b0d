//! Calls over TCP.

use std::sync::Arc;

use plane_core::{Delivery, Error, ErrorKind};
use plane_tcp::{ClientConfig, TcpClient, TcpServer};
use tokio_util::task::AbortOnDropHandle;

use super::{Client, Served};
use crate::config::{self, Listening, RpcHost, TCP_RPC_HOST, TCP_RPC_PORT, TcpSettings};

pub(super) fn client(config: ClientConfig) -> Client {
    Arc::new(TcpClient::new(config))
}

/// Binds the server and spawns the task that accepts its connections. The task ends with what is returned.
pub(super) async fn serve(settings: &TcpSettings) -> Result<Served, Error> {
    let listening = listening(settings)?;
    let bind = listening.bind;
    let (server, driver) = TcpServer::bind(settings.server_config(listening)?).await.map_err(|error| {
        let what = format!("cannot listen on {bind} (set by {TCP_RPC_HOST} and {TCP_RPC_PORT}): {error}");
        Error::new(error.kind(), Delivery::NotSent, what).with_source(error)
    })?;
    Ok(Served { server: Arc::new(server), _accepting: Some(AbortOnDropHandle::new(tokio::spawn(driver))) })
}

fn listening(settings: &TcpSettings) -> Result<Listening, Error> {
    let interfaces = if_addrs::get_if_addrs().map_err(|error| {
        let what = format!("cannot list the network interfaces: {error}; set {TCP_RPC_HOST} to an address");
        Error::new(ErrorKind::Unavailable, Delivery::NotSent, what).with_source(error)
    });
    match (&settings.host, interfaces) {
        // A plain address needs no look at the interfaces.
        (RpcHost::Address(address), _) if !address.is_unspecified() => {
            Ok(Listening { bind: (*address, settings.port).into(), advertise: None })
        }
        (_, Err(error)) => Err(error),
        (host, Ok(interfaces)) => config::resolve(host, settings.port, &interfaces).map_err(|names| {
            let RpcHost::Interface(name) = host else { unreachable!("only a name can be missing") };
            let what = format!(
                "{TCP_RPC_HOST}=\"{name}\" is neither an address nor a network interface of this host; its interfaces \
                 are {}",
                names.join(", ")
            );
            Error::new(ErrorKind::InvalidArgument, Delivery::NotSent, what)
        }),
    }
}
