//! Serving and calling through managers that are set up as programs are, over TCP and a directory.
#![cfg(feature = "tcp")]

mod apart;
mod place;
mod removal;
mod restarts;
mod serving;
#[cfg(feature = "tls")]
mod tls;
