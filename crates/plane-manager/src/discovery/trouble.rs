//! What does not work now.

use plane_core::Error;

/// Whether something that is done again and again fails now, and why. Logs when that changes, not each time.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    now: Option<String>,
}

impl Trouble {
    pub(super) fn note(&mut self, outcome: Result<(), Error>) {
        match (outcome, self.now.take()) {
            (Ok(()), None) => {}
            (Ok(()), Some(was)) => tracing::info!(was, "discovery works again"),
            (Err(error), before) => {
                if before.is_none() {
                    tracing::warn!("{error}");
                }
                self.now = Some(error.to_string());
            }
        }
    }

    pub(super) fn now(&self) -> Option<&str> {
        self.now.as_deref()
    }
}
