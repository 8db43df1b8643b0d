//! Callers and servers of different modes.

use plane_core::{Delivery, ErrorKind};

use crate::place::{Place, answer, endpoint, named};

/// A caller on TCP that was not told of a NATS server, and a worker on NATS: known from the worker's record, before
/// anything is dialled.
#[tokio::test]
async fn a_wrong_pairing_is_said_by_name() {
    let place = Place::new();
    let _service = place.manager("nats").serve(endpoint(), named("a")).await.unwrap();
    let frontend = place.with("tcp", &[]);
    let error = frontend.client(endpoint()).call("x").await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::FailedPrecondition, Delivery::NotSent));
    let said = error.message();
    assert!(["on nats", "on tcp", "DYN_REQUEST_PLANE", "NATS_SERVER"].iter().all(|part| said.contains(part)), "{said}");
    assert!(frontend.stats().clients.is_empty());
}

/// Those that can be called are, and those that cannot are not tried.
#[tokio::test]
async fn an_instance_out_of_reach_is_passed_over() {
    let place = Place::new();
    let _nats = place.manager("nats").serve(endpoint(), named("nats")).await.unwrap();
    let _tcp = place.with("tcp", &[]).serve(endpoint(), named("tcp")).await.unwrap();
    let frontend = place.with("tcp", &[]);
    frontend.discovery().watch(&endpoint()).wait_for(|instances| instances.len() == 2).await.unwrap();
    let client = frontend.client(endpoint());
    for _ in 0..10 {
        assert_eq!(answer(&client).await, "tcp");
    }
}

#[tokio::test]
async fn a_caller_that_knows_both_calls_both() {
    let place = Place::new();
    let _nats = place.manager("nats").serve(endpoint(), named("nats")).await.unwrap();
    let _tcp = place.manager("tcp").serve(endpoint(), named("tcp")).await.unwrap();
    for mode in ["tcp", "nats"] {
        let frontend = place.manager(mode);
        frontend.discovery().watch(&endpoint()).wait_for(|instances| instances.len() == 2).await.unwrap();
        let client = frontend.client(endpoint());
        let mut answers = [answer(&client).await, answer(&client).await];
        answers.sort();
        assert_eq!(answers, ["nats", "tcp"]);
    }
}

/// Stored requests need NATS; over TCP that is refused at start.
#[test]
fn stored_requests_over_tcp_are_refused_at_start() {
    let vars = [("DYN_NATS_DELIVERY".to_owned(), "jetstream".to_owned())];
    let config = plane_manager::Config::from_vars(vars, plane_manager::Strictness::Strict).unwrap();
    let error = plane_manager::NetworkManager::builder().config(config).build().unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::InvalidArgument, Delivery::NotSent));
    assert!(error.message().contains("DYN_NATS_DELIVERY") && error.message().contains("DYN_REQUEST_PLANE"), "{error}");
}
