//! Tells the servers of calls that take long that their caller is there, and hears from NATS if they are not.
//!
//! A killed server says nothing, like a busy one; but NATS knows at once that it is gone. Beats alone would tell only
//! after the whole keepalive time, which is for servers that NATS still takes for alive: frozen ones. The same holds for
//! callers: what NATS still listens for may be behind a network that has failed.

use std::time::Duration;

use bytes::Bytes;

use super::answer::Shared;
use crate::connection::{NatsConnection, Outbound};
use crate::subject;

/// How long a call may take before its server hears of its caller, and how often it does from then on.
const PERIOD: Duration = Duration::from_millis(500);

/// Tells for ever. What NATS says comes to the inbox.
pub(super) async fn run(connection: &NatsConnection, shared: &Shared, inbox: &str) {
    loop {
        let before = shared.routes.latest();
        tokio::time::sleep(PERIOD).await;
        for server in shared.routes.servers_since(before) {
            let subject = subject::hail(&server).into();
            let reply = Some(subject::gone_reply(inbox, &server).into());
            // The loss of the connection ends the calls by itself.
            let _ = connection.publish(Outbound { subject, reply, headers: None, payload: Bytes::new() }).await;
        }
    }
}
