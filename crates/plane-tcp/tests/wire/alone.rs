//! Tests that need a process of their own, because they look at its memory or its descriptors, or because it has one core.

use std::process::Command;

use crate::world::soon;

/// Says in the process of its own that it is that.
const ALONE: &str = "PLANE_ALONE";

/// Whether this is a process with this test alone and up to so many descriptors. If it is not, such a process has run by the
/// time this returns, and the test has passed there.
pub(crate) async fn alone(test: &str, descriptors: u32) -> bool {
    if std::env::var_os(ALONE).is_some() {
        return true;
    }
    let program = std::env::current_exe().expect("the path of this test");
    let script = "ulimit -n \"$2\"; exec \"$0\" --exact \"$1\" --nocapture";
    let mut command = Command::new("sh");
    command.args(["-c", script]).arg(program).arg(test).arg(descriptors.to_string()).env(ALONE, "1");
    let output = soon(tokio::task::spawn_blocking(move || command.output())).await.expect("no panic").expect("sh");
    let text = String::from_utf8_lossy(&output.stdout);
    let passed = output.status.success() && text.contains("1 passed");
    assert!(passed, "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    false
}

/// Runs the tests of a module, but one, in a process with one core.
#[cfg(target_os = "linux")]
pub(crate) async fn on_one_core(module: &str, but: &str) {
    let status = std::fs::read_to_string("/proc/self/status").expect("this process");
    let cores = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).expect("it has cores");
    let core = cores.trim().split(['-', ',']).next().expect("a list has a first");
    let mut command = Command::new("taskset");
    let program = std::env::current_exe().expect("the path of this test");
    command.args(["-c", core]).arg(program).args([module, "--skip", but]);
    let output = soon(tokio::task::spawn_blocking(move || command.output())).await.expect("no panic");
    let output = output.expect("taskset, of util-linux");
    let text = String::from_utf8_lossy(&output.stdout);
    let passed = output.status.success() && !text.contains(" 0 passed");
    assert!(passed, "{text}\n{}", String::from_utf8_lossy(&output.stderr));
}

/// The memory of this process, in bytes; 0 where the system does not tell.
pub(crate) fn resident() -> usize {
    let Ok(status) = std::fs::read_to_string("/proc/self/statm") else { return 0 };
    let pages = status.split(' ').nth(1).and_then(|pages| pages.parse().ok());
    pages.unwrap_or(0_usize) * 4096
}
