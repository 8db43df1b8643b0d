//! Log lines on stderr.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;

use crate::exit::Failure;
use crate::stderr::LogLines;

/// Logs what the flag asks for, otherwise what `RUST_LOG` asks for, otherwise information and worse.
/// Lines are written until what is returned is dropped, and for a moment after.
pub(super) fn start(level: Option<&str>) -> Result<LogLines, Failure> {
    let from_env = std::env::var("RUST_LOG").ok().filter(|filter| !filter.is_empty());
    let (source, filter) = match (level, from_env) {
        (Some(level), _) => ("--log-level", level.to_owned()),
        (None, Some(filter)) => ("RUST_LOG", filter),
        // What the NATS library logs of its connections, the plane says itself, where it matters and in its own words.
        (None, None) => ("the default", "info,async_nats=off".to_owned()),
    };
    let refuse = |error| {
        let what =
            format!("{source} is {filter:?}, which is no filter ({error}); use error, warn, info, debug or trace");
        Failure::usage(what)
    };
    let filter = EnvFilter::try_new(&filter).map_err(refuse)?;
    let colours = io::stderr().is_terminal();
    let (lines, writer) = LogLines::start();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(writer)
        .with_ansi(colours)
        .log_internal_errors(false)
        .init();
    Ok(lines)
}
