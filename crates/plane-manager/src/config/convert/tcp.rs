//! The settings as `plane-tcp` takes them.

use std::net::SocketAddr;

use plane_core::{ConfigError, Error};
use plane_tcp::{ClientConfig, ConnectionConfig, Listen, ServerConfig};

use super::refuse;
use crate::config::TcpSettings;

impl TcpSettings {
    /// # Errors
    /// `InvalidArgument` for a value that was set by hand to what no variable accepts, and for a TLS file that cannot be
    /// used; `FailedPrecondition` for settings of TLS in a build without it.
    pub(crate) fn client_config(&self) -> Result<ClientConfig, Error> {
        let build = || {
            ClientConfig::default()
                .connection(self.connection_config()?)
                .pool_size(self.pool_size)?
                .channel_buffer(self.channel_buffer)?
                .connect_timeout(self.connect_timeout)?
                .request_timeout(self.request_timeout)
        };
        self.tls.add_to_client(build().map_err(refuse)?)
    }

    /// # Errors
    /// As [`client_config`](Self::client_config).
    pub(crate) fn server_config(&self, bind: SocketAddr, advertise: Option<String>) -> Result<ServerConfig, Error> {
        let connection = self.connection_config().map_err(refuse)?;
        self.tls.add_to_server(ServerConfig::new(Listen::Tcp { bind, advertise }).connection(connection))
    }

    fn connection_config(&self) -> Result<ConnectionConfig, ConfigError> {
        ConnectionConfig::default().max_message(self.max_message_size)?.shrink_message(self.shrink_message_size)
    }
}
