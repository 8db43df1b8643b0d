//! `cargo xtask test`: the tests of the workspace, with a total at the end.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};

use crate::nats;
use crate::workspace::{cargo, shown};

#[derive(Debug, Default, clap::Args)]
pub(crate) struct Args {
    /// Passed on to `cargo test`, for example `-p plane-core` or a part of a test's name; after `--`, to the tests.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGS")]
    rest: Vec<String>,
}

/// Runs `cargo test --workspace`, shows all that it prints, then the total alone on a line.
pub(crate) fn run(args: &Args) -> Result<()> {
    let mut command = cargo();
    command.args(["test", "--no-fail-fast"]);
    if !names_packages(&args.rest) {
        command.arg("--workspace");
    }
    // Tests that need a NATS server start their own; without a binary they fail rather than skip.
    command.env(nats::VARIABLE, nats::server()?);
    // A terminal at our end is not one at cargo's, because we read along.
    command.args(&args.rest).stdout(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("cannot start {}", shown(&command)))?;
    let mut total = Total::default();
    if let Some(stdout) = child.stdout.take() {
        total = copy_and_count(BufReader::new(stdout), std::io::stdout().lock())?;
    }
    let status = child.wait().context("cannot wait for cargo test")?;
    println!("\n{} passed, {} failed", total.passed, total.failed);
    ensure!(status.success(), "{} failed: {status}", shown(&command));
    ensure!(total.failed == 0, "{} tests failed", total.failed);
    Ok(())
}

fn names_packages(rest: &[String]) -> bool {
    let own = rest.iter().take_while(|arg| *arg != "--");
    own.clone().any(|arg| arg == "--package" || arg.starts_with("-p") || arg.starts_with("--package="))
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Total {
    passed: u64,
    failed: u64,
}

fn copy_and_count(mut from: impl BufRead, mut to: impl Write) -> Result<Total> {
    let mut total = Total::default();
    let mut line = Vec::new();
    // Bytes, because a test may print what is no text.
    while from.read_until(b'\n', &mut line)? > 0 {
        to.write_all(&line)?;
        if let Some((passed, failed)) = parse_result(&String::from_utf8_lossy(&line)) {
            total.passed += passed;
            total.failed += failed;
        }
        line.clear();
    }
    Ok(total)
}

/// The counts of a line such as `test result: ok. 3 passed; 0 failed; 0 ignored; ...`.
fn parse_result(line: &str) -> Option<(u64, u64)> {
    let (_, counts) = line.trim().strip_prefix("test result: ")?.split_once(". ")?;
    let count = |word: &str| {
        let text = counts.split("; ").find_map(|part| part.strip_suffix(word))?;
        text.trim().parse().ok()
    };
    Some((count("passed")?, count("failed")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_added_up_and_every_byte_is_shown() {
        let printed =
            b"test a ... ok\n\xff\ntest result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; \
            finished in 0.00s\n\ntest result: FAILED. 10 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out";
        let mut shown = Vec::new();
        let total = copy_and_count(&printed[..], &mut shown).unwrap();
        assert_eq!(total, Total { passed: 13, failed: 2 });
        assert_eq!(shown, printed);
    }

    #[test]
    fn other_lines_count_nothing() {
        for line in
            ["", "test result: ", "test result: ok. x passed; 0 failed", "running 3 tests", "3 passed; 0 failed"]
        {
            assert_eq!(parse_result(line), None, "{line:?}");
        }
    }

    #[test]
    fn a_named_package_takes_the_place_of_the_workspace() {
        let rest = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert!(names_packages(&rest("-p plane-core")) && names_packages(&rest("--package=xtask")));
        assert!(!names_packages(&rest("some_test -- -p")));
    }
}
