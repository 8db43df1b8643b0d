//! Backends as the processes of a deployment have them.

use std::collections::BTreeMap;
use std::time::Duration;

use async_nats::jetstream::kv::{Operation, Store};
use plane_core::{Address, EndpointId, Health, Instance, InstanceId};
use plane_manager::{Discovery, InstanceSet, InstanceWatch, NatsDiscovery, NatsDiscoveryConfig, Published};
use plane_nats::{NatsConfig, NatsConnection};
use plane_testkit::nats::NatsServer;
use tokio::runtime::Runtime;

/// Short, so that what expires does so within the patience of a test.
pub(crate) const TTL: Duration = Duration::from_secs(1);

/// Turns a hang into a failure, and nothing else.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) const BUCKET: &str = "plane-instances";

pub(crate) fn endpoint() -> EndpointId {
    "test.backend.generate".parse().unwrap()
}

pub(crate) fn instance(id: u64) -> Instance {
    let metadata = BTreeMap::from([("model".to_owned(), "m".to_owned())]);
    let address: Address = format!("tcp://127.0.0.1:{}", 1 + id % 60_000).parse().unwrap();
    Instance { endpoint: endpoint(), id: InstanceId::new(id).unwrap(), address, metadata }
}

pub(crate) fn connection(server: &NatsServer) -> NatsConnection {
    NatsConnection::new(NatsConfig::default().servers([server.url()]).unwrap())
}

/// A backend with a connection of its own, as another process has it.
pub(crate) fn backend(server: &NatsServer) -> NatsDiscovery {
    NatsDiscovery::new(connection(server), NatsDiscoveryConfig::default().ttl(TTL).unwrap())
}

/// The bucket as any other program sees it.
pub(crate) async fn bucket(server: &NatsServer) -> Store {
    let client = async_nats::connect(server.url()).await.unwrap();
    async_nats::jetstream::new(client).get_key_value(BUCKET).await.unwrap()
}

/// Waits until the set is as wanted.
pub(crate) async fn until(watch: &mut InstanceWatch, wanted: impl FnMut(&InstanceSet) -> bool) -> Vec<u64> {
    let set = tokio::time::timeout(PATIENCE, watch.wait_for(wanted)).await.expect("in time").unwrap();
    ids(&set)
}

pub(crate) fn ids(set: &[Instance]) -> Vec<u64> {
    set.iter().map(|instance| instance.id.get()).collect()
}

/// Waits until the backend says that it can, or cannot, do its work: nothing tells of that, so it is asked.
pub(crate) async fn until_ready(discovery: &NatsDiscovery, ready: bool) {
    let ask = async {
        while (discovery.health() == Health::Ready) != ready {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, ask).await.expect("in time");
}

/// Waits until the key was written this many more times.
pub(crate) async fn until_renewed(bucket: &Store, instance: &Instance, times: usize) {
    use futures_util::StreamExt;
    let name = format!("{}.{}", instance.endpoint, instance.id);
    let renewals = bucket.watch(name).await.unwrap().take(times).for_each(|_| std::future::ready(()));
    tokio::time::timeout(PATIENCE, renewals).await.expect("in time");
}

/// Waits until the key was deleted, rather than left to expire.
pub(crate) async fn until_deleted(bucket: &Store, instance: &Instance) {
    use futures_util::StreamExt;
    let name = format!("{}.{}", instance.endpoint, instance.id);
    let mut changes = bucket.watch_with_history(name).await.unwrap();
    let deleted = async { while changes.next().await.unwrap().unwrap().operation != Operation::Delete {} };
    tokio::time::timeout(PATIENCE, deleted).await.expect("in time");
}

/// A process that announces instances and can die without a word: dropping it stops all of it, and withdraws nothing.
pub(crate) struct Worker {
    runtime: Option<Runtime>,
    _discovery: NatsDiscovery,
    _published: Vec<Published>,
}

impl Worker {
    pub(crate) async fn start(server: &NatsServer, instances: Vec<Instance>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let discovery = backend(server);
        let starting = runtime.spawn(async move {
            let mut published = Vec::new();
            for instance in instances {
                published.push(discovery.publish(instance).await.unwrap());
            }
            (discovery, published)
        });
        let (discovery, published) = starting.await.unwrap();
        Self { runtime: Some(runtime), _discovery: discovery, _published: published }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Before anything is withdrawn, and without waiting, which a test's own runtime does not allow.
        self.runtime.take().expect("only here").shutdown_background();
    }
}
