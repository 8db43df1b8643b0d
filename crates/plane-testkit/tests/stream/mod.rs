//! What the fixtures of TCP and of Unix sockets share.

use std::sync::Arc;
use std::time::Duration;

use plane_core::{ConfigError, RequestPlaneClient, RequestPlaneServer};
use plane_tcp::{ClientConfig, ConnectionConfig, Listen, ServerConfig, TcpClient, TcpServer};
use plane_testkit::conformance::Limits;

pub(crate) async fn serve(listen: Listen, limits: Limits) -> Arc<dyn RequestPlaneServer> {
    let config = server_config(listen, limits).expect("limits in range");
    let (server, driver) = TcpServer::bind(config).await.expect("the address is free");
    tokio::spawn(driver);
    Arc::new(server)
}

pub(crate) fn client(limits: Limits) -> Arc<dyn RequestPlaneClient> {
    Arc::new(TcpClient::new(client_config(limits).expect("limits in range")))
}

fn connection_config(limits: Limits) -> Result<ConnectionConfig, ConfigError> {
    ConnectionConfig::default().max_message(limits.max_message)?.credit(limits.window)?.headers(limits.headers)
}

fn server_config(listen: Listen, limits: Limits) -> Result<ServerConfig, ConfigError> {
    // Well below the time to be accepted, as a deployment has it.
    let accept_notice = (limits.request_timeout / 5).min(Duration::from_millis(100));
    let config = ServerConfig::new(listen).connection(connection_config(limits)?).admission(limits.admission);
    config.accept_notice(accept_notice)
}

fn client_config(limits: Limits) -> Result<ClientConfig, ConfigError> {
    ClientConfig::default()
        .connection(connection_config(limits)?)
        .pool_size(limits.connections)?
        .channel_buffer(limits.queue)?
        .request_timeout(limits.request_timeout)
}
