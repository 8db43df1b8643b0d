//! `cargo xtask chaos`: the fault cases in their long form.

use anyhow::Result;

use crate::nats;
use crate::workspace::{cargo, run as run_command};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Begins again until this many minutes are over; every case runs at least once.
    #[arg(long, value_name = "N")]
    minutes: Option<u64>,
    /// Only the cases for this row of docs/threats.md, for example B9; may be given several times.
    #[arg(long, value_name = "ID")]
    only: Vec<String>,
}

/// Runs the cases with the sizes, times and bounds of docs/threats.md, optimised as a deployment is. A line tells of each, a
/// table at the end of all.
pub(crate) fn run(args: &Args) -> Result<()> {
    let mut command = cargo();
    command.args(["test", "--release", "--package", "plane-testkit", "--test", "faults", "--", "--long"]);
    command.env(nats::VARIABLE, nats::server()?);
    if let Some(minutes) = args.minutes {
        command.arg("--minutes").arg(minutes.to_string());
    }
    for id in &args.only {
        command.arg("--only").arg(id);
    }
    run_command(&mut command)
}
