//! `cargo xtask bench`: the load run and its report.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::workspace::{cargo, output, root, run as run_command};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Put the table, with the command and the machine, into docs/benchmarks.md.
    #[arg(long)]
    write: bool,
    /// Also run the criterion benches (frames, and calls inside one process). Their report is in target/criterion.
    #[arg(long)]
    criterion: bool,
    /// Pin client and server to this core (needs taskset).
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
/// The report of each kind of run stands between two lines like these; text around them is kept.
const MARKS: [(&str, &str); 2] = [("unpinned", "Both cores free"), ("pinned", "Pinned to one core")];

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
    let path = root().join(REPORT);
    let before = std::fs::read_to_string(&path).with_context(|| format!("cannot read {REPORT}"))?;
    let kind = usize::from(args.pin.is_some());
    let pin = args.pin.map(|core| format!(" --pin {core}")).unwrap_or_default();
    let typed = format!("cargo xtask bench --write --rounds {} --time {}{pin}", args.rounds, args.time);
    let section = format!("`{typed}`\n\n{} {load}\n\n{}", machine()?, table.trim_end());
    std::fs::write(&path, replace(&before, MARKS[kind].0, &section)?)
        .with_context(|| format!("cannot write {REPORT}"))?;
    println!("{REPORT}: the section \"{}\" is new", MARKS[kind].1);
    Ok(())
}

/// The text with what stands between the marks of this name replaced.
fn replace(text: &str, name: &str, section: &str) -> Result<String> {
    let (begin, end) = (format!("<!-- begin {name} -->"), format!("<!-- end {name} -->"));
    let (before, rest) = text.split_once(&begin).with_context(|| format!("{REPORT} has no line {begin}"))?;
    let (_, after) = rest.split_once(&end).with_context(|| format!("{REPORT} has no line {end}"))?;
    ensure!(!after.contains(&begin), "{REPORT} has the line {begin} twice");
    Ok(format!("{before}{begin}\n{section}\n{end}{after}"))
}

/// What the numbers depend on, in one line.
fn machine() -> Result<String> {
    let rustc = output(Command::new("rustc").arg("--version"))?;
    let kernel = output(Command::new("uname").arg("-srm"))?;
    let commit = output(Command::new("git").current_dir(root()).args(["rev-parse", "--short", "HEAD"]))?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let cpu = cpu_name(Path::new("/proc/cpuinfo")).unwrap_or_else(|| "unknown processor".to_owned());
    Ok(format!("{cpu}, {cores} cores, {}; {}; commit {}.", kernel.trim(), rustc.trim(), commit.trim()))
}

/// How busy the machine was before the run, because that is in the numbers as well.
fn load_average() -> String {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    match load.split_whitespace().next() {
        Some(minute) => format!("Load average before the run: {minute}."),
        None => "Load average before the run: unknown.".to_owned(),
    }
}

fn cpu_name(cpuinfo: &Path) -> Option<String> {
    let text = std::fs::read_to_string(cpuinfo).ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    line.split_once(": ").map(|(_, name)| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_stands_between_the_marks_is_replaced() {
        let text = "a\n<!-- begin x -->\nold\n<!-- end x -->\nb\n";
        let once = replace(text, "x", "new").unwrap();
        assert_eq!(once, "a\n<!-- begin x -->\nnew\n<!-- end x -->\nb\n");
        assert_eq!(replace(&once, "x", "new").unwrap(), once);
        assert!(replace(text, "y", "new").is_err());
    }

    #[test]
    fn the_report_has_a_place_for_each_kind_of_run() {
        let report = std::fs::read_to_string(root().join(REPORT)).unwrap();
        for (name, _) in MARKS {
            replace(&report, name, "x").unwrap();
        }
    }
}
