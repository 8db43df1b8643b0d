//! Managers whose calls travel over a real NATS server.
#![cfg(all(feature = "tcp", feature = "nats"))]

mod apart;
mod migrating;
mod pairing;
mod place;
mod serving;
mod stale;
mod stored;
