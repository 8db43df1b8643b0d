//! What the processes of a run share.

use std::fmt;
use std::sync::Arc;

use anyhow::{Context, Result};
use plane_manager::{Config, NetworkManager, Strictness};
use tempfile::TempDir;
use tokio::process::Command;

/// What carries the calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plane {
    Tcp,
    Nats,
}

impl fmt::Display for Plane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Nats => "nats",
        })
    }
}

/// A deployment: its directory for discovery, and what carries its calls.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) plane: Plane,
    directory: Arc<TempDir>,
    nats: String,
}

impl Place {
    /// A place of its own; calls over NATS go through the server at this URL.
    pub(crate) fn new(plane: Plane, nats: &str) -> Result<Self> {
        let directory = tempfile::tempdir().context("cannot create a temporary directory for discovery")?;
        Ok(Self { plane, directory: Arc::new(directory), nats: nats.to_owned() })
    }

    /// The same place, reached through the NATS server at another URL.
    pub(crate) fn with_nats(&self, url: &str) -> Self {
        Self { plane: self.plane, directory: self.directory.clone(), nats: url.to_owned() }
    }

    /// The URL of the NATS server.
    pub(crate) fn nats(&self) -> &str {
        &self.nats
    }

    fn vars(&self) -> Vec<(String, String)> {
        let directory = self.directory.path().to_string_lossy().into_owned();
        let vars = [
            ("DYN_REQUEST_PLANE", self.plane.to_string()),
            ("NATS_SERVER", self.nats.clone()),
            ("DYN_DISCOVERY_BACKEND", "file".to_owned()),
            ("DYN_DISCOVERY_DIR", directory),
            ("DYN_TCP_RPC_HOST", "127.0.0.1".to_owned()),
        ];
        vars.map(|(name, value)| (name.to_owned(), value)).to_vec()
    }

    /// A manager of the calling side.
    pub(crate) fn manager(&self) -> Result<NetworkManager> {
        manager(self.vars())
    }

    /// A manager that knows of these instances alone.
    pub(crate) fn manager_of(&self, instances: &str) -> Result<NetworkManager> {
        let listed = [("DYN_DISCOVERY_BACKEND", "static"), ("DYN_STATIC_INSTANCES", instances)];
        let mut vars = self.vars();
        vars.retain(|(name, _)| name != "DYN_DISCOVERY_BACKEND");
        vars.extend(listed.map(|(name, value)| (name.to_owned(), value.to_owned())));
        manager(vars)
    }

    /// This program in another role, in the environment of this place.
    pub(crate) fn command(&self, args: &[&str]) -> Result<Command> {
        let mut command = Command::new(std::env::current_exe().context("cannot find the path of this program")?);
        let ours = |name: &str| name.starts_with("DYN_") || name.starts_with("NATS_");
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(ours)) {
            command.env_remove(name);
        }
        command.args(args).envs(self.vars()).kill_on_drop(true);
        Ok(command)
    }
}

fn manager(vars: Vec<(String, String)>) -> Result<NetworkManager> {
    let config = Config::from_vars(vars, Strictness::Strict)?;
    Ok(NetworkManager::builder().config(config).build()?)
}
