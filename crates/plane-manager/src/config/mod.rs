//! The environment, read once and checked whole: nothing else in the workspace's libraries reads it.

mod check;
#[cfg(any(feature = "tcp", feature = "nats"))]
mod convert;
mod discovery;
mod host;
mod names;
mod nats;
mod problem;
mod raw;
mod servers;
mod store;
mod tcp;
mod tls;
mod values;

use plane_core::Transport;

pub use discovery::{DiscoveryConfig, StaticInstance};
pub use host::RpcHost;
pub use nats::{NatsCredentials, NatsSettings, NatsTls};
pub use problem::{ConfigProblem, ConfigWarning, InvalidConfig};
pub use store::StoreSettings;
pub use tcp::TcpSettings;
pub use tls::TcpTls;
pub use values::{parse_duration, parse_size};

#[cfg(not(feature = "nats"))]
pub(crate) use names::DISCOVERY_BACKEND;
pub(crate) use names::{DISCOVERY_DIR, NATS_DELIVERY, NATS_SERVER, REQUEST_PLANE, STATIC_INSTANCES};
#[cfg(feature = "nats")]
pub(crate) use names::{NATS_BUCKET, NATS_INSTANCE_TTL};
#[cfg(feature = "tcp")]
pub(crate) use names::{TCP_RPC_HOST, TCP_RPC_PORT};
use problem::Findings;
use raw::Raw;

/// What an invalid `DYN_REQUEST_PLANE` leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strictness {
    /// A [`ConfigWarning`], and TCP is used.
    Lenient,
    /// An error.
    Strict,
}

/// What a [`NetworkManager`](crate::NetworkManager) is set to. docs/configuration.md has the table of variables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// What carries calls (`DYN_REQUEST_PLANE`); TCP by default.
    pub mode: Transport,
    /// Settings of calls over TCP (`DYN_TCP_*`).
    pub tcp: TcpSettings,
    /// Settings of calls over NATS (`NATS_*`, `DYN_NATS_*`).
    pub nats: NatsSettings,
    /// Where instances are announced and found (`DYN_DISCOVERY_BACKEND` and those beside it).
    pub discovery: DiscoveryConfig,
    /// What was odd and not wrong. [`from_env`](Self::from_env) has logged them.
    pub warnings: Vec<ConfigWarning>,
}

impl Default for Config {
    /// What an empty environment gives: TCP, and discovery in a directory of the system's temporary directory.
    fn default() -> Self {
        Self {
            mode: Transport::Tcp,
            tcp: TcpSettings::default(),
            nats: NatsSettings::default(),
            discovery: DiscoveryConfig::default(),
            warnings: Vec::new(),
        }
    }
}

impl Config {
    /// Reads and checks the variables of this process, and logs each warning.
    ///
    /// # Errors
    /// [`InvalidConfig`] with every bad value.
    pub fn from_env(strictness: Strictness) -> Result<Self, InvalidConfig> {
        // A value that is not UTF-8 keeps its replacement characters, which no variable accepts.
        let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
        let config = Self::from_vars(std::env::vars_os().map(|(name, value)| (text(name), text(value))), strictness)?;
        for warning in &config.warnings {
            tracing::warn!("{warning}");
        }
        Ok(config)
    }

    /// Reads and checks these variables, and no others. An empty value counts as unset.
    ///
    /// # Errors
    /// [`InvalidConfig`] with every bad value.
    pub fn from_vars(
        vars: impl IntoIterator<Item = (String, String)>,
        strictness: Strictness,
    ) -> Result<Self, InvalidConfig> {
        let mut findings = Findings::default();
        let raw = Raw::read(vars, &mut findings);
        let config = Self {
            mode: mode(raw.request_plane.as_deref(), strictness, &mut findings),
            tcp: TcpSettings::check(&raw, &mut findings),
            nats: NatsSettings::check(&raw, &mut findings),
            discovery: DiscoveryConfig::check(&raw, &mut findings),
            warnings: Vec::new(),
        };
        let warnings = findings.into_result()?;
        Ok(Self { warnings, ..config })
    }

    /// How long the first call to an endpoint waits for an instance.
    pub(crate) fn request_timeout(&self) -> std::time::Duration {
        match self.mode {
            Transport::Nats => self.nats.request_timeout,
            _ => self.tcp.request_timeout,
        }
    }
}

fn mode(value: Option<&str>, strictness: Strictness, findings: &mut Findings) -> Transport {
    let Some(value) = value else { return Transport::Tcp };
    match (value.to_ascii_lowercase().as_str(), strictness) {
        ("tcp", _) => return Transport::Tcp,
        ("nats", _) => return Transport::Nats,
        (_, Strictness::Lenient) => findings.warn(ConfigWarning::InvalidMode { value: value.to_owned() }),
        (_, Strictness::Strict) => findings.refuse(ConfigProblem::invalid_mode(value)),
    }
    Transport::Tcp
}

#[cfg(test)]
mod documentation;
#[cfg(fuzzing)]
pub(crate) mod fuzzing;
#[cfg(test)]
mod tests;
