//! A fixed list of instances, for deployments whose addresses are known beforehand.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use parking_lot::Mutex;
use plane_core::{Address, BoxFuture, Delivery, EndpointId, Error, ErrorKind, Instance, InstanceId};

use super::board::{Board, Key, key};
use super::{Discovery, InstanceWatch, Published};
use crate::config::{STATIC_INSTANCES, StaticInstance};

/// The metadata key of an instance whose id was made up here, because the list does not say it.
///
/// Calls to it go to any instance that answers the endpoint at its address.
pub const ANY_INSTANCE: &str = "plane-any-instance";

/// A fixed list of instances. Nothing comes and nothing goes.
#[derive(Debug)]
pub struct StaticDiscovery {
    board: Board,
    /// Which listed ids are served here: two services at one address must not take the same one.
    taken: Arc<Mutex<BTreeSet<Key>>>,
}

impl StaticDiscovery {
    /// This list. An entry that is there twice counts once.
    #[must_use]
    pub fn new(list: &[StaticInstance]) -> Self {
        let board = Board::default();
        let found = list.iter().map(listed).map(|instance| (key(&instance), instance)).collect();
        board.replace(found);
        Self { board, taken: Arc::default() }
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
            if self.at(&instance.endpoint, &instance.address).is_empty() {
                tracing::warn!(
                    endpoint = %instance.endpoint, address = %instance.address,
                    "this instance is not in DYN_STATIC_INSTANCES: callers that use the list do not find it"
                );
            }
            let key = key(&instance);
            if !self.taken.lock().insert(key.clone()) {
                return Err(already_served(&instance.endpoint, &instance.address));
            }
            let taken = self.taken.clone();
            Ok(Published::new(instance, move || {
                taken.lock().remove(&key);
            }))
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

    fn assigned_id(&self, endpoint: &EndpointId, address: &Address) -> Result<Option<InstanceId>, Error> {
        let listed = self.at(endpoint, address);
        let (any, prescribed): (Vec<_>, Vec<_>) =
            listed.iter().partition(|entry| entry.metadata.contains_key(ANY_INSTANCE));
        let taken = self.taken.lock();
        match prescribed.iter().find(|entry| !taken.contains(&key(entry))) {
            Some(free) => Ok(Some(free.id)),
            None if prescribed.is_empty() || !any.is_empty() => Ok(None),
            None => Err(already_served(endpoint, address)),
        }
    }
}

impl StaticDiscovery {
    /// What the list says about one endpoint at one address.
    fn at(&self, endpoint: &EndpointId, address: &Address) -> Vec<Instance> {
        let mut listed = self.board.list();
        listed.retain(|entry| entry.endpoint == *endpoint && is_at(&entry.address, address));
        listed
    }
}

/// Whether a server at this address answers what is listed there. On NATS a list names the prefix that all servers share.
fn is_at(listed: &Address, server: &Address) -> bool {
    match (listed, server) {
        (Address::Nats(prefix), Address::Nats(server)) => {
            prefix == server || server.strip_prefix(&**prefix).is_some_and(|rest| rest.starts_with(".@"))
        }
        _ => listed == server,
    }
}

fn already_served(endpoint: &EndpointId, address: &Address) -> Error {
    let what = format!(
        "{endpoint} is served at {address} already, as often as {STATIC_INSTANCES} lists it with an instance; list it there \
         without one, or once more with another"
    );
    Error::new(ErrorKind::AlreadyExists, Delivery::NotSent, what)
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
        let id = |address: &str| discovery.assigned_id(&list[0].endpoint, &address.parse().unwrap()).unwrap();
        assert_eq!(id("tcp://h:1"), InstanceId::new(7));
        assert_eq!((id("tcp://h:2"), id("tcp://h:9")), (None, None));
    }

    #[tokio::test]
    async fn each_listed_id_is_given_once_at_a_time() {
        let list = [entry("tcp://h:1", Some(7)), entry("tcp://h:1", Some(8))];
        let discovery = StaticDiscovery::new(&list);
        let next = || discovery.assigned_id(&list[0].endpoint, &list[0].address);
        let serve = async || {
            let id = next().unwrap().unwrap();
            let StaticInstance { endpoint, address, .. } = list[0].clone();
            discovery.publish(Instance { endpoint, id, address, metadata: BTreeMap::new() }).await.unwrap()
        };
        let (first, second) = (serve().await, serve().await);
        assert_eq!((first.instance().id.get(), second.instance().id.get()), (7, 8));
        let error = next().unwrap_err();
        assert_eq!((error.kind(), error.delivery()), (ErrorKind::AlreadyExists, Delivery::NotSent));
        assert!(error.message().contains("DYN_STATIC_INSTANCES"), "{error}");
        drop(first);
        assert_eq!(serve().await.instance().id.get(), 7);
    }
}
