//! Threats E1 and E27: instances that are found and are not there.

use std::time::{Duration, Instant};

use plane_core::{Delivery, ErrorKind, Instance, InstanceId};
use plane_manager::{Config, Discovery, MemDiscovery, NetworkManager, Strictness};

use crate::place::{Place, answer, endpoint, named};

/// An instance whose server is gone.
fn gone() -> Instance {
    Instance {
        endpoint: endpoint(),
        id: InstanceId::new(0xdead).unwrap(),
        address: "nats://plane.@000000000000dead".parse().unwrap(),
        metadata: [].into(),
    }
}

fn manager(place: &Place, discovery: &MemDiscovery) -> NetworkManager {
    let vars = [("DYN_REQUEST_PLANE", "nats".to_owned()), ("NATS_SERVER", place.nats.url())];
    let vars = vars.map(|(name, value)| (name.to_owned(), value));
    let config = Config::from_vars(vars, Strictness::Strict).unwrap();
    NetworkManager::builder().config(config).discovery(discovery.clone()).build().unwrap()
}

#[tokio::test]
async fn a_stale_instance_costs_no_call() {
    /// Nobody waits for a time limit; what a busy machine takes for a round trip is below it.
    const AT_ONCE: Duration = Duration::from_secs(2);
    let (place, discovery) = (Place::new(), MemDiscovery::new());
    let _stale = discovery.publish(gone()).await.unwrap();
    let manager = manager(&place, &discovery);
    let client = manager.client(endpoint());
    // The first call connects.
    client.call("x").await.unwrap_err();
    let began = Instant::now();
    let error = client.call("x").await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Unavailable, Delivery::NotSent));
    assert!(began.elapsed() < AT_ONCE, "{:?}", began.elapsed());
    let _living = manager.serve(endpoint(), named("a")).await.unwrap();
    for _ in 0..50 {
        assert_eq!(answer(&client).await, "a");
    }
}
