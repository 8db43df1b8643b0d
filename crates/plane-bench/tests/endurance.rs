//! Short forms of `cargo xtask soak`, with real worker processes (threats C4, C5, C13, C14 and C16).

use std::process::Command;

use plane_testkit::nats::NatsServer;

/// What `plane-soak` prints; it must end well.
fn soak(args: &[&str]) -> String {
    let nats = NatsServer::start();
    let mut command = Command::new(env!("CARGO_BIN_EXE_plane-soak"));
    let output = command.args(args).args(["--nats", &nats.url()]).output().unwrap();
    let (said, told) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{args:?}: {}\n{told}\n{said}", output.status);
    said.into_owned()
}

/// The cells of the line that begins with this.
fn line(said: &str, begins: &str) -> Vec<String> {
    let line = said.lines().find(|line| line.starts_with(begins)).unwrap_or_else(|| panic!("no {begins} in:\n{said}"));
    line.split('|').map(|cell| cell.trim().to_owned()).collect()
}

/// The promise is that no call fails, whatever the rate.
#[test]
fn a_rolling_restart_fails_no_call() {
    let said = soak(&["rolling", "--rate", "400", "--time", "5s", "--pause", "100ms"]);
    for plane in ["| tcp ", "| nats "] {
        let cells = line(&said, plane);
        let (calls, restarts, errors) = (&cells[3], &cells[6], &cells[7]);
        assert!(calls.parse::<u64>().unwrap() > 400, "{said}");
        assert!(restarts.parse::<u64>().unwrap() >= 3, "every worker was restarted: {said}");
        assert_eq!(errors, "0", "{said}");
    }
}

#[test]
fn a_moment_of_a_soak_breaks_no_promise() {
    let said = soak(&["soak", "--minutes", "0.15"]);
    for plane in ["| tcp ", "| nats "] {
        let cells = line(&said, plane);
        assert!(cells[3].parse::<u64>().unwrap() > 10, "{said}");
        assert_eq!(cells[9], "0", "{said}");
    }
}

/// Case C8, for a moment: whether memory stays flat shows in `cargo xtask soak --hop` only. Slowly, because calls that a busy
/// machine cannot keep up with pile up, and look like a leak.
#[test]
fn large_messages_pass_a_hop() {
    let said = soak(&["hop", "--rate", "5", "--time", "2s"]);
    for plane in ["tcp", "nats"] {
        line(&said, &format!("| hop 1 over {plane} "));
    }
}
