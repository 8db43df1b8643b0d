//! The plane beside what one would use instead, on the same work: `cargo xtask bench --peers`.
//!
//! # Layout
//! - `peer`: what is compared, and the two sides of each.
//! - `bare_loop`, `ping_pong`: the floors, TCP with next to nothing on it; `outgoing`: what a loop writes from.
//! - `grpc`, `rpc`: tonic and tarpc.
//! - `run`: starts all sides and measures them in turn; `usage`: what a process has used.
//! - `report`: medians as a table and as JSON; `chart`: the same as a picture.

mod bare_loop;
mod chart;
mod grpc;
mod outgoing;
mod peer;
mod ping_pong;
mod report;
mod rpc;
mod run;
mod usage;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};
use plane_bench::runtime;

use crate::peer::Peer;

/// Measures the plane beside its peers
#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    role: Role,
}

#[derive(Debug, Subcommand)]
enum Role {
    /// Start both sides of every peer, measure them in turn, print a table of medians
    Run(RunArgs),
    /// The serving side of one peer: prints its address and serves until standard input ends
    Serve {
        peer: Peer,
        #[command(flatten)]
        side: SideArgs,
    },
    /// The calling side of one peer: for each line of standard input, a cell's number and milliseconds, prints a sample as JSON
    Drive {
        peer: Peer,
        /// Where the serving side is.
        #[arg(long)]
        address: String,
        #[command(flatten)]
        side: SideArgs,
    },
}

#[derive(Debug, Clone, Args)]
struct SideArgs {
    /// The NATS server between both sides, for those that need one.
    #[arg(long, value_name = "URL")]
    nats: Option<String>,
    /// Threads of the runtime; one for each core if not given.
    #[arg(long)]
    threads: Option<u16>,
}

/// How much is measured, and where it goes.
#[derive(Debug, Clone, Args)]
pub(crate) struct RunArgs {
    /// The NATS server to measure over; without it what needs one is left out, and the table says so.
    #[arg(long, value_name = "URL")]
    nats: Option<String>,
    /// Run all processes on this core and no other (needs taskset).
    #[arg(long, value_name = "CORE")]
    pin: Option<u16>,
    /// Run what serves on core 0 and what calls on core 1, one thread each: then no scheduler decides how often both share a
    /// core (needs taskset).
    #[arg(long, conflicts_with = "pin")]
    apart: bool,
    /// How often everything is measured. A round takes all cells, and in each all peers in turn.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    rounds: u16,
    /// How long each is measured in each round, in milliseconds.
    #[arg(long, default_value_t = 1_000, value_name = "MS", value_parser = clap::value_parser!(u64).range(1..=600_000))]
    time: u64,
    /// Only the cells whose name contains this.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    only: String,
    /// Write all medians as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Draw them as an SVG picture.
    #[arg(long, value_name = "FILE")]
    chart: Option<PathBuf>,
}

fn main() -> ExitCode {
    match start(Cli::parse().role) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start(role: Role) -> Result<()> {
    match role {
        Role::Run(args) => runtime(Some(1))?.block_on(run::run(&args)),
        Role::Serve { peer, side } => runtime(side.threads)?.block_on(peer::serve(peer, side.nats.as_deref())),
        Role::Drive { peer, address, side } => {
            runtime(side.threads)?.block_on(run::drive(peer, &address, side.nats.as_deref()))
        }
    }
}
