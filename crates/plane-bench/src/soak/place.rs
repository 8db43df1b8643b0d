//! What the processes of a run share.

use std::fmt;

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
    directory: TempDir,
    nats: String,
}

impl Place {
    /// A place of its own; calls over NATS go through the server at this URL.
    pub(crate) fn new(plane: Plane, nats: &str) -> Result<Self> {
        let directory = tempfile::tempdir().context("cannot create a temporary directory for discovery")?;
        Ok(Self { plane, directory, nats: nats.to_owned() })
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
        let config = Config::from_vars(self.vars(), Strictness::Strict)?;
        Ok(NetworkManager::builder().config(config).build()?)
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
