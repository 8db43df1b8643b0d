//! Which calls go to another instance.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use plane_core::{Address, Body, Code, Delivery, ErrorKind, Request, Status, handler_fn};
use plane_manager::{Config, Strictness};

use crate::place::{Place, answer, endpoint, named};

#[tokio::test]
async fn a_call_that_did_not_run_goes_to_another_instance() {
    let place = Place::default();
    let manager = place.manager();
    let service = manager.serve(endpoint(), named("a")).await.unwrap();
    // One is not there at all (NotSent), one is not known to its server (NotExecuted).
    let _absent = place.pretend(1, Address::mem("nowhere")).await;
    let _unknown = place.pretend(2, service.instance().address.clone()).await;
    let client = manager.client(endpoint());
    for _ in 0..9 {
        assert_eq!(answer(&client).await, "a");
    }
    assert!(manager.stats().server.unwrap().refused > 0);
}

#[tokio::test]
async fn retries_end() {
    let place = Place::default();
    let manager = place.manager();
    let mut absent = Vec::new();
    for id in 1..=8 {
        absent.push(place.pretend(id, Address::mem("nowhere")).await);
    }
    let error = manager.client(endpoint()).call("x").await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Unavailable, Delivery::NotSent));
    assert_eq!(manager.stats().clients[0].1.started, 3);
}

/// However many selections a client is split into, they share its budget.
#[tokio::test]
async fn the_budget_covers_every_selection() {
    let place = Place::default();
    let manager = place.manager();
    let _absent = (place.pretend(1, Address::mem("nowhere")).await, place.pretend(2, Address::mem("nowhere")).await);
    let client = manager.client(endpoint());
    let tries = || manager.stats().clients[0].1.started;
    assert!(client.call("x").await.is_err());
    assert_eq!(tries(), 2);
    for _ in 0..2_000 {
        assert!(client.only(|_| true).call("x").await.is_err());
    }
    let spent = tries();
    assert!(client.only(|_| true).call("x").await.is_err() && client.call("x").await.is_err());
    assert!(tries() - spent <= 3, "{} tries of 2 calls", tries() - spent);
}

/// Threat C18: servers that refuse everything are asked hardly more often than their callers call.
#[tokio::test]
async fn a_storm_of_refusals_is_not_made_worse() {
    const CALLS: u64 = 20_000;
    /// What is saved at the start, for an instance that goes with many calls in flight.
    const SAVED: u64 = 1_000;
    let place = Place::default();
    let manager = place.manager();
    let elsewhere = manager.serve("test.backend.other".parse().unwrap(), named("a")).await.unwrap();
    let address = &elsewhere.instance().address;
    let _refusing = (place.pretend(1, address.clone()).await, place.pretend(2, address.clone()).await);
    let client = manager.client(endpoint());
    for _ in 0..CALLS {
        let error = client.call("x").await.unwrap_err();
        assert_eq!(error.delivery(), Delivery::NotExecuted);
    }
    let asked = manager.stats().server.unwrap().refused;
    assert!((CALLS..=CALLS + CALLS / 10 + SAVED).contains(&asked), "{asked} tries of {CALLS} calls");
}

#[tokio::test]
async fn a_stream_and_a_chosen_instance_are_sent_once() {
    let place = Place::default();
    let manager = place.manager();
    let _service = manager.serve(endpoint(), named("a")).await.unwrap();
    let absent = place.pretend(1, Address::mem("nowhere")).await;
    let client = manager.client(endpoint());
    let id = absent.instance().id;
    let mut chosen = Request::new(endpoint(), "x");
    chosen.instance = Some(id);
    assert_eq!(client.call(chosen).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(client.direct(id).call("x").await.unwrap_err().kind(), ErrorKind::Unavailable);
    let mut failed = 0;
    for _ in 0..2 {
        let (sender, body) = Body::channel(1);
        sender.finish().await.unwrap();
        failed += usize::from(client.call(body).await.is_err());
    }
    assert_eq!(failed, 1);
}

#[tokio::test]
async fn a_call_that_ran_is_never_sent_again() {
    let place = Place::default();
    let manager = place.manager();
    let runs = Arc::new(AtomicUsize::new(0));
    let failing = |code: Code| {
        let runs = runs.clone();
        handler_fn(move |_, _| {
            runs.fetch_add(1, Ordering::Relaxed);
            async move { Err(Status::new(code, "no")) }
        })
    };
    let _a = manager.serve(endpoint(), failing(Code::UNAVAILABLE)).await.unwrap();
    let _b = manager.serve(endpoint(), failing(Code::NOT_FOUND)).await.unwrap();
    let client = manager.client(endpoint());
    for expected in 1..=4 {
        assert_eq!(client.call("x").await.unwrap_err().delivery(), Delivery::Executed);
        assert_eq!(runs.load(Ordering::Relaxed), expected);
    }
}

#[tokio::test]
async fn a_request_that_is_wrong_everywhere_is_sent_once() {
    let place = Place::default();
    let config =
        Config::from_vars([("DYN_TCP_MAX_MESSAGE_SIZE".to_owned(), "4".to_owned())], Strictness::Strict).unwrap();
    let manager = place.builder().config(config).build().unwrap();
    let _a = manager.serve(endpoint(), named("a")).await.unwrap();
    let _b = manager.serve(endpoint(), named("b")).await.unwrap();
    let client = manager.client(endpoint());
    assert_eq!(client.call("12345").await.unwrap_err().kind(), ErrorKind::MessageTooLarge);
    assert_eq!(manager.stats().clients[0].1.started, 1);
    let elsewhere = Request::new("test.backend.other".parse().unwrap(), "x");
    assert_eq!(client.call(elsewhere).await.unwrap_err().kind(), ErrorKind::InvalidArgument);
}
