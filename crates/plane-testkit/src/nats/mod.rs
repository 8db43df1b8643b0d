//! A real NATS server of a test's own ([`NatsServer`]).
//!
//! # Layout
//! - `binary`: where the server's program is.
//! - `process`: one run of it, ready to be connected to.
//! - `server`: a server that can be frozen, killed and started again at the same place.

mod binary;

mod process;

mod server;
pub use server::{NatsServer, NatsServerOptions};
