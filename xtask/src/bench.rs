//! `cargo xtask bench`: the load run and its report.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::nats;
use crate::report::{load_average, machine, put};
use crate::workspace::{cargo, output, root, run as run_command};

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
    /// Measure the plane beside what one would use instead, in the same rounds: bare loops, tonic, tarpc, async-nats. Both
    /// sides of each are processes of their own. With --write, also draws docs/peers.svg or docs/peers-pinned.svg. Building
    /// it takes minutes.
    #[arg(long, conflicts_with_all = ["nats", "criterion"])]
    peers: bool,
    /// Measure how cost grows over TCP: with calls in flight, with connections, with the size of messages, and for small
    /// calls beside large messages. Both sides are new processes for each point, so that memory is that of the point.
    #[arg(long, conflicts_with_all = ["nats", "peers", "criterion", "quick", "json"])]
    growth: bool,
    /// Also write all medians, least and most, as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Pin client and server, and the NATS server between them, to this core (needs taskset).
    #[arg(long, value_name = "CORE")]
    pin: Option<u16>,
    /// With --peers: what serves on core 0, what calls on core 1, one thread each. Then no scheduler decides how often both
    /// share a core.
    #[arg(long, requires = "peers", conflicts_with = "pin")]
    apart: bool,
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
fn mark(kind: Kind, cores: Cores) -> String {
    let kind = match kind {
        Kind::Tcp => "",
        Kind::Nats => "nats ",
        Kind::Peers => "peers ",
        Kind::Growth => "growth ",
    };
    let cores = match cores {
        Cores::Free => "unpinned",
        Cores::Pinned => "pinned",
        Cores::Apart => "apart",
    };
    format!("{kind}{cores}")
}

/// Where the two sides run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cores {
    Free,
    /// Both on one core.
    Pinned,
    /// Each on its own.
    Apart,
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Tcp,
    Nats,
    Peers,
    Growth,
}

impl Args {
    fn kind(&self) -> Kind {
        match (self.nats, self.peers, self.growth) {
            (_, _, true) => Kind::Growth,
            (_, true, _) => Kind::Peers,
            (true, false, false) => Kind::Nats,
            (false, false, false) => Kind::Tcp,
        }
    }

    fn cores(&self) -> Cores {
        match (self.pin, self.apart) {
            (Some(_), _) => Cores::Pinned,
            (None, true) => Cores::Apart,
            (None, false) => Cores::Free,
        }
    }

    /// Where the picture of a comparison goes, from the root, and how the report calls it.
    fn picture(&self) -> Option<&'static str> {
        match self.cores() {
            _ if !(self.peers && self.write) => None,
            Cores::Free => Some("peers.svg"),
            Cores::Pinned => Some("peers-pinned.svg"),
            Cores::Apart => None,
        }
    }
}

/// Cargo on the workspace of what the plane is compared with.
pub(crate) fn peers(command: &str) -> Command {
    let mut peers = cargo();
    peers.arg(command).arg("--manifest-path").arg(root().join("crates/plane-bench/peers/Cargo.toml"));
    peers
}

/// The same where it is built, from the root.
fn build_peers(command: &str) -> Command {
    let mut peers = peers(command);
    peers.arg("--locked").arg("--target-dir").arg(root().join("target/peers"));
    peers
}

/// Whether the comparison still builds without a warning, and its own tests pass.
pub(crate) fn check_peers() -> Result<()> {
    run_command(build_peers("clippy").args(["--all-targets", "--", "-D", "warnings"]))?;
    run_command(&mut build_peers("test"))
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let mut run_load = if args.peers { build_peers("run") } else { cargo() };
    if !args.peers {
        run_load.args(["run", "--package", "plane-bench", "--bin", "plane-load"]);
    }
    run_load.args(["--release", "--quiet", "--", if args.growth { "growth" } else { "run" }]);
    if args.quick {
        if args.peers {
            run_load.args(["--rounds", "1", "--time", "10"])
        } else {
            run_load.arg("--quick")
        };
    } else {
        run_load.args(["--rounds", &args.rounds.to_string(), "--time", &args.time.to_string()]);
    }
    if let Some(core) = args.pin {
        run_load.args(["--pin", &core.to_string()]);
    }
    if args.apart {
        run_load.arg("--apart");
    }
    if let Some(path) = &args.json {
        // The load run is started in the root, wherever this was.
        run_load.arg("--json").arg(std::path::absolute(path).context("--json names no path")?);
    }
    // It runs until the end of this function.
    let broker = (args.nats || args.peers).then(|| nats::NatsServer::start(args.pin)).transpose()?;
    if let Some(broker) = &broker {
        run_load.args(["--nats", broker.url()]);
        if args.nats {
            run_load.args(["--transport", "nats"]);
        }
    }
    if let Some(picture) = args.picture() {
        run_load.arg("--chart").arg(root().join("docs").join(picture));
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
    let kind = match args.kind() {
        Kind::Tcp => "",
        Kind::Nats => " --nats",
        Kind::Peers => " --peers",
        Kind::Growth => " --growth",
    };
    let cores = match args.pin {
        Some(core) => format!(" --pin {core}"),
        None if args.apart => " --apart".to_owned(),
        None => String::new(),
    };
    let typed = format!("cargo xtask bench{kind} --write --rounds {} --time {}{cores}", args.rounds, args.time);
    let picture = args.picture().map(|path| format!("![The table below as bars]({path})\n\n")).unwrap_or_default();
    let machine = machine(matches!(args.kind(), Kind::Nats | Kind::Peers))?;
    let section = format!("`{typed}`\n\n{machine} {load}\n\n{picture}{}", table.trim_end());
    put(REPORT, &mark(args.kind(), args.cores()), &section)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::replace;

    #[test]
    fn the_report_has_a_place_for_each_kind_of_run() {
        let report = std::fs::read_to_string(root().join(REPORT)).unwrap();
        replace(&report, REPORT, &mark(Kind::Peers, Cores::Apart), "x").unwrap();
        for kind in [Kind::Tcp, Kind::Nats, Kind::Peers, Kind::Growth] {
            for cores in [Cores::Free, Cores::Pinned] {
                replace(&report, REPORT, &mark(kind, cores), "x").unwrap();
            }
        }
    }
}
