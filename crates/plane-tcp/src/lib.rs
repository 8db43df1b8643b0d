//! Calls over byte streams: TCP, with or without TLS, and Unix sockets, as docs/protocol.md describes them.
//!
//! [`TcpServer`] answers calls for any number of endpoints on one listener; [`TcpClient`] makes them over a bounded pool
//! of connections for each address. Both speak through the traits of `plane-core`, so that application code never names
//! them.
//!
//! # Layout
//! In reading order; a module uses only what stands above it.
//! - `failure`: why a connection ended.
//! - `stranger`: peers that speak something else.
//! - `linger`: the end of a connection whose peer was told why.
//! - `tls` (with the feature of that name): TLS on TCP connections.
//! - `config`: settings, each with its unit, default and range.
//! - `proto`: one connection as plain types, without sockets, clock or runtime.
//! - `dial`: hosts that may stand for several addresses.
//! - `socket`: TCP and Unix sockets, with TLS or without.
//! - `hello`: the first bytes of a connection.
//! - `counts`: what a client has done so far.
//! - `watch`: whether a connection looks for what comes next before its task sleeps.
//! - `hold`: whether requests wait in the socket for those behind them.
//! - `link`: one connection at run time, shared by callers, handlers and its driver.
//! - `driver`: the task that reads, writes and keeps time for it.
//! - `call`: one call on a link, from either side.
//! - `client`: the pool and [`TcpClient`].
//! - `server`: the listener, the tasks of handlers and [`TcpServer`].

mod failure;

mod stranger;

mod linger;

#[cfg(feature = "tls")]
mod tls;
#[cfg(feature = "tls")]
pub use tls::{TlsClientConfig, TlsIdentity, TlsServerConfig};

mod config;
pub use config::{AbuseLimits, ClientConfig, ConnectionConfig, Listen, Rate, ServerConfig};

mod proto;

mod dial;

mod socket;

mod hello;
mod hold;

mod counts;

mod link;

mod watch;

mod driver;

mod call;

mod client;
pub use client::TcpClient;

mod server;
pub use server::{ServerDriver, TcpServer};

#[cfg(test)]
mod simulation;

#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
