//! Calls over a NATS server, as docs/nats.md describes them.
//!
//! # Layout
//! In reading order; a module uses only what stands above it.
//! - `secret`: numbers that nobody can guess.
//! - `subject`: subjects, made of checked names only.
//! - `credentials`: who this side is to the NATS server, and how that is kept out of what is shown.
//! - `delivery`: how requests reach their servers, stored or not.
//! - `config`: settings, each with its unit, default and range.
//! - `flow`: the messages and credit of one direction of a call, as plain types.
//! - `head`, `status`: what the headers of messages say, and how a call ends.
//! - `events`: what the connection tells of itself.
//! - `pack`: small messages that travel in one payload.
//! - `outbox`: messages that leave together.
//! - `reconnect`: how long to wait before NATS is tried again.
//! - `dial`: connecting for the first time, and what may help if that fails.
//! - `connection`: the connection to NATS, made when it is first needed.
//! - `durable`: requests that are stored until they were answered.
//! - `controls`: what is to be told of calls from places that cannot wait.
//! - `client`: [`NatsClient`].
//! - `server`: [`NatsServer`].

mod secret;

mod subject;

mod credentials;
pub use credentials::Credentials;

mod delivery;
pub use delivery::{NatsDelivery, Storage, StoreConfig};

mod config;
pub use config::{NatsConfig, Tls};

mod flow;

mod head;

mod status;

mod events;

mod pack;

mod outbox;

mod reconnect;

mod dial;

mod connection;
pub use connection::NatsConnection;

mod durable;
pub use durable::{DeadLetter, ReplayFrom, Replayed, RequestStore, StoreStats};

mod controls;

mod client;
pub use client::NatsClient;

mod server;
pub use server::{NatsServer, ServerDriver};

#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
