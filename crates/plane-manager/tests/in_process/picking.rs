//! Which instance a call goes to.

use std::collections::BTreeMap;
use std::time::Duration;

use plane_core::{Delivery, ErrorKind, Request};
use plane_manager::Random;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::place::{Place, answer, endpoint, named};

#[tokio::test]
async fn calls_take_turns() {
    let place = Place::default();
    let manager = place.manager();
    let _a = manager.serve(endpoint(), named("a")).await.unwrap();
    let _b = manager.serve(endpoint(), named("b")).await.unwrap();
    let client = manager.client(endpoint());
    let mut answers = Vec::new();
    for _ in 0..6 {
        answers.push(answer(&client).await);
    }
    assert_eq!(answers.iter().filter(|name| *name == "a").count(), 3);
    assert!(answers.windows(2).all(|pair| pair[0] != pair[1]), "{answers:?}");
}

/// Case C9: callers that come at once are spread evenly.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_callers_at_once_are_spread_evenly() {
    const CALLERS: usize = 1_000;
    let place = Place::default();
    let manager = place.manager();
    let mut services = Vec::new();
    for name in ["a", "b", "c", "d"] {
        services.push(manager.serve(endpoint(), named(name)).await.unwrap());
    }
    let client = manager.client(endpoint());
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        let client = client.clone();
        callers.spawn(async move { answer(&client).await });
    }
    let mut answered = BTreeMap::<String, usize>::new();
    for name in callers.join_all().await {
        *answered.entry(name).or_default() += 1;
    }
    let (most, least) = (answered.values().max().unwrap(), answered.values().min().unwrap());
    assert_eq!((answered.len(), answered.values().sum::<usize>()), (4, CALLERS));
    assert!(most * 5 <= least * 6, "{answered:?}");
}

#[tokio::test]
async fn a_removed_instance_is_never_picked_again() {
    let place = Place::default();
    let manager = place.manager();
    let random = place.builder().picker(Random::default).build().unwrap();
    let a = manager.serve(endpoint(), named("a")).await.unwrap();
    let b = manager.serve(endpoint(), named("b")).await.unwrap();
    let (in_turn, at_random) = (manager.client(endpoint()), random.client(endpoint()));
    let gone = a.instance().id;
    drop(a);
    for client in [&in_turn, &at_random] {
        for _ in 0..50 {
            assert_eq!(answer(client).await, "b");
        }
        let error = client.direct(gone).call("x").await.unwrap_err();
        assert_eq!((error.kind(), error.delivery()), (ErrorKind::NotFound, Delivery::NotSent));
    }
    // Not one of the calls went to the wrong place first: nothing was refused, so nothing was retried.
    assert_eq!(manager.stats().server.unwrap().refused, 0);
    drop(b);
    let error = in_turn.call("x").await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Unavailable, Delivery::NotSent));
}

/// A client that tells the instances by their metadata, as a frontend tells the workers of a model.
#[tokio::test]
async fn only_what_is_wanted_is_called() {
    let manager = Place::default().manager();
    let serve = async |model: &str, name| {
        let metadata = BTreeMap::from([("model".to_owned(), model.to_owned())]);
        manager.serve_with_metadata(endpoint(), metadata, named(name)).await.unwrap()
    };
    let (a, b, other) = (serve("m", "a").await, serve("m", "b").await, serve("o", "o").await);
    let all = manager.client(endpoint());
    let only = all.only(|instance| instance.metadata["model"] == "m");
    assert_eq!((all.instances().len(), only.instances().len()), (3, 2));
    let mut last = answer(&only).await;
    for _ in 0..20 {
        // Calls to others take no turn away.
        answer(&all).await;
        let next = answer(&only).await;
        assert!(next != "o" && next != last, "{last} and then {next}");
        last = next;
    }
    let error = only.direct(other.instance().id).call("x").await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::NotFound, Delivery::NotSent));
    let none = only.only(|instance| instance.metadata["model"] == "o");
    assert_eq!(none.instances().len(), 0);
    drop((a, b));
    // There was one, so no other is waited for.
    let error = only.call("x").await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Unavailable, Delivery::NotSent));
    assert_eq!(answer(&all).await, "o");
}

#[tokio::test(start_paused = true)]
async fn the_first_wanted_instance_is_waited_for() {
    let manager = Place::default().manager();
    let _other = manager.serve(endpoint(), named("o")).await.unwrap();
    let only = manager.client(endpoint()).only(|instance| instance.metadata.contains_key("model"));
    assert_eq!(only.ready(Duration::from_secs(1)).await.unwrap_err().kind(), ErrorKind::Unavailable);
    let waiting = tokio::spawn(async move { answer(&only).await });
    tokio::task::yield_now().await;
    let metadata = BTreeMap::from([("model".to_owned(), "m".to_owned())]);
    let _service = manager.serve_with_metadata(endpoint(), metadata, named("a")).await.unwrap();
    assert_eq!(waiting.await.unwrap(), "a");
}

#[tokio::test(start_paused = true)]
async fn the_first_instance_is_waited_for_and_a_lost_one_is_not() {
    let place = Place::default();
    let manager = place.manager();
    let client = manager.client(endpoint());
    let begin = Instant::now();
    let error = client.call("x").await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Unavailable, Delivery::NotSent));
    assert_eq!(begin.elapsed().as_secs(), 10);
    for named in ["test.backend.generate", "mem"] {
        assert!(error.message().contains(named), "{error}");
    }
    let waiting = tokio::spawn({
        let client = client.clone();
        async move { answer(&client).await }
    });
    tokio::task::yield_now().await;
    let service = manager.serve(endpoint(), named("a")).await.unwrap();
    assert_eq!(waiting.await.unwrap(), "a");
    drop(service);
    let begin = Instant::now();
    assert_eq!(client.call("x").await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert!(begin.elapsed().is_zero());
}

#[tokio::test(start_paused = true)]
async fn a_deadline_ends_the_wait_for_an_instance() {
    let client = Place::default().manager().client(endpoint());
    let begin = Instant::now();
    let mut request = Request::new(endpoint(), "x");
    request.deadline = Some((begin + Duration::from_secs(2)).into_std());
    let error = client.call(request).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::DeadlineExceeded, Delivery::NotSent));
    assert_eq!(begin.elapsed().as_secs(), 2);
}

#[tokio::test(start_paused = true)]
async fn ready_waits_for_an_instance() {
    let place = Place::default();
    let manager = place.manager();
    let client = manager.client(endpoint());
    let error = client.ready(Duration::from_secs(1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let (ready, service) = tokio::join!(client.ready(Duration::from_secs(1)), manager.serve(endpoint(), named("a")));
    assert!(ready.is_ok() && service.is_ok());
}
