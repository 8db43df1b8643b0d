//! The in-process transport, `mem://name`: the handler runs in its caller's task.
//!
//! Nothing is spawned, encoded or copied. A call is a value that its caller polls: the handler first, then the body
//! that it answered with. What follows from that, and only here: a handler makes progress only while its caller waits
//! for it, so an abort (a deadline, a drain that runs out of time) takes effect when the caller next looks.
//! Whatever a handler spawned itself sees the abort at once through its [`Context`](crate::Context).
//!
//! Deadlines and the time to be accepted need a tokio runtime with its timer enabled.
//!
//! # Layout
//! - `config`: limits and times ([`MemConfig`]).
//! - `running`: the calls in flight of one side, so that they can be waited for and aborted.
//! - `request_body`: the caller's messages as its handler reads them.
//! - `call`: one call, from its turn to the end of its answer.
//! - `network`: which names are served ([`MemNetwork`]).
//! - `server`, `client`: the two ends ([`MemServer`], [`MemClient`]).

mod config;
pub use config::MemConfig;

mod running;

mod request_body;

mod call;

mod network;
pub use network::MemNetwork;

mod server;
pub use server::MemServer;

mod client;
pub use client::MemClient;

#[cfg(test)]
mod tests;
