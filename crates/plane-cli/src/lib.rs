//! The parts of the `plane` binary, so that tests can use them without a process.
//!
//! # Layout
//! In reading order; a module uses only what stands above it.
//! - [`generate`]: what frontend and worker say to each other.
//! - `tokenizer`, `stop_text`: text to tokens and back, and where an answer ends.
//! - [`engine`]: what answers inside of a worker.
//! - `worker`: an engine behind an endpoint.
//! - `openai`: the shapes of OpenAI's HTTP interface.
//! - `frontend`: the HTTP server in front of the workers.
//! - `exit`, `signals`, `units`: how a command ends, what ends it, and how its flags are read.
//! - `stderr`: what is said there, whatever is behind it.
//! - `command`: the command line.

pub mod generate;

mod stop_text;
mod tokenizer;
pub use tokenizer::{TokenText, Tokenizer};

pub mod engine;

mod worker;
pub use worker::{MODEL, serve_model};

mod openai;

mod frontend;
pub use frontend::{Frontend, FrontendConfig};

mod exit;
pub use exit::{Exit, Failure};

mod signals;
mod units;

mod stderr;
pub use stderr::say_last;

mod command;
pub use command::Cli;
