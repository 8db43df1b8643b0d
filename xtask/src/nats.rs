//! The NATS server that tests and the demo need.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::workspace::root;

/// Where tests look for the server.
pub(crate) const VARIABLE: &str = "PLANE_NATS_SERVER";

/// The path of a nats-server that is new enough: the one that the environment names, one on PATH, or one that
/// `scripts/install-nats-server.sh` installs under `target`.
pub(crate) fn server() -> Result<PathBuf> {
    if let Some(named) = std::env::var_os(VARIABLE) {
        let path = PathBuf::from(named);
        ensure!(path.is_file(), "{VARIABLE} names {}, which is no file: unset it or correct it", path.display());
        return Ok(path);
    }
    // What it is doing, and what went wrong, goes where our own errors go.
    let output = Command::new("bash")
        .arg(root().join("scripts/install-nats-server.sh"))
        .current_dir(root())
        .stderr(Stdio::inherit())
        .output()
        .context("cannot start scripts/install-nats-server.sh; it needs bash")?;
    ensure!(output.status.success(), "no nats-server: scripts/install-nats-server.sh says above what helps");
    let path = String::from_utf8(output.stdout).context("scripts/install-nats-server.sh printed no path")?;
    Ok(PathBuf::from(path.trim_end()))
}
