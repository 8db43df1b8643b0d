//! The conformance suite: what a call must do on every transport, once per transport ([`conformance!`]).
//!
//! [`conformance!`]: crate::conformance!
//!
//! A transport's test crate implements [`Plane`] and writes one line; every case becomes a test of its own:
//!
//! ```ignore
//! plane_testkit::conformance!(mem, MemPlane);
//! ```
//!
//! The cases are those that ARCHITECTURE.md promises of every transport. They use the public traits alone, carry a
//! nonce in every payload, and wait for events.
//!
//! # Layout
//! - `plane`: what a transport's test crate provides ([`Plane`], [`Limits`]).
//! - `payload`: messages that tell where they belong ([`Nonce`]).
//! - `world`: one server and one client, and how cases talk to them.
//! - `probe`: handlers that tell what they see.
//! - the others: the cases, by theme.

mod plane;
pub use plane::{Limits, Plane};

mod payload;
pub use payload::Nonce;

mod world;

mod probe;

#[doc(hidden)]
pub mod cancellation;
#[doc(hidden)]
pub mod deadlines;
#[doc(hidden)]
pub mod drain;
#[doc(hidden)]
pub mod ends;
#[doc(hidden)]
pub mod errors;
#[doc(hidden)]
pub mod flow;
#[doc(hidden)]
pub mod headers;
#[doc(hidden)]
pub mod instances;
#[doc(hidden)]
pub mod limits;
#[doc(hidden)]
pub mod metrics;
#[doc(hidden)]
pub mod storm;
#[doc(hidden)]
pub mod streaming;
#[doc(hidden)]
pub mod typed;

mod list;

/// Runs one case. A case that hangs fails: every call ends.
#[doc(hidden)]
pub async fn run(case: impl Future<Output = ()>) {
    let ended = tokio::time::timeout(std::time::Duration::from_secs(120), case).await;
    assert!(ended.is_ok(), "the case hangs");
}
