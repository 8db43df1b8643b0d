//! Threat C28: standard error that takes nothing does not hold up or end a worker.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Far more than anything here takes.
const IN_TIME: Duration = Duration::from_secs(60);

fn plane(directory: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_plane"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("DYN_")) {
        command.env_remove(name);
    }
    command.env("DYN_DISCOVERY_DIR", directory).env("DYN_TCP_RPC_HOST", "127.0.0.1").env("RUST_LOG", "trace");
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped());
    command
}

/// Whether it ends well, in time.
fn ends_well(mut child: Child) -> bool {
    let began = Instant::now();
    while began.elapsed() < IN_TIME {
        if let Some(status) = child.try_wait().unwrap() {
            return status.success();
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    false
}

/// A worker that logs all there is to log answers calls, and ends when it is asked to.
fn serves_with(stderr: Stdio) {
    let directory = tempfile::tempdir().unwrap();
    let worker = plane(directory.path(), &["worker", "--model", "echo", "--engine", "echo"]).stderr(stderr).spawn();
    let worker = worker.unwrap();
    for _ in 0..3 {
        let mut call = plane(
            directory.path(),
            &["call", "dynamo.backend.generate", "{\"model\": \"echo\", \"prompt\": \"Hello\"}"],
        );
        assert!(ends_well(call.stderr(Stdio::null()).spawn().unwrap()), "a call was not answered");
    }
    let pid = worker.id().to_string();
    assert!(Command::new("kill").args(["-s", "TERM", &pid]).status().unwrap().success());
    assert!(ends_well(worker), "the worker did not end well");
}

#[test]
fn a_full_disk_behind_the_log_changes_nothing() {
    serves_with(OpenOptions::new().write(true).open("/dev/full").unwrap().into());
}

#[test]
fn a_log_whose_reader_is_gone_changes_nothing() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    serves_with(writer.into());
}

#[test]
fn a_log_that_nobody_reads_holds_up_nobody() {
    let (_reader, mut writer) = std::io::pipe().unwrap();
    // As much as a pipe takes: the next byte waits for ever.
    writer.write_all(&[b'x'; 64 << 10]).unwrap();
    serves_with(writer.into());
}
