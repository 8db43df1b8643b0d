//! How services and managers end.

use std::sync::Arc;

use plane_core::{Delivery, ErrorKind, Health, Status, handler_fn};
use plane_manager::Discovery;
use tokio::sync::Notify;

use crate::place::{Place, answer, endpoint, gated, named, soon};

#[tokio::test]
async fn shutdown_withdraws_and_waits_for_calls_in_flight() {
    let manager = Place::default().manager();
    let (begun, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let service = manager.serve(endpoint(), gated(begun.clone(), go.clone())).await.unwrap();
    let client = manager.client(endpoint());
    let call = tokio::spawn({
        let client = client.clone();
        async move { answer(&client).await }
    });
    begun.notified().await;
    let ending = tokio::spawn(service.shutdown(soon()));
    let mut watch = manager.discovery().watch(&endpoint());
    watch.wait_for(|instances| instances.is_empty()).await.unwrap();
    assert_eq!(client.call("x").await.unwrap_err().kind(), ErrorKind::Unavailable);
    go.notify_one();
    assert_eq!((call.await.unwrap(), ending.await.unwrap().finished), ("done".to_owned(), 1));
}

#[tokio::test]
async fn drain_ends_everything() {
    let place = Place::default();
    let manager = place.manager();
    let (begun, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let _service = manager.serve(endpoint(), gated(begun.clone(), go.clone())).await.unwrap();
    let caller = place.manager();
    let call = tokio::spawn(async move { answer(&caller.client(endpoint())).await });
    begun.notified().await;
    let draining = tokio::spawn({
        let manager = manager.clone();
        async move { manager.drain(soon()).await }
    });
    place.discovery.watch_all().wait_for(|instances| instances.is_empty()).await.unwrap();
    let error = manager.serve(endpoint(), named("late")).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Cancelled, Delivery::NotSent));
    go.notify_one();
    assert_eq!((call.await.unwrap(), draining.await.unwrap().finished), ("done".to_owned(), 1));
    assert_eq!(manager.client(endpoint()).instances().len(), 0);
    assert!(matches!(manager.health(), Health::Unavailable(_)));
}

/// A router that drains still makes the calls that its own callers wait for.
#[tokio::test]
async fn a_handler_in_flight_may_call_while_its_manager_drains() {
    let place = Place::default();
    let (worker, router) = (place.manager(), place.manager());
    let _worker = worker.serve("test.worker.generate".parse().unwrap(), named("w")).await.unwrap();
    let (begun, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let next_hop = router.client("test.worker.generate".parse().unwrap());
    let passing_on = handler_fn({
        let (begun, go) = (begun.clone(), go.clone());
        move |_, _| {
            let (begun, go, next_hop) = (begun.clone(), go.clone(), next_hop.clone());
            async move {
                begun.notify_one();
                go.notified().await;
                next_hop.call("x").await.map_err(Status::from)
            }
        }
    });
    let _router = router.serve(endpoint(), passing_on).await.unwrap();
    let caller = worker.client(endpoint());
    let call = tokio::spawn(async move { answer(&caller).await });
    begun.notified().await;
    let draining = tokio::spawn(async move { router.drain(soon()).await });
    place.discovery.watch(&endpoint()).wait_for(|instances| instances.is_empty()).await.unwrap();
    go.notify_one();
    assert_eq!(call.await.unwrap(), "w");
    draining.await.unwrap();
}
