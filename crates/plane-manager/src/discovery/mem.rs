//! Instances of this process, kept in memory.

use std::sync::Arc;

use plane_core::{BoxFuture, Delivery, EndpointId, Error, ErrorKind, Instance};

use super::board::{Board, key};
use super::{Discovery, InstanceWatch, Published};

/// Instances kept in memory. Clones share them; give one to each manager of the process that shall see the others.
#[derive(Debug, Clone, Default)]
pub struct MemDiscovery {
    board: Arc<Board>,
}

impl MemDiscovery {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl Discovery for MemDiscovery {
    fn publish(&self, instance: Instance) -> BoxFuture<'_, Result<Published, Error>> {
        Box::pin(async move {
            let key = key(&instance);
            if !self.board.insert(instance.clone()) {
                let what = format!("instance {} of {} is already published", instance.id, instance.endpoint);
                return Err(Error::new(ErrorKind::AlreadyExists, Delivery::NotSent, what));
            }
            let board = self.board.clone();
            Ok(Published::new(instance, move || board.remove(&key)))
        })
    }

    fn watch(&self, endpoint: &EndpointId) -> InstanceWatch {
        self.board.watch(endpoint)
    }

    fn watch_all(&self) -> InstanceWatch {
        self.board.watch_all()
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<Instance>, Error>> {
        Box::pin(async { Ok(self.board.list()) })
    }

    fn describe(&self) -> String {
        "mem (this process)".to_owned()
    }
}
