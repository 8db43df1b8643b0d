//! `cargo xtask mutants`: whether the tests of the codec and of the protocol's state notice when the code is changed.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

use crate::workspace::{cargo, output, root, shown};

/// Of the mutants that compile, at least this many in a hundred must be caught.
const CAUGHT: usize = 90;

/// What is mutated, and which tests look at it: those of its own package.
const PARTS: [Part; 2] = [
    Part {
        name: "frame",
        package: "plane-core",
        files: "crates/plane-core/src/frame/**",
        tests: &["--lib", "--test", "wire"],
    },
    Part {
        name: "proto",
        package: "plane-tcp",
        files: "crates/plane-tcp/src/proto/**",
        tests: &["--lib", "--test", "wire"],
    },
];

struct Part {
    name: &'static str,
    package: &'static str,
    files: &'static str,
    tests: &'static [&'static str],
}

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only this part: `frame` (the codec) or `proto` (a connection's state).
    #[arg(value_parser = PARTS.map(|part| part.name))]
    part: Option<String>,
    /// Only one in so many mutants, the same ones each time.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    one_in: u32,
}

/// Changes the code in one place after the other and runs the tests each time. Takes hours; the checkout is copied first.
pub(crate) fn run(args: &Args) -> Result<()> {
    if let Err(error) = output(cargo().args(["mutants", "--version"])) {
        bail!("`cargo xtask mutants` needs cargo-mutants: `cargo install cargo-mutants --locked` ({error:#})");
    }
    let mut poor = Vec::new();
    for part in PARTS.iter().filter(|part| args.part.as_ref().is_none_or(|only| only == part.name)) {
        let found = mutate(part, args.one_in)?;
        println!("\n{}: {found}", part.name);
        if found.caught * 100 < found.viable() * CAUGHT {
            poor.push(part.name);
        }
    }
    ensure!(poor.is_empty(), "fewer than {CAUGHT} % were caught in: {}", poor.join(", "));
    Ok(())
}

/// What became of the mutants.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    caught: usize,
    missed: usize,
    unviable: usize,
}

impl Found {
    fn viable(&self) -> usize {
        self.caught + self.missed
    }
}

impl std::fmt::Display for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { caught, missed, unviable } = self;
        let percent = caught * 100 / self.viable().max(1);
        write!(f, "{caught} of {} caught ({percent} %), {missed} missed, {unviable} did not compile", self.viable())
    }
}

fn mutate(part: &Part, one_in: u32) -> Result<Found> {
    let out = root().join("target/mutants").join(part.name);
    fs::create_dir_all(&out).with_context(|| format!("cannot create {}", out.display()))?;
    let mut command = cargo();
    command.args(["mutants", "--package", part.package, "--test-package", part.package, "--file", part.files]);
    // A test that takes five times as long as with unchanged code, and this long at least, does not end any more.
    command.args(["--minimum-test-timeout", "30", "--shard", &format!("0/{one_in}"), "--sharding", "round-robin"]);
    command.arg("--output").arg(&out).arg("--").args(part.tests);
    // What a change made a property fail with must not be tried on the next change, which a plain run would not do.
    command.env("PROPTEST_DISABLE_FAILURE_PERSISTENCE", "1").env("PROPTEST_MAX_SHRINK_ITERS", "0");
    // Nobody debugs these tests, and without it they are linked sooner.
    command.env("CARGO_PROFILE_DEV_DEBUG", "0");
    let status = command.status().with_context(|| format!("cannot start {}", shown(&command)))?;
    // 2: some were missed; 3: some ran into the time limit, which is as good as caught.
    ensure!(matches!(status.code(), Some(0 | 2 | 3)), "{} failed: {status}", shown(&command));
    read(&out.join("mutants.out"))
}

fn read(out: &Path) -> Result<Found> {
    let count = |name: &str| -> Result<usize> {
        let path = out.join(name);
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(text.lines().filter(|line| !line.is_empty()).count())
    };
    let caught = count("caught.txt")? + count("timeout.txt")?;
    Ok(Found { caught, missed: count("missed.txt")?, unviable: count("unviable.txt")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mutants_are_counted() {
        let out = tempfile::tempdir().unwrap();
        for (name, text) in
            [("caught.txt", "a\nb\n"), ("missed.txt", "c\n"), ("timeout.txt", "d\n"), ("unviable.txt", "")]
        {
            fs::write(out.path().join(name), text).unwrap();
        }
        let found = read(out.path()).unwrap();
        assert_eq!(found, Found { caught: 3, missed: 1, unviable: 0 });
        assert_eq!(found.to_string(), "3 of 4 caught (75 %), 1 missed, 0 did not compile");
        assert!(read(&out.path().join("nowhere")).is_err());
    }
}
