//! Durable delivery: requests that are stored on the NATS server until they were answered (docs/nats.md, "Durable
//! delivery").
//!
//! # Layout
//! In reading order; a module uses only what stands above it.
//! - `names`: names of streams and consumers, and subjects.
//! - `wire`: what JetStream's API is asked and answers.
//! - `api`: asks it, and says in one way why it failed.
//! - `streams`: how streams and consumers are set up.
//! - `store`: makes them, and puts requests and answers into them.
//! - `delivered`: a stored request that was given to this server.
//! - `inbound`: takes requests out of the store.
//! - `dead`: requests that were given up.
//! - `janitor`: makes room for new requests.
//! - `manage`: what an operator does with all this ([`RequestStore`]).

mod names;

mod wire;

mod api;
pub(crate) use api::Failure;

mod streams;

mod store;
pub(crate) use store::Store;

mod delivered;
pub(crate) use delivered::{Delivered, Word, say};

mod inbound;
pub(crate) use inbound::{Came, Inbound};

mod dead;
pub use dead::DeadLetter;
pub(crate) use dead::bury;

mod janitor;
pub(crate) use janitor::Janitor;

mod manage;
pub use manage::{ReplayFrom, Replayed, RequestStore, StoreStats};
