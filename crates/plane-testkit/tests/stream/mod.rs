//! What the fixtures of TCP, with TLS or without, and of Unix sockets share.

use std::sync::Arc;
use std::time::Duration;

use plane_core::{ConfigError, RequestPlaneClient, RequestPlaneServer};
use plane_tcp::{ClientConfig, ConnectionConfig, Listen, ServerConfig, TcpClient, TcpServer};
use plane_testkit::conformance::Limits;

pub(crate) async fn serve(config: ServerConfig) -> Arc<dyn RequestPlaneServer> {
    let (server, driver) = TcpServer::bind(config).await.expect("the address is free");
    tokio::spawn(driver);
    Arc::new(server)
}

pub(crate) fn client(config: ClientConfig) -> Arc<dyn RequestPlaneClient> {
    Arc::new(TcpClient::new(config))
}

fn connection_config(limits: Limits) -> Result<ConnectionConfig, ConfigError> {
    ConnectionConfig::default().max_message(limits.max_message)?.credit(limits.window)?.headers(limits.headers)
}

pub(crate) fn server_config(listen: Listen, limits: Limits) -> ServerConfig {
    // Well below the time to be accepted, as a deployment has it.
    let accept_notice = (limits.request_timeout / 5).min(Duration::from_millis(100));
    let build = || {
        let config = ServerConfig::new(listen).connection(connection_config(limits)?).admission(limits.admission);
        config.accept_notice(accept_notice)
    };
    build().expect("limits in range")
}

pub(crate) fn client_config(limits: Limits) -> ClientConfig {
    let build = || {
        ClientConfig::default()
            .connection(connection_config(limits)?)
            .pool_size(limits.connections)?
            .channel_buffer(limits.queue)?
            .request_timeout(limits.request_timeout)
    };
    build().expect("limits in range")
}
