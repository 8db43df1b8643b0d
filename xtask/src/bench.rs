//! `cargo xtask bench`: the load run and its report.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::nats;
use crate::report::{load_average, machine, put};
use crate::workspace::{cargo, output, run as run_command};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Put the table, with the command and the machine, into docs/benchmarks.md.
    #[arg(long)]
    write: bool,
    /// Also run the criterion benches (frames, and calls inside one process). Their report is in target/criterion.
    #[arg(long)]
    criterion: bool,
    /// Measure calls over NATS, beside the bare pattern of its client library in the same rounds. Starts a NATS server of
    /// its own for that, on a free port of the loopback interface.
    #[arg(long)]
    nats: bool,
    /// Also write all medians, least and most, as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Pin client and server, and the NATS server between them, to this core (needs taskset).
    #[arg(long, value_name = "CORE")]
    pin: Option<u16>,
    /// Rounds of every cell.
    #[arg(long, default_value_t = 5)]
    rounds: u16,
    /// How long each cell is measured in each round, in milliseconds.
    #[arg(long, default_value_t = 2_000, value_name = "MS")]
    time: u64,
    /// One round of a moment: shows that it works, measures nothing.
    #[arg(long, conflicts_with_all = ["write", "rounds", "time"])]
    quick: bool,
}

/// Where the report goes, from the root.
const REPORT: &str = "docs/benchmarks.md";

/// The report of each kind of run stands between two lines with its name; text around them is kept.
fn mark(nats: bool, pinned: bool) -> &'static str {
    match (nats, pinned) {
        (false, false) => "unpinned",
        (false, true) => "pinned",
        (true, false) => "nats unpinned",
        (true, true) => "nats pinned",
    }
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let mut run_load = cargo();
    run_load.args(["run", "--release", "--quiet", "--package", "plane-bench", "--bin", "plane-load", "--", "run"]);
    if args.quick {
        run_load.arg("--quick");
    } else {
        run_load.args(["--rounds", &args.rounds.to_string(), "--time", &args.time.to_string()]);
    }
    if let Some(core) = args.pin {
        run_load.args(["--pin", &core.to_string()]);
    }
    if let Some(path) = &args.json {
        // The load run is started in the root, wherever this was.
        run_load.arg("--json").arg(std::path::absolute(path).context("--json names no path")?);
    }
    // It runs until the end of this function.
    let broker = args.nats.then(|| nats::NatsServer::start(args.pin)).transpose()?;
    if let Some(broker) = &broker {
        run_load.args(["--transport", "nats", "--nats", broker.url()]);
    }
    let load = load_average();
    // Progress goes to standard error, which is ours; the table comes back.
    let table = output_with_progress(&mut run_load)?;
    println!("{table}");
    if args.criterion {
        run_command(cargo().args(["bench", "--package", "plane-bench"]))?;
    }
    if args.write {
        write(args, &table, &load)?;
    }
    Ok(())
}

fn output_with_progress(command: &mut Command) -> Result<String> {
    output(command.stderr(std::process::Stdio::inherit()))
}

fn write(args: &Args, table: &str, load: &str) -> Result<()> {
    let nats = if args.nats { " --nats" } else { "" };
    let pin = args.pin.map(|core| format!(" --pin {core}")).unwrap_or_default();
    let typed = format!("cargo xtask bench{nats} --write --rounds {} --time {}{pin}", args.rounds, args.time);
    let section = format!("`{typed}`\n\n{} {load}\n\n{}", machine(args.nats)?, table.trim_end());
    put(REPORT, mark(args.nats, args.pin.is_some()), &section)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::replace;
    use crate::workspace::root;

    #[test]
    fn the_report_has_a_place_for_each_kind_of_run() {
        let report = std::fs::read_to_string(root().join(REPORT)).unwrap();
        for (nats, pinned) in [(false, false), (false, true), (true, false), (true, true)] {
            replace(&report, REPORT, mark(nats, pinned), "x").unwrap();
        }
    }
}
