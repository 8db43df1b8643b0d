//! The NATS server that tests, the demo and the benchmarks need.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::process::Process;
use crate::workspace::root;

/// Where tests look for the server.
pub(crate) const VARIABLE: &str = "PLANE_NATS_SERVER";

/// A NATS server of its own, on a free port of the loopback interface. It ends when dropped.
#[derive(Debug)]
pub(crate) struct NatsServer {
    _process: Process,
    url: String,
    /// Where its JetStream keeps what it stores.
    _directory: TempDir,
}

impl NatsServer {
    /// Starts it, on this core alone if one is given.
    pub(crate) fn start(pin: Option<u16>) -> Result<Self> {
        const READY: &str = "Listening for client connections on ";
        let directory = tempfile::tempdir().context("cannot create a temporary directory for nats-server")?;
        let program = server()?;
        let mut command = match pin {
            None => Command::new(program),
            Some(core) => {
                let mut command = Command::new("taskset");
                command.args(["--cpu-list", &core.to_string()]).arg(program);
                command
            }
        };
        command.args(["--addr", "127.0.0.1", "--port", "-1", "--jetstream", "--store_dir"]).arg(directory.path());
        let mut process = Process::start("nats-server", READY, &mut command)?;
        let line = process.wait_until_ready()?;
        let address = line.split(READY).nth(1).context("nats-server did not say where it listens")?;
        let url = format!("nats://{}", address.trim());
        Ok(Self { _process: process, url, _directory: directory })
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    /// Threat E29: what is installed for tests is what docs/nats.md says the tests are run with.
    #[test]
    fn the_installed_server_has_its_row_in_the_documents() {
        let read = |path: &str| std::fs::read_to_string(root().join(path)).unwrap();
        let script = read("scripts/install-nats-server.sh");
        let version = script.lines().find_map(|line| line.strip_prefix("version=")).unwrap();
        let row = format!("| {version} (what is installed for tests) | yes | yes | yes |");
        assert!(read("docs/nats.md").contains(&row), "no row {row}");
    }
}
