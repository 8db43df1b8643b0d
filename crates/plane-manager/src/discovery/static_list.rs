//! A fixed list of instances, for deployments whose addresses are known beforehand.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};

use plane_core::{Address, BoxFuture, EndpointId, Error, Instance, InstanceId};

use super::board::{Board, key};
use super::{Discovery, InstanceWatch, Published};
use crate::config::StaticInstance;

/// The metadata key of an instance whose id was made up here, because the list does not say it.
///
/// Calls to it go to any instance that answers the endpoint at its address.
pub const ANY_INSTANCE: &str = "plane-any-instance";

/// A fixed list of instances. Nothing comes and nothing goes.
#[derive(Debug)]
pub struct StaticDiscovery {
    board: Board,
}

impl StaticDiscovery {
    /// This list. An entry that is there twice counts once.
    #[must_use]
    pub fn new(list: &[StaticInstance]) -> Self {
        let board = Board::default();
        let found = list.iter().map(listed).map(|instance| (key(&instance), instance)).collect();
        board.replace(found);
        Self { board }
    }
}

fn listed(entry: &StaticInstance) -> Instance {
    let StaticInstance { endpoint, address, id } = entry.clone();
    let metadata = match id {
        Some(_) => BTreeMap::new(),
        None => BTreeMap::from([(ANY_INSTANCE.to_owned(), "true".to_owned())]),
    };
    let id = id.unwrap_or_else(|| made_up(&endpoint, &address));
    Instance { endpoint, id, address, metadata }
}

/// The same entry has the same id in every process of the same build.
fn made_up(endpoint: &EndpointId, address: &Address) -> InstanceId {
    let mut hasher = std::hash::DefaultHasher::new();
    (endpoint, address).hash(&mut hasher);
    InstanceId::new(hasher.finish()).unwrap_or_else(|| InstanceId::new(1).expect("one is not zero"))
}

impl Discovery for StaticDiscovery {
    fn publish(&self, instance: Instance) -> BoxFuture<'_, Result<Published, Error>> {
        Box::pin(async move {
            let listed = self
                .board
                .list()
                .iter()
                .any(|entry| entry.endpoint == instance.endpoint && entry.address == instance.address);
            if !listed {
                tracing::warn!(
                    endpoint = %instance.endpoint, address = %instance.address,
                    "this instance is not in DYN_STATIC_INSTANCES: callers that use the list do not find it"
                );
            }
            Ok(Published::new(instance, || {}))
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
        format!("static (DYN_STATIC_INSTANCES, {} instances)", self.board.list().len())
    }

    fn assigned_id(&self, endpoint: &EndpointId, address: &Address) -> Option<InstanceId> {
        let known = self.board.list();
        let entry = known.iter().find(|entry| entry.endpoint == *endpoint && entry.address == *address)?;
        (!entry.metadata.contains_key(ANY_INSTANCE)).then_some(entry.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(address: &str, id: Option<u64>) -> StaticInstance {
        StaticInstance {
            endpoint: "n.c.e".parse().unwrap(),
            address: address.parse().unwrap(),
            id: id.and_then(InstanceId::new),
        }
    }

    #[tokio::test]
    async fn the_list_is_what_is_found() {
        let list = [entry("tcp://h:1", Some(7)), entry("tcp://h:2", None), entry("tcp://h:2", None)];
        let discovery = StaticDiscovery::new(&list);
        let found = discovery.list().await.unwrap();
        assert_eq!(found.len(), 2);
        let known = found.iter().find(|instance| instance.id.get() == 7).unwrap();
        assert!(known.metadata.is_empty());
        let other = found.iter().find(|instance| instance.id.get() != 7).unwrap();
        assert!(other.metadata.contains_key(ANY_INSTANCE));
        assert_eq!(discovery.watch(&list[0].endpoint).borrow().len(), 2);
        assert_eq!(discovery.watch(&"n.c.other".parse().unwrap()).borrow().len(), 0);
    }

    #[tokio::test]
    async fn a_server_takes_the_id_that_the_list_gives_it() {
        let list = [entry("tcp://h:1", Some(7)), entry("tcp://h:2", None)];
        let discovery = StaticDiscovery::new(&list);
        let id = discovery.assigned_id(&list[0].endpoint, &list[0].address);
        assert_eq!(id, InstanceId::new(7));
        assert_eq!(discovery.assigned_id(&list[1].endpoint, &list[1].address), None);
        assert_eq!(discovery.assigned_id(&list[0].endpoint, &"tcp://h:9".parse().unwrap()), None);
    }
}
