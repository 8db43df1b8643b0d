//! Doors for fuzzing, which are there only under `cfg(fuzzing)`: what the socket's side of this crate does with any bytes
//! (crates/plane-fuzz).
//!
//! # Layout
//! - `input`: decisions, read from the bytes that the fuzzer makes up.
//! - `ledger`: what may be on the wire, counted beside the connection.
//! - `greeting`: the first bytes of a connection.
//! - `hostile`: a connection, its users, and a peer that says anything.

mod input;

mod ledger;

mod greeting;
pub use greeting::greeting;

mod hostile;
pub use hostile::connection;
