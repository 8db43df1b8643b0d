//! A scripted peer: one side of a plane/1 connection that says exactly what a test tells it to, right or wrong.
//!
//! It speaks over a real socket in either role: [`Peer::dial`] calls a server, [`PeerListener`] is called by a client.
//! Every wait has a limit, so that a test of a peer that hangs fails instead of hanging.
//!
//! # Layout
//! - `seen`: frames as a test looks at them ([`Seen`]).
//! - `connection`: what is sent and expected on one connection ([`Peer`]).
//! - `listener`: a peer that is dialled ([`PeerListener`]).

mod seen;
pub use seen::Seen;

mod connection;
pub use connection::Peer;

mod listener;
pub use listener::PeerListener;

use std::time::Duration;

/// What only a peer that hangs exceeds, even on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits for what must come.
async fn within_patience<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited {PATIENCE:?} in vain for {what}"),
    }
}
