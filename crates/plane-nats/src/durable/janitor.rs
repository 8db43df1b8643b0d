//! Makes room in the store: what was answered goes, oldest first, once half of it is used ([`Janitor`]).

use std::time::Duration;

use tokio::sync::{Mutex, Notify};

use super::api::Failure;
use super::store::Store;

/// How long it rests after each look.
const REST: Duration = Duration::from_millis(250);

/// Makes room when it is told that requests were answered, and goes on until less than half of the store is used.
#[derive(Debug, Default)]
pub(crate) struct Janitor {
    bell: Notify,
    /// One look at a time is enough for a server of many endpoints.
    at_work: Mutex<()>,
}

impl Janitor {
    /// A request was answered.
    pub(crate) fn ring(&self) {
        self.bell.notify_one();
    }

    /// Makes room for ever, whenever there is something to do.
    pub(crate) async fn run(&self, store: &Store) {
        loop {
            self.bell.notified().await;
            let _at_work = self.at_work.lock().await;
            match make_room(store).await {
                // Acknowledgements that are still on their way may free the rest.
                Ok(true) => self.ring(),
                Ok(false) => {}
                Err(failure) => tracing::debug!(?failure, "no room was made in the store of requests"),
            }
            tokio::time::sleep(REST).await;
        }
    }
}

/// Drops what was answered, the older half first and then half of the rest, until less than half of the store is used;
/// whether more is used still.
async fn make_room(store: &Store) -> Result<bool, Failure> {
    let half = store.config().max_bytes / 2;
    let mut oldest = 0;
    loop {
        let state = store.stream(&store.names().requests).await?.state;
        if state.bytes <= half || state.messages == 0 {
            return Ok(false);
        }
        // What still waits stays, however old it is, and does not keep what was answered after it.
        oldest = state.first.max(oldest);
        if oldest > state.last {
            return Ok(true);
        }
        let middle = oldest + (state.last - oldest) / 2;
        for consumer in store.consumers().await? {
            // Everything of the endpoint up to its floor was answered, and nothing if it has none.
            let answered = consumer.ack_floor.stream.min(middle);
            if answered > 0 {
                store.purge(&consumer.config.filter, answered + 1).await?;
            }
        }
        oldest = middle + 1;
    }
}
