//! `cargo xtask guard`: how many instructions the paths take that every call walks, and that they do not become more.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::report::put;
use crate::workspace::{cargo, output, root, shown};

/// The paths, as tests of `plane-tcp` walk them, and the instructions of one walk that are known.
const PATHS: [Walked; 6] = [
    Walked { test: "encode_message", what: "encode a message of 128 B", known: 44 },
    Walked { test: "decode_message", what: "decode it", known: 136 },
    Walked { test: "encode_call", what: "encode a call's OPEN with a message of 128 B", known: 217 },
    Walked { test: "decode_call", what: "decode it", known: 557 },
    Walked { test: "unary_call", what: "a call of 128 B each way, through the state of both sides", known: 3_713 },
    Walked { test: "streamed_item", what: "an item of 64 B of an answer, through the state of both sides", known: 849 },
];

struct Walked {
    test: &'static str,
    what: &'static str,
    known: u64,
}

/// A path may take so many in a hundred more than is known: the C library copies with other instructions on other
/// processors.
const TOLERANCE: u64 = 5;

/// A path is walked so often, and twice as often: what differs is the path, without what stands around it.
const WALKS: u64 = 6_400;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Put the table into docs/benchmarks.md.
    #[arg(long)]
    write: bool,
}

/// Counts, and fails if a path takes more than is known of it.
pub(crate) fn run(args: &Args) -> Result<()> {
    let table = check()?;
    if args.write {
        put("docs/benchmarks.md", "guard", &format!("`cargo xtask guard`\n\n{table}"))?;
    }
    Ok(())
}

/// The same for CI, which writes nothing.
pub(crate) fn check() -> Result<String> {
    if let Err(error) = output(Command::new("valgrind").arg("--version")) {
        bail!("`cargo xtask guard` counts with valgrind: on Debian `apt-get install valgrind` ({error:#})");
    }
    let program = build()?;
    let mut table = String::from("| path | instructions |\n|---|--:|");
    let mut grown = Vec::new();
    for path in &PATHS {
        let found = walk(&program, path.test)?;
        println!("{:>6} instructions, {:>6} known: {}", found, path.known, path.what);
        table.push_str(&format!("\n| {} | {found} |", path.what));
        if found * 100 > path.known * (100 + TOLERANCE) {
            grown.push(format!("{}: {found} in place of {}", path.what, path.known));
        }
    }
    ensure!(
        grown.is_empty(),
        "more instructions than known, by more than {TOLERANCE} % (PATHS in xtask/src/guard.rs):\n  {}",
        grown.join("\n  ")
    );
    Ok(table)
}

/// The unit tests of `plane-tcp`, optimised.
fn build() -> Result<PathBuf> {
    let mut command = cargo();
    command.args(["test", "--release", "--package", "plane-tcp", "--lib", "--no-run", "--message-format", "json"]);
    let messages = output(command.stderr(std::process::Stdio::inherit()))?;
    let program = messages.lines().filter_map(program).next_back();
    program.with_context(|| format!("{} built no tests", shown(&command)))
}

/// The program that a message of cargo tells of.
fn program(line: &str) -> Option<PathBuf> {
    let message: serde_json::Value = serde_json::from_str(line).ok()?;
    let ours = message["target"]["name"] == "plane_tcp" && message["profile"]["test"] == true;
    ours.then(|| message["executable"].as_str().map(PathBuf::from)).flatten()
}

/// Instructions of one walk.
fn walk(program: &Path, test: &str) -> Result<u64> {
    let [once, twice] = [WALKS, 2 * WALKS].map(|walks| count(program, test, walks));
    let more = twice?.checked_sub(once?).context("more walks took fewer instructions")?;
    Ok(more / WALKS)
}

fn count(program: &Path, test: &str, walks: u64) -> Result<u64> {
    let out = tempfile::tempdir().context("cannot create a directory for what valgrind counts")?;
    let file = out.path().join("counted");
    let mut command = Command::new("valgrind");
    command.current_dir(root()).args(["--tool=callgrind", "--quiet"]);
    command.arg(format!("--callgrind-out-file={}", file.display())).arg(program);
    command.args(["--exact", &format!("proto::tests::counted::{test}"), "--test-threads", "1"]);
    // Long copies by an instruction for each byte would count as so many.
    command.env("GLIBC_TUNABLES", "glibc.cpu.x86_rep_movsb_threshold=1073741824");
    let said = output(command.env("PLANE_COUNT", walks.to_string()))?;
    ensure!(said.contains("1 passed"), "{} did not run the test:\n{said}", shown(&command));
    total(&fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?)
}

/// All instructions that a report of callgrind tells of.
fn total(report: &str) -> Result<u64> {
    let line = report.lines().find_map(|line| line.strip_prefix("totals: ").or(line.strip_prefix("summary: ")));
    line.and_then(|count| count.trim().parse().ok()).context("valgrind wrote no total")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_is_found() {
        assert_eq!(total("version: 1\nevents: Ir\nfn=(1) main\n1 2\ntotals: 1234\n").unwrap(), 1234);
        assert!(total("version: 1\n").is_err());
    }

    #[test]
    fn the_tests_of_the_right_package_are_found() {
        let ours = r#"{"reason":"compiler-artifact","target":{"name":"plane_tcp"},"profile":{"test":true},"executable":"/t/x"}"#;
        assert_eq!(program(ours), Some(PathBuf::from("/t/x")));
        for other in ["", &ours.replace("true", "false"), &ours.replace("plane_tcp", "plane_core")] {
            assert_eq!(program(other), None);
        }
    }
}
