//! `cargo xtask soak`: long runs with real worker processes.

use anyhow::{Context, Result};

use crate::nats::NatsServer;
use crate::workspace::{cargo, run as run_command};

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
    /// Calls in a second, for --rolling.
    #[arg(long, default_value_t = 5_000, requires = "rolling")]
    rate: u32,
    /// How long each transport is called, for --rolling, in seconds.
    #[arg(long, default_value_t = 60, requires = "rolling")]
    seconds: u64,
    /// Build without optimisation: shows that it works, at a lower rate.
    #[arg(long)]
    debug: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    // It runs until the end of this function.
    let broker = NatsServer::start(None)?;
    let mut soak = cargo();
    soak.args(["run", "--quiet", "--package", "plane-bench", "--bin", "plane-soak"]);
    if !args.debug {
        soak.arg("--release");
    }
    if args.rolling {
        soak.args(["--", "rolling", "--rate", &args.rate.to_string(), "--time", &format!("{}s", args.seconds)]);
    } else {
        soak.args(["--", "soak", "--minutes", &args.minutes.to_string()]);
    }
    soak.args(["--nats", broker.url()]);
    run_command(&mut soak).context("what was promised and did not hold stands above")
}
