//! All cases, one after the other, and the table of how they went.

use std::io::{Read, Write};
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use plane_core::BoxFuture;

use super::child::{self, SKIPPED};
use super::options::Options;
use super::scene::Scene;

/// A case hangs if it takes longer, in each of its two sizes.
const SHORT: Duration = Duration::from_secs(90);
const LONG: Duration = Duration::from_secs(600);

/// What carries the calls of a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// A connection of its own to each server.
    Tcp,
    /// A NATS server between caller and server.
    Nats,
}

impl Transport {
    fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Nats => "nats",
        }
    }
}

/// A fault and what must come of it.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// A sentence with underscores.
    pub name: &'static str,
    /// The rows of docs/threats.md that it shows.
    pub ids: &'static [&'static str],
    /// What must come of it, in words.
    pub outcome: &'static str,
    /// Runs once over each.
    pub transports: &'static [Transport],
    /// Where it cannot run, in words; `None` if it runs everywhere.
    pub may_skip: Option<&'static str>,
    /// The case itself.
    pub work: fn(Scene) -> BoxFuture<'static, ()>,
}

/// How one run of a case went.
struct Report {
    name: String,
    ids: String,
    outcome: &'static str,
    took: Duration,
    went: Went,
}

#[derive(PartialEq, Eq)]
enum Went {
    Held,
    Skipped(String),
    Broke,
}

/// Runs what the command line asks for, each case in a process of its own, and prints a table at the end.
///
/// The last lines are those of the standard harness, so that `cargo test` and what counts its results see no difference.
pub fn run(cases: &[Case], arguments: impl IntoIterator<Item = String>) -> ExitCode {
    let options = match Options::parse(arguments) {
        Ok(options) => options,
        Err(problem) => {
            eprintln!("error: {problem}");
            return ExitCode::from(2);
        }
    };
    let runs: Vec<_> = cases.iter().flat_map(|case| case.transports.iter().map(move |over| (case, *over))).collect();
    if let Some(alone) = &options.alone {
        let Some((case, transport)) = runs.into_iter().find(|(case, over)| full_name(case, *over) == *alone) else {
            eprintln!("error: there is no case {alone}");
            return ExitCode::from(2);
        };
        return child::run(case, transport, options.long);
    }
    let asked: Vec<_> =
        runs.iter().filter(|(case, over)| options.asks_for(&full_name(case, *over), case.ids)).copied().collect();
    if options.list {
        asked.iter().for_each(|(case, over)| println!("{}: test", full_name(case, *over)));
        return ExitCode::SUCCESS;
    }
    if asked.is_empty() && !options.only.is_empty() {
        eprintln!("error: no fault case shows {}; docs/threats.md names the tests of each id", options.only.join(", "));
        return ExitCode::from(2);
    }
    finish(&run_all(&asked, &options), runs.len() - asked.len())
}

fn full_name(case: &Case, transport: Transport) -> String {
    format!("{}::{}", transport.name(), case.name)
}

fn run_all(asked: &[(&Case, Transport)], options: &Options) -> Vec<Report> {
    let began = Instant::now();
    let mut reports: Vec<Report> = Vec::new();
    println!("\nrunning {} tests", asked.len());
    loop {
        for (case, transport) in asked {
            let report = run_one(case, *transport, options.long);
            let clock = began.elapsed().as_secs();
            let went = match &report.went {
                Went::Held => "ok".to_owned(),
                Went::Skipped(why) => format!("ignored, {why}"),
                Went::Broke => "FAILED".to_owned(),
            };
            println!(
                "test {} ... {went} ({:.1} s; {:02}:{:02} in all)",
                report.name,
                report.took.as_secs_f64(),
                clock / 60,
                clock % 60
            );
            reports.push(report);
            // The first round is always whole.
            let over = options.time.is_some_and(|time| began.elapsed() >= time);
            if over && reports.len() >= asked.len() {
                return reports;
            }
        }
        if options.time.is_none() || asked.is_empty() || reports.iter().any(|report| report.went == Went::Broke) {
            return reports;
        }
    }
}

fn run_one(case: &Case, transport: Transport, is_long: bool) -> Report {
    let name = full_name(case, transport);
    let mut command = Command::new(std::env::current_exe().expect("the path of this program"));
    command.args(["--alone", &name]).args(is_long.then_some("--long"));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let began = Instant::now();
    let mut child = command.spawn().expect("this program starts again");
    let (out, err) = (collect(child.stdout.take()), collect(child.stderr.take()));
    let status = wait(&mut child, if is_long { LONG } else { SHORT });
    let took = began.elapsed();
    let (out, err) = (out.join().unwrap_or_default(), err.join().unwrap_or_default());
    let said = String::from_utf8_lossy(&out);
    let skipped = || said.lines().rev().find_map(|line| line.strip_prefix("skipped: ")).unwrap_or_default().to_owned();
    let went = match status.and_then(|status| status.code()) {
        Some(0) => Went::Held,
        Some(code) if code == i32::from(SKIPPED) && case.may_skip.is_some() => Went::Skipped(skipped()),
        code => {
            let how = code.map_or("it hung or was killed".to_owned(), |code| format!("exit code {code}"));
            println!("---- {name}: {how}; must hold: {} ----\n{said}{}", case.outcome, String::from_utf8_lossy(&err));
            Went::Broke
        }
    };
    Report { name, ids: case.ids.join(" "), outcome: case.outcome, took, went }
}

/// Waits for the end, or ends what hangs.
fn wait(child: &mut Child, within: Duration) -> Option<ExitStatus> {
    let began = Instant::now();
    while began.elapsed() < within {
        if let Ok(Some(status)) = child.try_wait() {
            return Some(status);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    // One that has just ended is treated as one that hung; both are failures.
    let _ = child.kill();
    let _ = child.wait();
    None
}

fn collect(from: Option<impl Read + Send + 'static>) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut read = Vec::new();
        if let Some(mut from) = from {
            // What came before an error is all there is.
            let _ = from.read_to_end(&mut read);
        }
        read
    })
}

fn finish(reports: &[Report], filtered: usize) -> ExitCode {
    let count = |wanted: fn(&Went) -> bool| reports.iter().filter(|report| wanted(&report.went)).count();
    let held = count(|went| *went == Went::Held);
    let broke = count(|went| *went == Went::Broke);
    let skipped = count(|went| matches!(went, Went::Skipped(_)));
    println!("\n{:<9} {:>7}  {:<4} what must come of it", "id", "time", "");
    for report in reports {
        let went = match report.went {
            Went::Held => "held",
            Went::Skipped(_) => "skip",
            Went::Broke => "BROKE",
        };
        println!(
            "{:<9} {:>5.1} s  {went:<4} {} ({})",
            report.ids,
            report.took.as_secs_f64(),
            report.outcome,
            report.name
        );
    }
    for report in reports {
        if let Went::Skipped(why) = &report.went {
            println!("SKIPPED {}: {why}", report.name);
        }
    }
    let ok = if broke == 0 { "ok" } else { "FAILED" };
    let took: Duration = reports.iter().map(|report| report.took).sum();
    println!(
        "\ntest result: {ok}. {held} passed; {broke} failed; {skipped} ignored; 0 measured; {filtered} filtered out; \
         finished in {:.2}s\n",
        took.as_secs_f64()
    );
    // Whoever waits for the last line reads it before the end of the process.
    let _ = std::io::stdout().flush();
    if broke == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
