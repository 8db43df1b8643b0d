//! The load run: a client and a server in processes of their own, or both in one for the in-process transport.

mod growth;
mod parts;

use std::path::PathBuf;
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::{Args, Parser, Subcommand};
use plane_bench::{Sample, Way, compare, comparison_table, runtime, summarize, table};
use plane_core::Address;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use parts::{Carrier, Plan};

/// Measures calls and streams.
#[derive(Debug, Parser)]
#[command(name = "plane-load")]
struct Cli {
    #[command(subcommand)]
    role: Role,
}

#[derive(Debug, Subcommand)]
enum Role {
    /// Start both sides, measure every cell in interleaved rounds, print a table of medians.
    Run(RunArgs),
    /// The serving side: prints its address and serves until standard input ends.
    Serve {
        /// Serve over this NATS server, and in the bare pattern of its client library beside it; else over TCP.
        #[arg(long, value_name = "URL")]
        nats: Option<String>,
        #[command(flatten)]
        threads: Threads,
    },
    /// Measure how cost grows over TCP: with calls in flight, connections and the size of messages. Both sides are new for
    /// each point.
    Growth {
        /// Run both processes on this core and no other (needs taskset).
        #[arg(long, value_name = "CORE")]
        pin: Option<u16>,
        /// How often every point is measured.
        #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=1_000))]
        rounds: u16,
        /// How long each, in milliseconds.
        #[arg(long, default_value_t = 1_000, value_name = "MS", value_parser = clap::value_parser!(u64).range(1..=600_000))]
        time: u64,
    },
    /// The calling side of one point of `growth`.
    #[command(hide = true)]
    Grow {
        #[arg(long)]
        address: Address,
        #[arg(long)]
        server: u32,
        #[arg(long)]
        place: usize,
        #[arg(long)]
        time: u64,
        #[command(flatten)]
        threads: Threads,
    },
    /// The calling side: prints one sample a line, as JSON.
    Drive {
        /// Where the serving side is.
        #[arg(long)]
        address: Address,
        /// The NATS server between the two sides, for an address such as nats://plane.
        #[arg(long, value_name = "URL")]
        nats: Option<String>,
        #[command(flatten)]
        amount: Amount,
        #[command(flatten)]
        threads: Threads,
    },
}

#[derive(Debug, Args)]
struct RunArgs {
    /// What carries the calls. `mem` is one process, to compare with.
    #[arg(long, value_enum, default_value_t = Carrier::Tcp)]
    transport: Carrier,
    /// The NATS server to measure over, for example nats://127.0.0.1:4222 (`cargo xtask bench --nats` starts one).
    #[arg(long, value_name = "URL", required_if_eq("transport", "nats"))]
    nats: Option<String>,
    /// Run both processes on this core and no other (needs taskset). More repeatable, and says what a call costs.
    #[arg(long, value_name = "CORE")]
    pin: Option<u16>,
    /// Write all medians, least and most, as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    #[command(flatten)]
    amount: Amount,
}

#[derive(Debug, Clone, Args)]
struct Amount {
    /// How often every cell is measured. A round takes all cells in turn, so that a slow minute of the machine shows in all.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    rounds: u16,
    /// How long each cell is measured in each round, in milliseconds.
    #[arg(long, default_value_t = 2_000, value_name = "MS", value_parser = clap::value_parser!(u64).range(1..=600_000))]
    time: u64,
    /// One round of a moment: shows that it works, measures nothing.
    #[arg(long, conflicts_with_all = ["rounds", "time"])]
    quick: bool,
    /// Measure only the cells whose name contains this, for example "256 in flight".
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    only: String,
}

impl Amount {
    fn plan(&self) -> Plan {
        let (rounds, time) = if self.quick { (1, 10) } else { (self.rounds, self.time) };
        Plan { rounds, time: Duration::from_millis(time), only: self.only.clone() }
    }
}

#[derive(Debug, Clone, Copy, Args)]
struct Threads {
    /// Threads of the runtime; one for each core if not given.
    #[arg(long)]
    threads: Option<u16>,
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
        Role::Run(args) => runtime(args.pin.map(|_| 1))?.block_on(run(args)),
        Role::Serve { nats, threads } => runtime(threads.threads)?.block_on(async {
            match nats {
                None => parts::serve().await,
                Some(url) => parts::serve_nats(&url).await,
            }
        }),
        Role::Growth { pin, rounds, time } => runtime(Some(1))?.block_on(async {
            println!("{}", growth::run(pin, rounds, Duration::from_millis(time)).await?.trim());
            Ok(())
        }),
        Role::Grow { address, server, place, time, threads } => runtime(threads.threads)?.block_on(async {
            let grown = growth::measure(&address, server, place, Duration::from_millis(time)).await?;
            println!("{}", serde_json::to_string(&grown)?);
            Ok(())
        }),
        Role::Drive { address, nats, amount, threads } => runtime(threads.threads)?.block_on(async {
            match nats {
                None => parts::drive(&address, &amount.plan(), print).await,
                Some(url) => parts::drive_nats(&url, &address, &amount.plan(), print).await,
            }
        }),
    }
}

fn print(sample: Sample) -> Result<()> {
    println!("{}", serde_json::to_string(&sample)?);
    Ok(())
}

async fn run(args: RunArgs) -> Result<()> {
    ensure!(
        args.nats.is_none() || args.transport == Carrier::Nats,
        "--nats is for --transport nats; leave it out or say both"
    );
    let mut samples = Vec::new();
    match args.transport {
        Carrier::Mem => {
            ensure!(
                args.pin.is_none(),
                "--pin is for separate processes; with --transport mem use taskset on this one"
            );
            parts::drive_in_process(&args.amount.plan(), |sample| note(&mut samples, sample)).await?;
        }
        Carrier::Tcp | Carrier::Nats => apart(&args, &mut samples).await?,
    }
    if args.transport == Carrier::Nats {
        let comparisons = compare(&samples);
        println!("{}", comparison_table(&comparisons));
        return write_json(&args, &comparisons);
    }
    let summaries = summarize(&samples);
    println!("{}", table(&summaries));
    write_json(&args, &summaries)
}

fn note(samples: &mut Vec<Sample>, sample: Sample) -> Result<()> {
    let bare = if sample.way == Way::Bare { ", bare" } else { "" };
    eprintln!("  {}{bare}: {:.0} calls/s, p50 {:.0} us", sample.cell, sample.calls_per_second, sample.p50_us);
    samples.push(sample);
    Ok(())
}

fn write_json(args: &RunArgs, what: &impl serde::Serialize) -> Result<()> {
    let Some(path) = &args.json else { return Ok(()) };
    let text = serde_json::to_string_pretty(what)?;
    std::fs::write(path, text).with_context(|| format!("cannot write {} (--json)", path.display()))
}

/// Client and server in processes of their own.
async fn apart(args: &RunArgs, samples: &mut Vec<Sample>) -> Result<()> {
    let nats: Vec<&str> = args.nats.iter().flat_map(|url| ["--nats", url]).collect();
    let mut server = child(args.pin, &[&["serve"], &nats[..]].concat(), true)?;
    let mut lines = output(&mut server)?;
    let address = lines.next_line().await?.context("the serving side ended before it said where it is")?;
    let plan = args.amount.plan();
    let (rounds, time) = (plan.rounds.to_string(), plan.time.as_millis().to_string());
    let drive = ["drive", "--address", &address, "--rounds", &rounds, "--time", &time, "--only", &plan.only];
    let mut client = child(args.pin, &[&drive, &nats[..]].concat(), false)?;
    let mut lines = output(&mut client)?;
    while let Some(line) = lines.next_line().await? {
        note(samples, serde_json::from_str(&line).with_context(|| format!("the calling side said: {line}"))?)?;
    }
    let ended = client.wait().await.context("cannot wait for the calling side")?;
    ensure!(ended.success(), "the calling side failed: {ended}");
    // The serving side ends with its standard input.
    drop(server.stdin.take());
    let ended = server.wait().await.context("cannot wait for the serving side")?;
    ensure!(ended.success(), "the serving side failed: {ended}");
    Ok(())
}

fn output(child: &mut Child) -> Result<tokio::io::Lines<BufReader<tokio::process::ChildStdout>>> {
    Ok(BufReader::new(child.stdout.take().context("a process without standard output")?).lines())
}

/// This program in another role, on one core if asked for.
fn child(pin: Option<u16>, args: &[&str], has_stdin: bool) -> Result<Child> {
    let this = std::env::current_exe().context("cannot find the path of this program")?;
    let mut command = match pin {
        None => Command::new(&this),
        Some(core) => {
            let mut command = Command::new("taskset");
            command.arg("--cpu-list").arg(core.to_string()).arg(&this);
            command
        }
    };
    command.args(args);
    if pin.is_some() {
        command.args(["--threads", "1"]);
    }
    let stdin = if has_stdin { Stdio::piped() } else { Stdio::null() };
    let started = command.stdin(stdin).stdout(Stdio::piped()).kill_on_drop(true).spawn();
    started.with_context(|| match pin {
        Some(_) => "cannot start taskset, which --pin needs; it is part of util-linux".to_owned(),
        None => format!("cannot start {}", this.display()),
    })
}
