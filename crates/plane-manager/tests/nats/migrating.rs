//! A deployment that moves to the other request plane while it is called (docs/migration.md).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use plane_core::Transport;
use plane_manager::{EndpointClient, NetworkManager, Service};

use crate::place::{Place, answer, endpoint, named, soon};

struct Worker {
    manager: NetworkManager,
    service: Service,
}

impl Worker {
    async fn start(place: &Place, mode: &'static str) -> Self {
        let manager = place.manager(mode);
        let service = manager.serve(endpoint(), named(mode)).await.unwrap();
        Self { manager, service }
    }

    /// As a process does on SIGTERM.
    async fn stop(self) {
        let Self { manager, service } = self;
        manager.drain(soon()).await;
        drop(service);
    }
}

/// Calls until it is told to stop; every call must succeed.
async fn keep_calling(client: EndpointClient, stop: Arc<AtomicBool>, answered: Arc<AtomicU64>) {
    while !stop.load(Ordering::Relaxed) {
        let name = answer(&client).await;
        assert!(["tcp", "nats"].contains(&&*name));
        answered.fetch_add(1, Ordering::Relaxed);
    }
}

/// One worker at a time, to NATS and back to TCP. No caller notices.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn live_one_worker_at_a_time() {
    let place = Place::new();
    let mut workers = vec![Worker::start(&place, "tcp").await, Worker::start(&place, "tcp").await];
    let frontend = place.manager("tcp");
    let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let client = frontend.client(endpoint());
    let calling: Vec<_> =
        (0..8).map(|_| tokio::spawn(keep_calling(client.clone(), stop.clone(), answered.clone()))).collect();
    for (mode, transport) in [("nats", Transport::Nats), ("tcp", Transport::Tcp)] {
        for _ in 0..workers.len() {
            let new = Worker::start(&place, mode).await;
            let id = new.service.instance().id;
            frontend.discovery().watch(&endpoint()).wait_for(|all| all.iter().any(|it| it.id == id)).await.unwrap();
            workers.push(new);
            workers.remove(0).stop().await;
        }
        let all_moved = |all: &plane_manager::InstanceSet| all.iter().all(|it| it.address.transport() == transport);
        frontend.discovery().watch(&endpoint()).wait_for(all_moved).await.unwrap();
        let before = answered.load(Ordering::Relaxed);
        while answered.load(Ordering::Relaxed) < before + 100 {
            tokio::task::yield_now().await;
        }
    }
    stop.store(true, Ordering::Relaxed);
    for calls in calling {
        calls.await.unwrap();
    }
}
