//! What the client library tells of the connection to NATS, kept for those who must act on it.

use std::sync::Arc;

use async_nats::{ClientError, ConnectErrorKind, Event, ServerError};
use parking_lot::Mutex;
use plane_core::{ErrorKind, Health};
use tokio::sync::{broadcast, watch};

/// Denied subjects that someone who listens may be behind.
const KEPT_DENIALS: usize = 64;

/// What the connection to NATS tells of itself.
#[derive(Debug)]
pub(crate) struct Events {
    /// How often the connection was lost.
    losses: watch::Sender<u64>,
    /// How often it was made.
    connects: watch::Sender<u64>,
    /// Subjects that the server does not let this side use.
    denied: broadcast::Sender<Arc<str>>,
    trouble: Mutex<Trouble>,
}

/// What is wrong since the last connect.
#[derive(Debug, Default)]
struct Trouble {
    /// Why connecting again failed the last time.
    refusal: Option<String>,
    /// The server has said that it shuts down.
    is_leaving: bool,
    /// A subject that this side may not listen to.
    unheard: Option<String>,
}

impl Events {
    pub(crate) fn new() -> Self {
        let (losses, _) = watch::channel(0);
        let (connects, _) = watch::channel(0);
        let (denied, _) = broadcast::channel(KEPT_DENIALS);
        Self { losses, connects, denied, trouble: Mutex::default() }
    }

    /// Tells when the connection is lost, from now on.
    pub(crate) fn losses(&self) -> watch::Receiver<u64> {
        let mut losses = self.losses.subscribe();
        losses.mark_unchanged();
        losses
    }

    /// Tells when the connection is made, from now on.
    pub(crate) fn connects(&self) -> watch::Receiver<u64> {
        let mut connects = self.connects.subscribe();
        connects.mark_unchanged();
        connects
    }

    /// Subjects that the server does not let this side use, from now on.
    pub(crate) fn denied(&self) -> broadcast::Receiver<Arc<str>> {
        self.denied.subscribe()
    }

    /// Why there is no connection, as an error's kind and text.
    pub(crate) fn why_lost(&self, servers: &str) -> (ErrorKind, String) {
        let lost = format!("the connection to NATS at {servers} is lost; it is being made again");
        match &self.trouble.lock().refusal {
            Some(refusal) if is_about_credentials(refusal) => (
                ErrorKind::Unauthenticated,
                format!("the NATS server at {servers} does not take these credentials any more: {refusal}"),
            ),
            Some(refusal) => (ErrorKind::Unavailable, format!("{lost}; the last try: {refusal}")),
            None => (ErrorKind::Unavailable, lost),
        }
    }

    /// Whether the server that has, or had, the connection has said that it shuts down.
    pub(crate) fn is_leaving(&self) -> bool {
        self.trouble.lock().is_leaving
    }

    /// How a connection that is there is.
    pub(crate) fn health(&self, servers: &str) -> Health {
        let trouble = self.trouble.lock();
        if let Some(subject) = &trouble.unheard {
            return Health::Degraded(format!(
                "the NATS server at {servers} does not let this side listen at {subject}"
            ));
        }
        if trouble.is_leaving {
            return Health::Degraded(format!("a NATS server of {servers} shuts down; another one is used once it has"));
        }
        Health::Ready
    }

    pub(crate) fn note(&self, event: &Event) {
        match event {
            Event::Connected => {
                tracing::debug!("connected to NATS");
                *self.trouble.lock() = Trouble::default();
                self.connects.send_modify(|connects| *connects += 1);
            }
            Event::Disconnected => {
                tracing::warn!("the connection to NATS is lost");
                self.losses.send_modify(|losses| *losses += 1);
            }
            // Only this side closes one for good, once nobody uses it: no news to a person.
            Event::Closed => {
                tracing::debug!("the connection to NATS is closed");
                self.losses.send_modify(|losses| *losses += 1);
            }
            Event::ServerError(ServerError::Other(text)) => {
                tracing::warn!(error = %text, "the NATS server refuses something");
                self.note_denial(text);
            }
            Event::ClientError(ClientError::Other(text)) => {
                tracing::warn!(error = %text, "connecting to NATS failed");
                self.trouble.lock().refusal = Some(text.clone());
            }
            Event::LameDuckMode => {
                tracing::warn!("the NATS server shuts down");
                self.trouble.lock().is_leaving = true;
            }
            Event::SlowConsumer(_) | Event::ServerError(_) | Event::ClientError(_) => {
                tracing::warn!(%event, "NATS needs attention");
            }
            Event::Draining => tracing::debug!(%event, "NATS"),
        }
    }

    fn note_denial(&self, text: &str) {
        let Some(subject) = denied_subject(text) else { return };
        // Whether services are found matters to people only; calls go on without.
        if text.to_ascii_lowercase().contains("for subscription") && !subject.starts_with("$SRV") {
            self.trouble.lock().unheard = Some(subject.to_owned());
        }
        // Nobody may be listening.
        let _ = self.denied.send(subject.into());
    }
}

/// Whether connecting failed because of who this side says it is.
fn is_about_credentials(refusal: &str) -> bool {
    [ConnectErrorKind::AuthorizationViolation, ConnectErrorKind::Authentication]
        .iter()
        .any(|kind| kind.to_string() == refusal)
}

/// The subject of an error such as `Permissions Violation for Publish to "a.b"`.
fn denied_subject(text: &str) -> Option<&str> {
    let rest = text.to_ascii_lowercase().starts_with("permissions violation").then_some(text)?;
    rest.split('"').nth(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_denied_subject_is_found() {
        assert_eq!(denied_subject("Permissions Violation for Publish to \"a.b\""), Some("a.b"));
        let queue = "Permissions Violation for Subscription to \"a.b\" using queue \"plane\"";
        assert_eq!(denied_subject(queue), Some("a.b"));
        assert_eq!(denied_subject("something else \"a.b\""), None);
    }

    #[test]
    fn trouble_is_told_until_the_next_connect() {
        let events = Events::new();
        events.note(&Event::LameDuckMode);
        assert!(matches!(events.health("a"), Health::Degraded(_)));
        events.note(&Event::Disconnected);
        assert_eq!(events.why_lost("a").0, ErrorKind::Unavailable);
        events.note(&Event::ClientError(ClientError::Other(ConnectErrorKind::AuthorizationViolation.to_string())));
        assert_eq!(events.why_lost("a").0, ErrorKind::Unauthenticated);
        events.note(&Event::Connected);
        assert_eq!((events.health("a"), events.why_lost("a").0), (Health::Ready, ErrorKind::Unavailable));
    }
}
