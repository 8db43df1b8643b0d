//! `cargo xtask sim`: the simulation of a connection, for more seeds than a plain test run tries.

use anyhow::{Result, ensure};

use crate::workspace::{cargo, run as run_command};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How many seeds.
    #[arg(long, default_value_t = 5_000)]
    seeds: u64,
    /// The first of them; with `--seeds 1` the only one.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

/// Runs the seeds; the first that breaks a promise ends the run and is named with what runs it again.
pub(crate) fn run(args: &Args) -> Result<()> {
    ensure!(args.seeds > 0, "--seeds 0 tries nothing; at least 1 is accepted");
    ensure!(args.seed.checked_add(args.seeds).is_some(), "--seed {} leaves no room for --seeds", args.seed);
    let mut command = cargo();
    command.args(["test", "--package", "plane-tcp", "--lib", "simulation::promises", "--", "--nocapture"]);
    command.env("PLANE_SIM_SEEDS", args.seeds.to_string()).env("PLANE_SIM_SEED", args.seed.to_string());
    run_command(&mut command)
}
