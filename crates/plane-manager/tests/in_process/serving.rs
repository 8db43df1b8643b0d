//! What is served, and by which server.

use std::collections::BTreeMap;
use std::time::Duration;

use plane_core::{
    Address, Body, BoxFuture, Context, Delivery, EndpointId, Error, ErrorKind, Health, Instance, Request, Response,
    Transport, handler_fn,
};
use plane_manager::{Config, Discovery, InstanceWatch, MemDiscovery, Published, Strictness};

use crate::place::{Place, answer, endpoint, named, soon};

#[tokio::test]
async fn a_call_reaches_what_is_served_and_nothing_names_a_transport() {
    let manager = Place::default().manager();
    let service = manager.serve(endpoint(), named("a")).await.unwrap();
    let client = manager.client(endpoint());
    assert_eq!(client.instances().to_vec(), [service.instance().clone()]);
    assert_eq!(answer(&client).await, "a");
    let whole = Request::new(endpoint(), Body::from("x")).with_timeout(Duration::from_secs(5));
    assert_eq!(client.call(whole).await.unwrap().message().await.unwrap(), "a");
    assert_eq!((manager.mode(), manager.health()), (Transport::Mem, Health::Ready));
    let stats = manager.stats();
    assert_eq!((stats.server.unwrap().completed, stats.clients[0].1.completed), (2, 2));
}

#[tokio::test]
async fn a_handler_is_told_which_instance_was_called() {
    let manager = Place::default().manager();
    let who = handler_fn(|_, context: Context| async move { Ok(Response::new(context.instance().to_string())) });
    let service = manager.serve(endpoint(), who).await.unwrap();
    assert_eq!(answer(&manager.client(endpoint())).await, service.instance().id.to_string());
}

#[tokio::test]
async fn metadata_is_found_with_the_instance() {
    let manager = Place::default().manager();
    let metadata = BTreeMap::from([("model".to_owned(), "m".to_owned())]);
    let _service = manager.serve_with_metadata(endpoint(), metadata.clone(), named("a")).await.unwrap();
    assert_eq!(manager.discovery().list().await.unwrap()[0].metadata, metadata);
}

#[tokio::test]
async fn the_server_is_started_once_and_only_when_needed() {
    let place = Place::default();
    let manager = place.manager();
    assert!(manager.stats().server.is_none() && manager.stats().clients.is_empty());
    let serve = |n: usize| manager.serve(format!("test.backend.e{n}").parse().unwrap(), named("a"));
    let (a, b, c) = tokio::join!(serve(1), serve(2), serve(3));
    let addresses: Vec<Address> = [a, b, c].iter().map(|s| s.as_ref().unwrap().instance().address.clone()).collect();
    assert!(addresses.iter().all(|address| *address == addresses[0]), "{addresses:?}");
    assert!(manager.stats().server.is_some());
}

/// Case A13: two managers in one process, with settings of their own; the end of one leaves the other answering.
#[tokio::test]
async fn two_managers_share_nothing() {
    let place = Place::default();
    let small =
        Config::from_vars([("DYN_TCP_MAX_MESSAGE_SIZE".to_owned(), "4".to_owned())], Strictness::Strict).unwrap();
    let builder = || place.builder();
    let (one, two) = (builder().config(small).build().unwrap(), builder().build().unwrap());
    let first = one.serve(endpoint(), named("one")).await.unwrap();
    let second = two.serve(endpoint(), named("two")).await.unwrap();
    assert_ne!(first.instance().address, second.instance().address);
    let other = second.instance().id;
    let error = one.client(endpoint()).direct(other).call("12345").await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::MessageTooLarge, Delivery::NotSent));
    assert!(two.client(endpoint()).direct(other).call("12345").await.is_ok());
    one.drain(soon()).await;
    let client = two.client(endpoint());
    for _ in 0..4 {
        assert_eq!(answer(&client).await, "two");
    }
}

/// A mode mismatch is seen in the instance, before any dial.
#[tokio::test]
async fn an_instance_on_a_transport_that_is_not_here() {
    let place = Place::default();
    let manager = place.manager();
    let _nats = place.pretend(1, "nats://subject".parse().unwrap()).await;
    let error = manager.client(endpoint()).call("x").await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::FailedPrecondition, Delivery::NotSent));
    assert!(error.message().contains("DYN_REQUEST_PLANE"), "{error}");
}

#[cfg(not(feature = "nats"))]
#[tokio::test]
async fn nats_is_a_mode_that_this_build_lacks() {
    let vars = [("DYN_REQUEST_PLANE".to_owned(), "nats".to_owned())];
    let config = Config::from_vars(vars, Strictness::Strict).unwrap();
    let error = plane_manager::NetworkManager::builder().config(config).build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::FailedPrecondition);
    assert!(error.message().contains("DYN_REQUEST_PLANE=nats"), "{error}");
}

/// Knows what it was told, and has trouble.
#[derive(Debug)]
struct Troubled(MemDiscovery);

impl Discovery for Troubled {
    fn publish(&self, instance: Instance) -> BoxFuture<'_, Result<Published, Error>> {
        self.0.publish(instance)
    }

    fn watch(&self, endpoint: &EndpointId) -> InstanceWatch {
        self.0.watch(endpoint)
    }

    fn watch_all(&self) -> InstanceWatch {
        self.0.watch_all()
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<Instance>, Error>> {
        self.0.list()
    }

    fn describe(&self) -> String {
        self.0.describe()
    }

    fn health(&self) -> Health {
        Health::Degraded("the directory is gone".to_owned())
    }
}

#[tokio::test]
async fn trouble_of_discovery_is_told_unless_something_is_worse() {
    let place = Place::default();
    let manager = place.builder().discovery(Troubled(place.discovery.clone())).build().unwrap();
    let _service = manager.serve(endpoint(), named("a")).await.unwrap();
    assert_eq!(answer(&manager.client(endpoint())).await, "a");
    assert_eq!(manager.health(), Health::Degraded("the directory is gone".to_owned()));
    manager.drain(soon()).await;
    assert!(matches!(manager.health(), Health::Unavailable(_)));
}
