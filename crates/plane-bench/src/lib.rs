//! Criterion benches and the load run; for development only.
//!
//! # Layout
//! - `cell`: what is measured: the [`CELLS`] of the load run.
//! - `handlers`: what the serving side answers.
//! - `drive`: the calling side: makes the calls of a cell for a while ([`drive`]).
//! - `sample`: what one round of a cell gave ([`Sample`]).
//! - `summary`: medians over rounds, as JSON and as a table ([`Summary`]).
//!
//! All of it is written against the traits of a transport, never against one.

mod cell;
pub use cell::{CELLS, Cell, Pace, Shape};

mod handlers;
pub use handlers::{ECHO, PACED, READY, Served, serve_all};

mod sample;
pub use sample::{Recorder, Sample};

mod drive;
pub use drive::{DriveError, drive};

mod summary;
pub use summary::{Spread, Summary, summarize, table};

/// Keeps the example in the README compiling.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
