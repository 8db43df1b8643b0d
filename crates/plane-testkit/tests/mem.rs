//! The conformance suite on the in-process transport.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use plane_core::mem::{MemClient, MemConfig, MemNetwork, MemServer};
use plane_core::{Address, RequestPlaneClient, RequestPlaneServer};
use plane_testkit::conformance::{Limits, Plane};

struct MemPlane {
    network: MemNetwork,
    servers: AtomicU64,
}

fn config(limits: Limits) -> MemConfig {
    MemConfig {
        max_message: limits.max_message,
        headers: limits.headers,
        admission: limits.admission,
        request_timeout: limits.request_timeout,
        authorizer: None,
    }
}

impl MemPlane {
    fn bind(&self, name: &str, limits: Limits) -> Arc<dyn RequestPlaneServer> {
        Arc::new(MemServer::bind(&self.network, name, config(limits)).expect("the name is free"))
    }
}

impl Plane for MemPlane {
    fn new() -> Self {
        Self { network: MemNetwork::new(), servers: AtomicU64::new(0) }
    }

    async fn serve(&self, limits: Limits) -> Arc<dyn RequestPlaneServer> {
        self.bind(&format!("server-{}", self.servers.fetch_add(1, Ordering::Relaxed)), limits)
    }

    async fn serve_again(&self, address: &Address, limits: Limits) -> Arc<dyn RequestPlaneServer> {
        let Address::Mem(name) = address else { panic!("not an in-process address: {address}") };
        self.bind(name, limits)
    }

    fn client(&self, limits: Limits) -> Arc<dyn RequestPlaneClient> {
        Arc::new(MemClient::new(&self.network, config(limits)))
    }

    fn nowhere(&self) -> Address {
        Address::mem("nowhere")
    }
}

plane_testkit::conformance!(mem, MemPlane);
