//! Starts both sides of every peer, each in a process of its own, and measures them in turn: A B C, A B C, so that a slow
//! moment of the machine shows in all of them.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use plane_bench::{CELLS, Cell, Sample};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::peer::{Calling, Peer};
use crate::report::{Measured, summarize, table};
use crate::{RunArgs, chart, usage};

/// Both sides of one peer.
struct Pair {
    peer: Peer,
    server: Side,
    client: Side,
}

/// A process, and its two ends.
struct Side {
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

pub(crate) async fn run(args: &RunArgs) -> Result<()> {
    let cells: Vec<(usize, Cell)> =
        CELLS.into_iter().enumerate().filter(|(_, cell)| cell.name.contains(&args.only)).collect();
    let names = CELLS.map(|cell| cell.name).join("; ");
    ensure!(!cells.is_empty(), "no cell is called \"{}\"; there are: {names}", args.only);
    let peers = Peer::value_variants().iter().filter(|peer| !peer.needs_nats() || args.nats.is_some());
    let mut pairs = Vec::new();
    for peer in peers {
        pairs.push(Pair::start(*peer, args).await.with_context(|| format!("cannot start {}", peer.name()))?);
    }
    let mut all = Vec::new();
    for round in 1..=args.rounds {
        for (number, cell) in &cells {
            eprintln!("  round {round} of {}: {}", args.rounds, cell.name);
            for pair in pairs.iter_mut().filter(|pair| pair.peer.can(cell.shape)) {
                let measured = pair.measure(*number, args.time).await;
                all.push(measured.with_context(|| format!("{}, {}", pair.peer.name(), cell.name))?);
            }
        }
    }
    for pair in pairs {
        pair.end().await?;
    }
    let lines = summarize(&all);
    println!("{}", table(&lines));
    if let Some(path) = &args.json {
        std::fs::write(path, serde_json::to_string_pretty(&lines)?)
            .with_context(|| format!("cannot write {} (--json)", path.display()))?;
    }
    if let Some(path) = &args.chart {
        chart::draw(&lines, path).with_context(|| format!("cannot draw {} (--chart)", path.display()))?;
    }
    Ok(())
}

impl Pair {
    async fn start(peer: Peer, args: &RunArgs) -> Result<Self> {
        let name = peer.argument();
        let mut server = Side::start(args, args.pin.or(args.apart.then_some(0)), &["serve", &name])?;
        let address = server.line().await?;
        let client = Side::start(args, args.pin.or(args.apart.then_some(1)), &["drive", &name, "--address", &address])?;
        Ok(Self { peer, server, client })
    }

    /// Warms up and measures once.
    async fn measure(&mut self, cell: usize, millis: u64) -> Result<Measured> {
        let pids = [self.client.pid()?, self.server.pid()?];
        for pid in pids {
            usage::reset_peak(pid)?;
        }
        let before = cpu(pids)?;
        self.client.input.write_all(format!("{cell} {millis}\n").as_bytes()).await?;
        let line = self.client.line().await?;
        let sample: Sample = serde_json::from_str(&line).with_context(|| format!("the calling side said: {line}"))?;
        let after = cpu(pids)?;
        let per_call = |side: usize| (after[side] - before[side]) / with_warm_up(&sample);
        Ok(Measured {
            peer: self.peer,
            client_cpu_us: per_call(0),
            server_cpu_us: per_call(1),
            client_mib: usage::peak_mib(pids[0])?,
            server_mib: usage::peak_mib(pids[1])?,
            sample,
        })
    }

    async fn end(self) -> Result<()> {
        for Side { mut child, input, .. } in [self.client, self.server] {
            // They end with their standard input.
            drop(input);
            let ended = child.wait().await?;
            ensure!(ended.success(), "a side of {} failed: {ended}", self.peer.name());
        }
        Ok(())
    }
}

/// Calls that the CPU time is for: a tenth of the time is a warm-up, which no sample counts.
#[expect(clippy::cast_precision_loss, reason = "a ratio is shown with three digits")]
fn with_warm_up(sample: &Sample) -> f64 {
    (sample.calls as f64 * 1.1).max(1.0)
}

fn cpu(pids: [u32; 2]) -> Result<[f64; 2]> {
    Ok([usage::cpu_micros(pids[0])?, usage::cpu_micros(pids[1])?])
}

impl Side {
    /// This program in another role, on this core if there is one to say.
    fn start(args: &RunArgs, core: Option<u16>, role: &[&str]) -> Result<Self> {
        let this = std::env::current_exe().context("cannot find the path of this program")?;
        let mut command = match core {
            None => Command::new(&this),
            Some(core) => {
                let mut command = Command::new("taskset");
                command.arg("--cpu-list").arg(core.to_string()).arg(&this);
                command
            }
        };
        command.args(role);
        if let Some(url) = &args.nats {
            command.args(["--nats", url]);
        }
        if core.is_some() {
            command.args(["--threads", "1"]);
        }
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn().with_context(
            || match core {
                Some(_) => "cannot start taskset, which --pin and --apart need; it is part of util-linux".to_owned(),
                None => format!("cannot start {}", this.display()),
            },
        )?;
        let input = child.stdin.take().context("a process without standard input")?;
        let output = BufReader::new(child.stdout.take().context("a process without standard output")?).lines();
        Ok(Self { child, input, output })
    }

    fn pid(&self) -> Result<u32> {
        self.child.id().context("it has ended")
    }

    async fn line(&mut self) -> Result<String> {
        self.output.next_line().await?.context("it ended; what it said stands above")
    }
}

/// The calling side: a sample for each line.
pub(crate) async fn drive(peer: Peer, address: &str, nats: Option<&str>) -> Result<()> {
    let calling = Calling::connect(peer, address, nats).await?;
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        let (cell, millis) = line.split_once(' ').context("expected a cell's number and milliseconds")?;
        let cell = CELLS.get(cell.parse::<usize>()?).context("there is no cell with this number")?;
        let sample = calling.measure(*cell, Duration::from_millis(millis.parse()?)).await?;
        println!("{}", serde_json::to_string(&sample)?);
    }
    Ok(())
}
