//! Long runs with real worker processes: rolling restarts under load, and a soak of everything at once.
//!
//! # Layout
//! - `place`: what the processes of a run share.
//! - `serving`: the worker's role, and what it answers.
//! - `worker`: a worker process, as the one that started it sees it.
//! - `vitals`: memory, descriptors and tasks, and whether they stay flat.
//! - `pace`: unary calls at a steady rate.
//! - `rolling`: those, while workers are restarted one after the other.
//! - `hop`: large messages through a middle hop.
//! - `acts`: the calls of a soak, and what may become of each.
//! - `crowd`: who makes them, with pauses in which nothing is in flight.
//! - `figures`: what connections and calls cost, and how long it takes to find a dead peer and to cancel a call.
//! - `soak`: a crowd for each transport, restarts, and looks at every process in the pauses.

mod place;

mod serving;

mod worker;

mod vitals;

mod pace;

mod rolling;

mod hop;

mod figures;

mod acts;

mod crowd;

mod soak;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};
use plane_manager::parse_duration;

use crate::place::{Place, Plane};
use crate::rolling::Plan;

/// Long runs with real worker processes.
#[derive(Debug, Parser)]
#[command(name = "plane-soak")]
struct Cli {
    #[command(subcommand)]
    role: Role,
}

#[derive(Debug, Subcommand)]
enum Role {
    /// Restart workers one after the other while unary calls are made at a steady rate; one error fails the run.
    Rolling(RollingArgs),
    /// Mixed calls, cancels, deadlines, slow readers and restarts over TCP and NATS at once; what grows fails the run.
    Soak {
        #[command(flatten)]
        nats: Nats,
        /// How long.
        #[arg(long, default_value_t = 5.0)]
        minutes: f64,
    },
    /// Pass messages of 1 MiB through a middle hop, over TCP and then over NATS; memory that grows fails the run.
    Hop {
        #[command(flatten)]
        nats: Nats,
        /// Calls in a second.
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1_000))]
        rate: u32,
        /// How long each transport is called.
        #[arg(long, default_value = "10m", value_parser = duration)]
        time: Duration,
    },
    /// Measure memory of idle connections and open calls, and how long a dead peer and a cancel take.
    Figures {
        #[command(flatten)]
        nats: Nats,
    },
    /// A worker: set up by the environment, ends with SIGTERM or its standard input.
    Worker {
        /// Time that calls in flight may take to finish.
        #[arg(long, default_value = "30s", value_parser = duration)]
        drain_timeout: Duration,
    },
}

#[derive(Debug, Args)]
struct Nats {
    /// The NATS server to use; it must run already.
    #[arg(long, value_name = "URL")]
    nats: String,
}

#[derive(Debug, Args)]
struct RollingArgs {
    #[command(flatten)]
    nats: Nats,
    /// Workers that serve at once.
    #[arg(long, default_value_t = 3)]
    workers: usize,
    /// Calls in a second.
    #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rate: u32,
    /// How long each transport is called.
    #[arg(long, default_value = "60s", value_parser = duration)]
    time: Duration,
    /// Pause after each restart.
    #[arg(long, default_value = "500ms", value_parser = duration)]
    pause: Duration,
}

fn duration(text: &str) -> Result<Duration, &'static str> {
    parse_duration(text).ok_or("give seconds (10, 0.5) or a number with a unit (500ms, 3s, 2m)")
}

fn main() -> ExitCode {
    let role = Cli::parse().role;
    let ended = tokio::runtime::Runtime::new().context("cannot start the runtime").and_then(|runtime| {
        let ended = runtime.block_on(play(role));
        // A worker still waits for its standard input.
        runtime.shutdown_background();
        ended
    });
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn play(role: Role) -> Result<()> {
    match role {
        Role::Worker { drain_timeout } => serving::run(drain_timeout).await,
        Role::Hop { nats, rate, time } => {
            println!("{}", hop::COLUMNS);
            for plane in [Plane::Tcp, Plane::Nats] {
                hop::run(&Place::new(plane, &nats.nats)?, rate, time).await?;
            }
            Ok(())
        }
        Role::Figures { nats } => figures::run(&nats.nats).await,
        Role::Soak { nats, minutes } => soak::run(&nats.nats, Duration::from_secs_f64(minutes * 60.0)).await,
        Role::Rolling(RollingArgs { nats, workers, rate, time, pause }) => {
            let plan = Plan { workers, rate, time, pause };
            println!("{}", rolling::COLUMNS);
            for plane in [Plane::Tcp, Plane::Nats] {
                rolling::run(&Place::new(plane, &nats.nats)?, &plan).await?;
            }
            Ok(())
        }
    }
}
