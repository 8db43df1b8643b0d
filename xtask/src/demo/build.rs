//! Builds the `plane` binary.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::workspace::{cargo, shown};

/// How often a build says how long it has taken so far.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// Builds `plane` and gives its path. Not optimised unless asked for: that is what a newcomer waits least for.
pub(super) fn plane(release: bool) -> Result<PathBuf> {
    let mut command = cargo();
    command.args(["build", "--package", "plane-cli", "--bin", "plane", "--message-format", "json-render-diagnostics"]);
    if release {
        command.arg("--release");
    }
    println!("Building plane ({}); the first time this compiles all that it uses.", shown(&command));
    let started = Instant::now();
    let mut child = command.stdout(Stdio::piped()).spawn().context("cannot start cargo")?;
    let stdout = child.stdout.take().context("cargo has no standard output")?;
    let (lines, incoming) = sync_channel(64);
    let reading = std::thread::spawn(move || {
        BufReader::new(stdout).lines().map_while(Result::ok).try_for_each(|line| lines.send(line))
    });
    let (mut binary, mut next_beat) = (None, started + HEARTBEAT);
    loop {
        match incoming.recv_timeout(next_beat.saturating_duration_since(Instant::now())) {
            Ok(line) => binary = executable(&line).or(binary),
            Err(RecvTimeoutError::Timeout) => {
                println!("  still building, {} s so far", started.elapsed().as_secs());
                next_beat += HEARTBEAT;
            }
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    // It ended with the channel; sending cannot have failed while this side received.
    drop(reading);
    let status = child.wait().context("cannot wait for cargo")?;
    ensure!(status.success(), "the build failed ({status}); its errors stand above");
    println!("  built in {:.1} s", started.elapsed().as_secs_f64());
    binary.context("cargo did not say where it put plane")
}

/// The path in cargo's message about the finished binary.
fn executable(line: &str) -> Option<PathBuf> {
    let message: serde_json::Value = serde_json::from_str(line).ok()?;
    let is_plane = message["reason"] == "compiler-artifact" && message["target"]["name"] == "plane";
    is_plane.then(|| message["executable"].as_str().map(PathBuf::from)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_binary_is_found_among_the_messages() {
        let ours = r#"{"reason":"compiler-artifact","target":{"name":"plane"},"executable":"/t/plane"}"#;
        assert_eq!(executable(ours), Some(PathBuf::from("/t/plane")));
        for other in ["", "x", r#"{"reason":"compiler-artifact","target":{"name":"plane_cli"},"executable":null}"#] {
            assert_eq!(executable(other), None);
        }
    }
}
