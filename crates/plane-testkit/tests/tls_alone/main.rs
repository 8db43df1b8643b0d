//! TLS on TCP: what goes wrong with it and what is said of that, over real sockets.
//!
//! # Layout
//! - `world`: a server with TLS or without, and clients of it.
//! - `mismatch`: one side speaks TLS and the other does not.
//! - `servers`: certificates of servers, and whom clients believe.
//! - `clients`: certificates of clients, and whom servers take.
//! - `files`: files that cannot be used, and files that change.
//! - `stalls`: handshakes that are not finished.
//! - `records`: what lies between a call and the socket.

mod clients;
mod files;
mod mismatch;
mod records;
mod servers;
mod stalls;
mod world;
