//! Tests, checks, benches and the demo: everything that a person or CI runs. Start with `cargo xtask --help`.
//!
//! # Layout
//! - `workspace`: where the checkout is, how cargo is started in it.
//! - `process`: a program that is started, says when it is ready, and is stopped.
//! - `nats`: the NATS server that tests, the demo and the benchmarks need.
//! - `test`: the tests, with a total at the end.
//! - `chaos`: the fault cases in their long form.
//! - `tidy`: the invariants of ARCHITECTURE.md that a program can check.
//! - `fuzz`: the fuzz targets, and what they found.
//! - `ci`: format, lints, docs, tests and tidy, in that order.
//! - `report`: sections of reports that commands write.
//! - `guard`: how many instructions hot paths take.
//! - `bench`: the load run and its report.
//! - `soak`: rolling restarts and long runs, and what connections and calls cost.
//! - `sim`: many seeds of the simulated connection.
//! - `mutants`: whether tests notice when the protocol's code is changed.
//! - `demo`: a chat completion over real processes.

mod workspace;

mod process;

mod nats;

mod test;

mod chaos;

mod tidy;

mod fuzz;

mod ci;

mod report;

mod guard;

mod bench;

mod soak;

mod sim;

mod mutants;

mod demo;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Everything that a person or CI runs in this workspace.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Run every test of the workspace and print the total.
    Test(test::Args),
    /// Run what CI runs: format, lints, docs, tests, tidy. Stops at the first failure.
    Ci,
    /// Measure calls and streams between two processes.
    Bench(bench::Args),
    /// Count the instructions of the paths that every call walks, and see that they did not become more.
    Guard(guard::Args),
    /// Call real workers for minutes while they are restarted, and see that nothing breaks or grows.
    Soak(soak::Args),
    /// Measure what connections and calls cost, and how long a dead peer and a cancel take.
    Figures(soak::Figures),
    /// Simulate a connection under faults, for thousands of seeds.
    Sim(sim::Args),
    /// Change the protocol's code in one place after the other, and see that the tests notice.
    Mutants(mutants::Args),
    /// Feed made-up input to whatever reads bytes of others.
    Fuzz(fuzz::Args),
    /// Stream a chat completion through real processes, and kill one of them.
    Demo(demo::Args),
    /// Throw what docs/threats.md lists at real servers and processes, in its long form.
    Chaos(chaos::Args),
    /// Check the invariants of ARCHITECTURE.md that a program can check.
    Tidy,
}

fn main() -> ExitCode {
    let ended = match Cli::parse().task {
        Task::Test(args) => test::run(&args),
        Task::Ci => ci::run(),
        Task::Bench(args) => bench::run(&args),
        Task::Guard(args) => guard::run(&args),
        Task::Soak(args) => soak::run(&args),
        Task::Figures(args) => soak::figures(&args),
        Task::Sim(args) => sim::run(&args),
        Task::Mutants(args) => mutants::run(&args),
        Task::Fuzz(args) => fuzz::run(&args),
        Task::Demo(args) => demo::run(&args),
        Task::Chaos(args) => chaos::run(&args),
        Task::Tidy => tidy::run(),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
