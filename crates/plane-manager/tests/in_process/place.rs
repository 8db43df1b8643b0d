//! A place where managers of one process find each other.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use plane_core::mem::MemNetwork;
use plane_core::{Address, Context, EndpointId, Handler, Instance, InstanceId, Request, Response, handler_fn};
use plane_manager::{Discovery, EndpointClient, MemDiscovery, NetworkManager, NetworkManagerBuilder, Published};
use tokio::sync::Notify;
use tokio::time::Instant;

pub(crate) fn endpoint() -> EndpointId {
    "test.backend.generate".parse().unwrap()
}

/// What the managers of one test share.
#[derive(Clone, Default)]
pub(crate) struct Place {
    pub(crate) network: MemNetwork,
    pub(crate) discovery: MemDiscovery,
}

impl Place {
    pub(crate) fn manager(&self) -> NetworkManager {
        self.builder().build().unwrap()
    }

    pub(crate) fn builder(&self) -> NetworkManagerBuilder {
        NetworkManager::builder().mem_network(self.network.clone()).discovery(self.discovery.clone())
    }

    /// Lists an instance that nobody serves.
    pub(crate) async fn pretend(&self, id: u64, address: Address) -> Published {
        let id = InstanceId::new(id).unwrap();
        let instance = Instance { endpoint: endpoint(), id, address, metadata: BTreeMap::new() };
        self.discovery.publish(instance).await.unwrap()
    }
}

/// Answers with its name.
pub(crate) fn named(name: &'static str) -> impl Handler {
    handler_fn(move |_: Request, _: Context| async move { Ok(Response::new(name)) })
}

/// Answers after it was let go; tells when it has begun.
pub(crate) fn gated(begun: Arc<Notify>, go: Arc<Notify>) -> impl Handler {
    handler_fn(move |_: Request, _: Context| {
        let (begun, go) = (begun.clone(), go.clone());
        async move {
            begun.notify_one();
            go.notified().await;
            Ok(Response::new("done"))
        }
    })
}

pub(crate) async fn answer(client: &EndpointClient) -> String {
    let message = client.call("x").await.unwrap().message().await.unwrap();
    String::from_utf8(message.to_vec()).unwrap()
}

pub(crate) fn soon() -> std::time::Instant {
    (Instant::now() + Duration::from_secs(5)).into_std()
}
