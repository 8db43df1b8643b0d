//! The command line ([`Cli`]).
//!
//! # Layout
//! - `logging`: log lines on stderr.
//! - `network`: the manager that the environment and `--request-plane` ask for.
//! - `frontend`, `worker`, `call`, `store`: one subcommand each.

mod call;
mod frontend;
mod logging;
mod network;
mod store;
mod worker;

use clap::{Args, Parser, Subcommand};
use plane_core::Transport;

use crate::exit::Failure;

const EXAMPLES: &str = "\
Try it, in three terminals:
  plane worker --model echo --engine echo
  plane frontend --http-port 8000
  curl -N http://127.0.0.1:8000/v1/chat/completions -H 'content-type: application/json' \\
    -d '{\"model\": \"echo\", \"messages\": [{\"role\": \"user\", \"content\": \"Hello!\"}], \"stream\": true}'

Frontend and worker find each other through a directory that your processes on this machine share.
Answers go to stdout; logs and progress go to stderr.

Environment:
  DYN_REQUEST_PLANE      what carries calls: tcp (default) or nats
  DYN_DISCOVERY_BACKEND  where instances are found: file (default), nats, static or mem
  DYN_TCP_*              settings of calls over TCP, see docs/configuration.md
  NATS_SERVER            NATS servers, nats://localhost:4222 if not set; NATS_AUTH_*, NATS_TLS_* and
                         DYN_NATS_* beside it
  DYN_NATS_DELIVERY      core (default) or jetstream: requests are stored until they were answered
  RUST_LOG               what is logged, for example debug or plane_tcp=trace,info

Exit codes:
    0  it worked
    1  the call failed
    2  a flag, a variable or the input is wrong
    3  nothing is there to be called, or it takes no calls
    4  the deadline passed
  130  ended at once by a signal";

/// Calls between the parts of a model server: an OpenAI-compatible frontend, workers, and single calls.
#[derive(Debug, Parser)]
#[command(name = "plane", version, max_term_width = 100, after_help = EXAMPLES)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Options of all commands")]
struct Global {
    /// What carries calls: tcp or nats. Overrides DYN_REQUEST_PLANE.
    #[arg(long, global = true, value_name = "PLANE", value_parser = network::request_plane)]
    request_plane: Option<Transport>,
    /// What is logged: error, warn, info, debug, trace, or a filter as in RUST_LOG, which it overrides.
    #[arg(long, global = true, value_name = "LEVEL")]
    log_level: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    Frontend(frontend::FrontendArgs),
    Worker(worker::WorkerArgs),
    Call(call::CallArgs),
    Store(store::StoreArgs),
}

/// Where the workers of a deployment answer unless told otherwise.
const DEFAULT_ENDPOINT: &str = "dynamo.backend.generate";

impl Cli {
    /// Does what the command line asks for. It needs a tokio runtime.
    ///
    /// # Errors
    /// One message, and the exit code to end with.
    pub async fn run(self) -> Result<(), Failure> {
        let _lines = logging::start(self.global.log_level.as_deref())?;
        let manager = network::manager(self.global.request_plane)?;
        match self.command {
            Command::Frontend(args) => frontend::run(args, &manager).await,
            Command::Worker(args) => worker::run(args, &manager).await,
            Command::Call(args) => call::run(args, &manager).await,
            Command::Store(args) => store::run(args, &manager).await,
        }
    }
}
