//! Conformance suite, scripted peer, chaos proxy and NATS server; for tests only.
//!
//! # Layout
//! - `chaos`: a proxy that does to real connections what networks do ([`ChaosProxy`]).
//! - [`peer`]: one side of a plane/1 connection that says what a test tells it to.
//! - `authority`: certificates, of an authority of a test's own ([`Authority`]).
//! - [`nats`]: a real NATS server of a test's own.
//! - [`mod@conformance`]: what a call must do on every transport.
//! - [`fault`]: faults that are injected for real, and what must hold whatever the fault.

mod chaos;
pub use chaos::{ChaosConnection, ChaosProxy, Direction, Ending, Faults, Flow, MAX_CONNECTIONS};

pub mod peer;

mod authority;
pub use authority::{Authority, CertificateFiles};

pub mod nats;

pub mod conformance;

pub mod fault;
