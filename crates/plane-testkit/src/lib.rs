//! Conformance suite, scripted peer and chaos proxy; for tests only.
//!
//! # Layout
//! - `chaos`: a proxy that does to real connections what networks do ([`ChaosProxy`]).
//! - [`peer`]: one side of a plane/1 connection that says what a test tells it to.
//! - [`mod@conformance`]: what a call must do on every transport.

mod chaos;
pub use chaos::{ChaosConnection, ChaosProxy, Direction, Ending, Faults, Flow, MAX_CONNECTIONS};

pub mod peer;

pub mod conformance;
