//! Conformance suite, scripted peer and chaos proxy; for tests only.
//!
//! # Layout
//! - `chaos`: a proxy that does to real connections what networks do ([`ChaosProxy`]).
//! - [`mod@conformance`]: what a call must do on every transport.

mod chaos;
pub use chaos::{ChaosConnection, ChaosProxy, Direction, Ending, Faults, Flow, MAX_CONNECTIONS};

pub mod conformance;
