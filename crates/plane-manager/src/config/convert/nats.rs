//! The settings as `plane-nats` takes them.

use plane_core::{ConfigError, Error};
use plane_nats::{Credentials, NatsConfig, Tls};

use super::refuse;
use crate::config::{NatsCredentials, NatsSettings};

impl NatsSettings {
    /// # Errors
    /// `InvalidArgument` for a value that was set by hand to what no variable accepts.
    pub(crate) fn nats_config(&self) -> Result<NatsConfig, Error> {
        self.build().map_err(refuse)
    }

    fn build(&self) -> Result<NatsConfig, ConfigError> {
        let Self { tls, .. } = self;
        let config = if self.servers.is_empty() {
            NatsConfig::default()
        } else {
            NatsConfig::default().servers(&self.servers)?
        };
        config
            .credentials(self.credentials.clone().into())
            .tls(Tls { required: tls.required, roots: tls.ca.clone(), identity: tls.identity.clone() })
            .prefix(&self.prefix)?
            .inbox_prefix(&self.inbox_prefix)?
            .max_message(self.max_message_size)?
            .chunking(self.chunking)
            .request_timeout(self.request_timeout)?
            .connect_timeout(self.connect_timeout)
    }
}

impl From<NatsCredentials> for Credentials {
    fn from(credentials: NatsCredentials) -> Self {
        match credentials {
            NatsCredentials::None => Self::None,
            NatsCredentials::UserPassword { user, password } => Self::UserPassword { user, password },
            NatsCredentials::Token(token) => Self::Token(token),
            NatsCredentials::Nkey(seed) => Self::Nkey(seed),
            NatsCredentials::File(path) => Self::File(path),
        }
    }
}
