//! `plane store`

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, SystemTime};

use clap::{Args, Subcommand};
use plane_core::EndpointId;
use plane_manager::{DeadLetter, NetworkManager, ReplayFrom, Replayed};
use serde_json::{Value, json};

use crate::exit::{Exit, Failure};
use crate::signals::Signals;
use crate::units;

/// Looks after the requests that are stored on NATS (DYN_NATS_DELIVERY=jetstream).
///
/// Prints lines of JSON.
#[derive(Debug, Args)]
pub(super) struct StoreArgs {
    #[command(subcommand)]
    command: StoreCommand,
}

#[derive(Debug, Subcommand)]
enum StoreCommand {
    /// Shows how much is stored, waits, and was given up.
    Stats,
    /// Changes the store that is there to the settings of this environment (DYN_NATS_STORE_*), and shows it.
    Apply,
    /// Lists the requests that were given up, with the reason.
    Dead {
        /// Only those of this endpoint.
        #[arg(long)]
        endpoint: Option<EndpointId>,
        /// Begins after this one.
        #[arg(long, default_value_t = 0, value_name = "SEQUENCE")]
        after: u64,
        /// Lists this many at most.
        #[arg(long, default_value_t = 1000, value_name = "N")]
        limit: usize,
    },
    /// Stores requests that were given up again, with all their attempts.
    Requeue {
        /// Which ones, as `plane store dead` lists them.
        #[arg(required_unless_present = "all", value_name = "SEQUENCE")]
        sequences: Vec<u64>,
        /// All that there are now.
        #[arg(long, conflicts_with = "sequences")]
        all: bool,
        /// With --all: only those of this endpoint.
        #[arg(long, requires = "all")]
        endpoint: Option<EndpointId>,
    },
    /// Stores requests of an endpoint again, answered or not, as new ones without a caller.
    Replay {
        /// Whose requests.
        endpoint: EndpointId,
        /// From this place in the store.
        #[arg(long, value_name = "SEQUENCE", required_unless_present = "since")]
        from_sequence: Option<u64>,
        /// From those that were stored so long ago.
        #[arg(long, value_name = "DURATION", value_parser = units::duration, conflicts_with = "from_sequence")]
        since: Option<Duration>,
    },
}

pub(super) async fn run(args: StoreArgs, manager: &NetworkManager) -> Result<(), Failure> {
    let mut signals = Signals::listen()?;
    signals.unless(obey(args.command, manager)).await?
}

async fn obey(command: StoreCommand, manager: &NetworkManager) -> Result<(), Failure> {
    let store = match command {
        StoreCommand::Apply => manager.apply_store_settings().await?,
        _ => manager.request_store().await?,
    };
    match command {
        StoreCommand::Stats | StoreCommand::Apply => {
            let stats = store.stats().await?;
            print(&json!({
                "stored": stats.stored,
                "pending": stats.pending,
                "dead": stats.dead,
                "bytes": stats.bytes,
                "max_bytes": stats.max_bytes,
            }))
        }
        StoreCommand::Dead { endpoint, after, limit } => {
            let letters = store.dead_letters(endpoint.as_ref(), after, limit).await?;
            letters.iter().try_for_each(|letter| print(&shown(letter)))
        }
        StoreCommand::Requeue { all: true, endpoint, .. } => {
            let requeued = store.requeue_all(endpoint.as_ref()).await?;
            print(&json!({ "requeued": requeued }))
        }
        StoreCommand::Requeue { sequences, .. } => {
            for sequence in &sequences {
                store.requeue(*sequence).await?;
            }
            print(&json!({ "requeued": sequences.len() }))
        }
        StoreCommand::Replay { endpoint, from_sequence, since } => {
            let from = match (from_sequence, since) {
                (Some(sequence), _) => ReplayFrom::Sequence(sequence),
                (None, since) => ReplayFrom::Time(ago(since.unwrap_or_default())),
            };
            let progress = Progress::default();
            let done = store.replay(&endpoint, from, |done| progress.show(done)).await;
            progress.end();
            let done = done?;
            print(&json!({ "replayed": done.requests, "last": done.last }))
        }
    }
}

fn ago(since: Duration) -> SystemTime {
    SystemTime::now().checked_sub(since).unwrap_or(SystemTime::UNIX_EPOCH)
}

fn shown(letter: &DeadLetter) -> Value {
    let died = letter.died.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    json!({
        "sequence": letter.sequence,
        "endpoint": letter.endpoint.to_string(),
        "request_id": letter.request_id,
        "code": letter.reason.code().to_string(),
        "reason": letter.reason.message(),
        "attempts": letter.attempts,
        "died_unix_seconds": died.as_secs(),
        "stored_sequence": letter.stored_sequence,
        "payload_bytes": letter.payload.len(),
    })
}

fn print(line: &Value) -> Result<(), Failure> {
    let printed = writeln!(io::stdout(), "{line}");
    printed.map_err(|error| Failure::new(Exit::Failed, format!("cannot write to stdout: {error}")))
}

/// One line on a terminal that says how far a replay is.
#[derive(Debug)]
struct Progress {
    on_terminal: bool,
}

impl Default for Progress {
    fn default() -> Self {
        Self { on_terminal: io::stderr().is_terminal() }
    }
}

impl Progress {
    fn show(&self, done: Replayed) {
        if self.on_terminal {
            eprint!("\rreplayed {} requests, at {} of {}", done.requests, done.last, done.until);
        }
    }

    fn end(&self) {
        if self.on_terminal {
            eprintln!();
        }
    }
}
