//! Requests that are stored until they were answered, by one more variable.

use std::time::Duration;

use plane_core::{Context, Delivery, ErrorKind, InstanceId, Request, Response, Status, handler_fn};
use plane_manager::{NetworkManager, ReplayFrom};
use tokio::sync::mpsc;

use crate::place::{Place, answer, endpoint, named, soon};

fn stored(place: &Place) -> NetworkManager {
    let vars = [("DYN_NATS_DELIVERY", "jetstream"), ("DYN_NATS_MAX_ATTEMPTS", "2"), ("DYN_NATS_RETRY_DELAY", "10ms")];
    place.with("nats", &[&[("NATS_SERVER", &*place.nats.url())][..], &vars].concat())
}

/// A request waits for a worker that is started later, and is answered.
#[tokio::test]
async fn a_request_waits_for_its_worker() {
    let place = Place::new();
    let caller = stored(&place).client(endpoint());
    let calling = tokio::spawn(async move { answer(&caller).await });
    let operator = stored(&place).request_store().await.unwrap();
    while operator.stats().await.unwrap().stored == 0 {
        tokio::task::yield_now().await;
    }
    let worker = stored(&place);
    let _service = worker.serve(endpoint(), named("late")).await.unwrap();
    assert_eq!(calling.await.unwrap(), "late");
    // Those who do not store their requests are answered by the same worker.
    assert_eq!(answer(&place.manager("nats").client(endpoint())).await, "late");
    worker.drain(soon()).await;
}

#[tokio::test]
async fn a_stored_request_cannot_name_an_instance() {
    let place = Place::new();
    let client = stored(&place).client(endpoint());
    let one = client.direct(InstanceId::new(1).unwrap());
    for narrow in [one, client.only(|_| true)] {
        let error = narrow.call("x").await.unwrap_err();
        assert_eq!((error.kind(), error.delivery()), (ErrorKind::InvalidArgument, Delivery::NotSent));
        assert!(error.message().contains("DYN_NATS_DELIVERY"), "{error}");
    }
}

/// What an operator sees and does, through the manager.
#[tokio::test]
async fn dead_letters_are_listed_and_requeued() {
    let place = Place::new();
    let (tell, mut told) = mpsc::channel(16);
    let fails = handler_fn(move |_: Request, _: Context| {
        let tell = tell.clone();
        async move {
            let _ = tell.send(()).await;
            Err::<Response, _>(Status::unavailable("not today"))
        }
    });
    let worker = stored(&place);
    let _service = worker.serve(endpoint(), fails).await.unwrap();
    let manager = stored(&place);
    let error = manager.client(endpoint()).call("x").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let store = manager.request_store().await.unwrap();
    let letters = store.dead_letters(Some(&endpoint()), 0, 10).await.unwrap();
    assert_eq!((letters.len(), letters[0].attempts, letters[0].reason.message()), (1, 2, "not today"));
    assert_eq!(store.requeue_all(None).await.unwrap(), 1);
    let replayed = store.replay(&endpoint(), ReplayFrom::Sequence(1), |_| {}).await.unwrap();
    assert_eq!(replayed.requests, 2);
    // Two tries of each of the three.
    for _ in 0..6 {
        tokio::time::timeout(Duration::from_secs(30), told.recv()).await.unwrap().unwrap();
    }
    worker.drain(soon()).await;
}
