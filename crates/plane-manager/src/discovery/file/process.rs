//! Which process announces an instance, and whether it still lives.

use std::fs;

use serde::{Deserialize, Serialize};

/// A process, told apart from later ones with the same number by when it started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Process {
    pid: u32,
    /// When it started, in the system's ticks since boot; 0 if the system does not say.
    started: u64,
    /// The boot and the process namespace in which `pid` means something; empty if the system does not say.
    origin: String,
}

/// Whether a process lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Life {
    Alive,
    Dead,
    /// It cannot be looked up from here.
    Unknown,
}

impl Process {
    /// This process.
    pub(super) fn current() -> Self {
        let pid = std::process::id();
        let started = lookup(pid).map_or(0, |found| found.started);
        Self { pid, started, origin: origin() }
    }

    /// Whether it lives, if `here` is a process that can tell.
    pub(super) fn life(&self, here: &Self) -> Life {
        if self.origin.is_empty() || self.origin != here.origin || self.started == 0 {
            return Life::Unknown;
        }
        match lookup(self.pid) {
            Some(found) if found.started == self.started && !found.ended => Life::Alive,
            _ => Life::Dead,
        }
    }
}

/// What Linux says about a process number.
struct Found {
    started: u64,
    /// It is dead and its parent has not noticed yet.
    ended: bool,
}

fn lookup(pid: u32) -> Option<Found> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The name in parentheses may hold anything, also parentheses; the fields after it are plain.
fn parse_stat(stat: &str) -> Option<Found> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace();
    let ended = matches!(fields.next()?, "Z" | "X" | "x");
    // Field 22 of proc_pid_stat(5); the state was field 3.
    let started = fields.nth(18)?.parse().ok()?;
    Some(Found { started, ended })
}

fn origin() -> String {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id");
    let namespace = fs::read_link("/proc/self/ns/pid");
    match (boot, namespace) {
        (Ok(boot), Ok(namespace)) => format!("{} {}", boot.trim(), namespace.display()),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_confuse() {
        let fields: Vec<String> = (4..=52).map(|n| n.to_string()).collect();
        let stat = format!("7 (a) Z (b) R {}", fields.join(" "));
        let found = parse_stat(&stat).unwrap();
        assert_eq!((found.started, found.ended), (22, false));
        assert!(parse_stat("").is_none() && parse_stat("7 (x) R 1 2").is_none());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_process_is_itself_and_no_other() {
        let here = Process::current();
        assert_eq!(here.life(&here), Life::Alive);
        let reused = Process { started: here.started + 1, ..here.clone() };
        assert_eq!(reused.life(&here), Life::Dead);
        let elsewhere = Process { origin: "another machine".to_owned(), ..here.clone() };
        assert_eq!(elsewhere.life(&here), Life::Unknown);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_killed_child_is_dead_before_its_parent_notices() {
        let mut child = std::process::Command::new("sleep").arg("600").spawn().unwrap();
        let here = Process::current();
        let started = lookup(child.id()).unwrap().started;
        let process = Process { pid: child.id(), started, origin: here.origin.clone() };
        assert_eq!(process.life(&here), Life::Alive);
        child.kill().unwrap();
        while process.life(&here) != Life::Dead {
            std::thread::yield_now();
        }
        child.wait().unwrap();
        assert_eq!(process.life(&here), Life::Dead);
    }
}
