//! `cargo xtask soak` and `cargo xtask figures`: long runs with real worker processes, and what they cost.

use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use crate::nats::NatsServer;
use crate::report::{load_average, machine, put};
use crate::workspace::{cargo, output};

/// Where what was seen goes, from the root.
const REPORT: &str = "docs/reliability.md";

/// Makes mixed calls, cancels, deadlines and slow readers over TCP and NATS at once, restarts and kills workers meanwhile,
/// and fails if a promise is broken, if counters do not add up, or if memory, descriptors or tasks grow.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How long.
    #[arg(long, default_value_t = 5.0)]
    minutes: f64,
    /// Restart workers one after the other, with no other fault, while unary calls are made at a steady rate: over TCP and
    /// then over NATS. One error fails the run.
    #[arg(long)]
    rolling: bool,
    /// Pass 1 MiB messages through a middle hop instead, 50 in a second, for --minutes over TCP and then over NATS. Memory that
    /// grows fails the run.
    #[arg(long, conflicts_with = "rolling")]
    hop: bool,
    /// Calls in a second, for --rolling.
    #[arg(long, default_value_t = 5_000, requires = "rolling")]
    rate: u32,
    /// How long each transport is called, for --rolling, in seconds.
    #[arg(long, default_value_t = 60, requires = "rolling")]
    seconds: u64,
    /// Build without optimisation: shows that it works, at a lower rate.
    #[arg(long)]
    debug: bool,
    /// Put the tables, with the command and the machine, into docs/reliability.md.
    #[arg(long)]
    write: bool,
}

/// Measures memory of idle connections and open calls, and how long it takes to find a dead peer and to cancel a call, over
/// TCP and NATS.
#[derive(Debug, clap::Args)]
pub(crate) struct Figures {
    /// Put the tables, with the command and the machine, into docs/reliability.md.
    #[arg(long)]
    write: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let (rate, time) = (args.rate.to_string(), format!("{}s", args.seconds));
    let (minutes, hop) = (args.minutes.to_string(), format!("{}s", args.minutes * 60.0));
    let (name, role, typed) = if args.rolling {
        let typed = format!("cargo xtask soak --rolling --rate {rate} --seconds {}", args.seconds);
        ("rolling", vec!["rolling", "--rate", &rate, "--time", &time], typed)
    } else if args.hop {
        ("hop", vec!["hop", "--time", &hop], format!("cargo xtask soak --hop --minutes {minutes}"))
    } else {
        ("soak", vec!["soak", "--minutes", &minutes], format!("cargo xtask soak --minutes {minutes}"))
    };
    play(&role, args.debug, args.write.then_some((name, typed)))
}

pub(crate) fn figures(args: &Figures) -> Result<()> {
    play(&["figures"], false, args.write.then(|| ("figures", "cargo xtask figures".to_owned())))
}

/// Runs `plane-soak` beside a NATS server of its own, and puts what it printed where it belongs.
fn play(role: &[&str], debug: bool, write: Option<(&str, String)>) -> Result<()> {
    // It runs until the end of this function.
    let broker = NatsServer::start(None)?;
    let mut soak: Command = cargo();
    soak.args(["run", "--quiet", "--package", "plane-bench", "--bin", "plane-soak"]);
    if !debug {
        soak.arg("--release");
    }
    soak.arg("--").args(role).args(["--nats", broker.url()]);
    let load = load_average();
    // Progress, and what went wrong, goes where our own errors go.
    let tables = output(soak.stderr(Stdio::inherit())).context("what was promised and did not hold stands above")?;
    println!("{tables}");
    if let Some((name, typed)) = write {
        put(REPORT, name, &format!("`{typed}`\n\n{} {load}\n\n{}", machine(true)?, tables.trim_end()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::replace;
    use crate::workspace::root;

    #[test]
    fn the_report_has_a_place_for_each_run() {
        let report = std::fs::read_to_string(root().join(REPORT)).unwrap();
        for name in ["rolling", "soak", "hop", "figures"] {
            replace(&report, REPORT, name, "x").unwrap();
        }
    }
}
