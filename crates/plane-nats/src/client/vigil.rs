//! Asks NATS whether the servers that say nothing are still there.
//!
//! A killed server says nothing, like a busy one; but NATS knows at once that it is gone. Beats alone would tell only
//! after the whole keepalive time, which is for servers that NATS still takes for alive: frozen ones.

use std::time::Duration;

use bytes::Bytes;

use super::answer::Shared;
use crate::connection::{NatsConnection, Outbound};
use crate::subject;

/// How long a call may be quiet before NATS is asked, and how often it is asked.
const QUIET: Duration = Duration::from_millis(500);

/// Asks for ever. What NATS says comes to the inbox.
pub(super) async fn run(connection: &NatsConnection, shared: &Shared, inbox: &str) {
    loop {
        tokio::time::sleep(QUIET).await;
        for server in shared.routes.quiet_servers(QUIET) {
            let subject = subject::hail(&server).into();
            let reply = Some(subject::gone_reply(inbox, &server).into());
            // The loss of the connection ends the calls by itself.
            let _ = connection.publish(Outbound { subject, reply, headers: None, payload: Bytes::new() }).await;
        }
    }
}
