//! The settings as `plane-nats` takes them.

use plane_core::{ConfigError, Error};
use plane_nats::{Credentials, NatsConfig, NatsDelivery, StoreConfig, Tls};

use super::refuse;
use crate::config::{NatsCredentials, NatsSettings, StoreSettings};

/// How many times the first delay the last one is at most.
const RETRY_GROWTH: u32 = 60;

impl NatsSettings {
    /// # Errors
    /// `InvalidArgument` for a value that was set by hand to what no variable accepts.
    pub(crate) fn nats_config(&self) -> Result<NatsConfig, Error> {
        self.build().map_err(refuse)
    }

    fn build(&self) -> Result<NatsConfig, ConfigError> {
        let Self { tls, .. } = self;
        let delivery = match &self.store {
            Some(store) => NatsDelivery::JetStream(store.store_config()?),
            None => NatsDelivery::Core,
        };
        let config = if self.servers.is_empty() {
            NatsConfig::default()
        } else {
            NatsConfig::default().servers(&self.servers)?
        };
        config
            .delivery(delivery)
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

impl StoreSettings {
    fn store_config(&self) -> Result<StoreConfig, ConfigError> {
        StoreConfig::default()
            .max_bytes(self.max_bytes)?
            .max_age(self.max_age)?
            .replicas(self.replicas)?
            .duplicate_window(self.duplicate_window)?
            .max_attempts(self.max_attempts)?
            .retry_delay(self.retry_delay, RETRY_GROWTH * self.retry_delay)
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
