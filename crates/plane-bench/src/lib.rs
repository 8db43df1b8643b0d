//! Criterion benches and the load run; for development only.
//!
//! # Layout
//! - `cell`: what is measured: the [`CELLS`] of the load run, and the [`NATS_CELLS`] among them.
//! - `handlers`: what the serving side answers.
//! - `sample`: what one round of a cell gave ([`Sample`]).
//! - `caller`: who makes the calls ([`Caller`]), over any transport ([`PlaneCaller`]).
//! - `bare`: the same exchanges without the plane ([`BareCaller`], [`serve_bare`]).
//! - `drive`: the calling side: makes the calls of a cell for a while ([`drive`]), in a [`runtime`].
//! - `summary`: medians over rounds, as JSON and as a table ([`Summary`]).
//! - `comparison`: the plane beside the bare pattern ([`Comparison`]).
//!
//! All but `bare` is written against the traits of a transport, never against one.

mod cell;
pub use cell::{CELLS, Cell, NATS_CELLS, Pace, Shape};

mod handlers;
pub use handlers::{ECHO, PACED, READY, Served, items_asked, paced_items, serve_all};

mod sample;
pub use sample::{Ended, Recorder, Sample, Way};

mod caller;
pub use caller::{Caller, DriveError, Exchange, PlaneCaller, Seen};

mod bare;
pub use bare::{BareCaller, BareServed, serve_bare};

mod drive;
pub use drive::{drive, runtime};

mod summary;
pub use summary::{Spread, Summary, micros, summarize, table};

mod comparison;
pub use comparison::{Comparison, compare, comparison_table};

/// Keeps the example in the README compiling.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
