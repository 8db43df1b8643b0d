//! `cargo xtask fuzz`: the targets of crates/plane-fuzz, with coverage and without anything beyond cargo and a C++ compiler.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::workspace::{cargo, output, root, run as run_command, shown};

/// Every target, in the order in which they run.
const TARGETS: [&str; 8] = ["frames", "hello", "headers", "names", "nats", "replies", "settings", "connection"];

/// What makes libFuzzer see which code an input reaches. They are the compiler's own passes; no sanitizer is linked.
const COVERAGE: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1";

/// Inputs longer than this reach nothing new and make everything slow.
const MAX_LEN: usize = 4096;

/// How often it is said how far a target is.
const PROGRESS: Duration = Duration::from_secs(10);

/// Feeds made-up input to the decoders, converters and connections. A panic, a hang of ten seconds or more than a gigabyte of
/// memory is a finding.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How long, for all targets together.
    #[arg(long, default_value_t = 1.0)]
    minutes: f64,
    /// Only this target; may be given more than once.
    #[arg(long, value_parser = clap::builder::PossibleValuesParser::new(TARGETS))]
    target: Vec<String>,
    /// End each target after so many executions if its time is not over before.
    #[arg(long)]
    executions: Option<u64>,
    /// Afterwards put what reaches something new, as few inputs as possible, among the committed ones.
    #[arg(long)]
    keep: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let mut targets: Vec<&str> = args.target.iter().map(String::as_str).collect();
    if targets.is_empty() {
        targets = TARGETS.to_vec();
    }
    let seconds = args.minutes * 60.0 / targets.len() as f64;
    ensure!(seconds >= 1.0 && seconds.is_finite(), "--minutes must give each of {} targets a second", targets.len());
    fuzz(&targets, Duration::from_secs_f64(seconds), args.executions, args.keep)
}

/// A few seconds of each target.
pub(crate) fn smoke() -> Result<()> {
    fuzz(&TARGETS, Duration::from_secs(5), None, false)
}

fn fuzz(targets: &[&str], time: Duration, executions: Option<u64>, keep: bool) -> Result<()> {
    let programs = build()?;
    let mut found = Vec::new();
    for name in targets {
        let target = Target::new(name, &programs)?;
        let seen = target.run(time, executions)?;
        println!(
            "fuzz: {name:<10} {:>12} executions, {:>6} per second, {}",
            seen.executions,
            seen.rate,
            seen.verdict()
        );
        found.extend(seen.finding);
        if keep {
            target.keep()?;
        }
    }
    if found.is_empty() {
        return Ok(());
    }
    bail!("{} findings; each runs again with the command above it:\n{}", found.len(), found.join("\n"))
}

/// Builds every target; the folder that they are in.
fn build() -> Result<PathBuf> {
    let version = output(Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into())).arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc -vV names no host")?;
    let manifest = crate_dir().join("Cargo.toml");
    let mut build = cargo();
    build.args(["build", "--release", "--quiet", "--target", host, "--manifest-path"]).arg(manifest);
    // With a target named, the flags are not those of build scripts. A folder of its own, because of other flags.
    build.env("RUSTFLAGS", COVERAGE).env_remove("CARGO_ENCODED_RUSTFLAGS").arg("--target-dir").arg(work_dir());
    run_command(&mut build).context("building needs a C++ compiler for libFuzzer, on Debian: apt-get install g++")?;
    Ok(work_dir().join(host).join("release"))
}

fn crate_dir() -> PathBuf {
    root().join("crates/plane-fuzz")
}

fn work_dir() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from).join("fuzz")
}

struct Target {
    name: String,
    program: PathBuf,
    /// What this machine has found so far.
    scratch: PathBuf,
    /// What is committed.
    corpus: PathBuf,
    findings: PathBuf,
}

/// What a run came to.
#[derive(Debug, Default)]
struct Seen {
    executions: u64,
    rate: u64,
    finding: Option<String>,
}

impl Seen {
    fn verdict(&self) -> &'static str {
        if self.finding.is_some() { "a FINDING" } else { "no finding" }
    }
}

impl Target {
    fn new(name: &str, programs: &Path) -> Result<Self> {
        let folder = |path: PathBuf| -> Result<PathBuf> {
            std::fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
            Ok(path)
        };
        Ok(Self {
            name: name.to_owned(),
            program: programs.join(name),
            scratch: folder(work_dir().join("corpus").join(name))?,
            corpus: folder(crate_dir().join("corpus").join(name))?,
            findings: folder(work_dir().join("findings").join(name))?,
        })
    }

    fn run(&self, time: Duration, executions: Option<u64>) -> Result<Seen> {
        let mut command = Command::new(&self.program);
        command.arg(&self.scratch).arg(&self.corpus);
        command.arg(format!("-max_total_time={}", time.as_secs()));
        command.arg(format!("-max_len={MAX_LEN}")).args(["-timeout=10", "-rss_limit_mb=1024", "-print_final_stats=1"]);
        if let Some(executions) = executions {
            command.arg(format!("-runs={executions}"));
        }
        command.arg(format!("-artifact_prefix={}/", self.findings.display()));
        let mut child = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn();
        let child = child.as_mut().map_err(|error| anyhow::anyhow!("cannot start {}: {error}", shown(&command)))?;
        let said = child.stderr.take().context("its output is read")?;
        let (mut seen, log) = self.follow(BufReader::new(said))?;
        let status = child.wait().context("it was started")?;
        if !status.success() {
            eprintln!("{}", log.join("\n"));
            let input = log.iter().find_map(|line| line.split_once("Test unit written to ").map(|(_, path)| path));
            seen.finding = Some(format!("{} {}", self.program.display(), input.unwrap_or("(no input was written)")));
        }
        Ok(seen)
    }

    /// Reads along; what was counted, and the last lines.
    fn follow(&self, said: impl BufRead) -> Result<(Seen, Vec<String>)> {
        let (mut seen, mut log) = (Seen::default(), Vec::new());
        let mut shown = Instant::now();
        for line in said.split(b'\n') {
            // A panic may print what is no text.
            let line = String::from_utf8_lossy(&line.context("its output ends early")?).into_owned();
            seen.note(&line);
            if shown.elapsed() >= PROGRESS {
                shown = Instant::now();
                println!("fuzz: {:<10} {:>12} executions so far", self.name, seen.executions);
            }
            log.push(line);
            if log.len() > 60 {
                log.remove(0);
            }
        }
        Ok((seen, log))
    }

    fn keep(&self) -> Result<()> {
        let mut merge = Command::new(&self.program);
        merge.args(["-merge=1", "-set_cover_merge=1", "-use_counters=0"]).arg(format!("-max_len={MAX_LEN}"));
        merge.arg(&self.corpus).arg(&self.scratch).stderr(Stdio::null());
        run_command(&mut merge)
    }
}

impl Seen {
    /// Lines such as `#4096 pulse cov: 12 ... exec/s: 2048 rss: 40Mb` and `stat::number_of_executed_units: 5000`.
    fn note(&mut self, line: &str) {
        let number = |text: &str| text.split_whitespace().next().and_then(|number| number.parse().ok());
        if let Some(executions) = line.strip_prefix('#').and_then(number) {
            self.executions = executions;
        }
        if let Some(executions) = line.strip_prefix("stat::number_of_executed_units:").and_then(number) {
            self.executions = executions;
        }
        if let Some(rate) = line.strip_prefix("stat::average_exec_per_sec:").and_then(number) {
            self.rate = rate;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read_from_what_libfuzzer_says() {
        let mut seen = Seen::default();
        seen.note("#4096\tpulse  cov: 12 ft: 20 corp: 3/9b lim: 4 exec/s: 2048 rss: 40Mb");
        assert_eq!((seen.executions, seen.rate), (4096, 0));
        seen.note("INFO: seed corpus: files: 3");
        seen.note("stat::number_of_executed_units: 5000");
        seen.note("stat::average_exec_per_sec:     2500");
        assert_eq!((seen.executions, seen.rate), (5000, 2500));
    }

    /// A target that is not built here would never run.
    #[test]
    fn every_target_is_listed() {
        let mut there: Vec<_> = std::fs::read_dir(crate_dir().join("fuzz_targets"))
            .unwrap()
            .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
            .collect();
        there.sort();
        let mut listed = TARGETS.to_vec();
        listed.sort_unstable();
        assert_eq!(there, listed);
    }
}
