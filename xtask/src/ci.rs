//! `cargo xtask ci`: what must hold before a commit lands.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::workspace::{cargo, run as run_command};
use crate::{bench, fuzz, guard, test, tidy};

struct Step {
    name: &'static str,
    /// What a person types to run just this step.
    alone: &'static str,
    run: fn() -> Result<()>,
}

const STEPS: [Step; 8] = [
    Step { name: "format", alone: "cargo fmt --all --check", run: format },
    Step { name: "lints", alone: "cargo clippy --workspace --all-targets -- -D warnings", run: lints },
    Step { name: "docs", alone: "RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps", run: docs },
    Step { name: "tests", alone: "cargo xtask test", run: || test::run(&test::Args::default()) },
    Step {
        name: "peers",
        alone: "cargo test --manifest-path crates/plane-bench/peers/Cargo.toml",
        run: bench::check_peers,
    },
    Step { name: "guard", alone: "cargo xtask guard", run: || guard::check().map(drop) },
    Step { name: "fuzz", alone: "cargo xtask fuzz", run: fuzz::smoke },
    Step { name: "tidy", alone: "cargo xtask tidy", run: tidy::run },
];

/// Runs the steps in order; the first failure ends the run and says how to run that step alone.
pub(crate) fn run() -> Result<()> {
    let mut done: Vec<(&str, Duration)> = Vec::new();
    for (index, step) in STEPS.iter().enumerate() {
        println!("\n==> {}/{} {}: {}", index + 1, STEPS.len(), step.name, step.alone);
        let started = Instant::now();
        let ended = (step.run)();
        let took = started.elapsed();
        if let Err(error) = ended {
            let failed = format!("step {} failed after {:.1} s; alone: {}", step.name, took.as_secs_f64(), step.alone);
            return Err(error).context(failed);
        }
        println!("==> {} passed in {:.1} s", step.name, took.as_secs_f64());
        done.push((step.name, took));
    }
    println!("\nall {} steps passed:", done.len());
    for (name, took) in done {
        println!("  {name:<8} {:>7.1} s", took.as_secs_f64());
    }
    Ok(())
}

fn format() -> Result<()> {
    run_command(cargo().args(["fmt", "--all", "--check"])).context("`cargo fmt --all` puts it right")?;
    run_command(bench::peers("fmt").arg("--check")).context("`cargo fmt --manifest-path` with it puts it right")
}

fn lints() -> Result<()> {
    run_command(cargo().args(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    // Whoever needs one transport builds the manager with that one alone.
    for feature in ["tcp", "nats"] {
        let one =
            ["clippy", "--package", "plane-manager", "--all-targets", "--no-default-features", "--features", feature];
        run_command(cargo().args(one).args(["--", "-D", "warnings"]))?;
    }
    Ok(())
}

fn docs() -> Result<()> {
    run_command(cargo().env("RUSTDOCFLAGS", "-D warnings").args(["doc", "--workspace", "--no-deps"]))
}
