//! Serving and calling through the manager, over the in-process transport and real discovery.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use plane_core::mem::MemNetwork;
use plane_core::{
    Address, Body, Code, Context, Delivery, EndpointId, ErrorKind, Handler, Health, Instance, InstanceId, Request,
    Response, Status, Transport, handler_fn,
};
use plane_manager::{Config, Discovery, MemDiscovery, NetworkManager, Random, Strictness};
use tokio::sync::Notify;
use tokio::time::Instant;

fn endpoint() -> EndpointId {
    "test.backend.generate".parse().unwrap()
}

/// A place where managers find each other.
#[derive(Clone, Default)]
struct Place {
    network: MemNetwork,
    discovery: MemDiscovery,
}

impl Place {
    fn manager(&self) -> NetworkManager {
        let builder = NetworkManager::builder().mem_network(self.network.clone());
        builder.discovery(self.discovery.clone()).build().unwrap()
    }

    /// Lists an instance that nobody serves.
    async fn pretend(&self, id: u64, address: Address) -> plane_manager::Published {
        let id = InstanceId::new(id).unwrap();
        let instance = Instance { endpoint: endpoint(), id, address, metadata: BTreeMap::new() };
        self.discovery.publish(instance).await.unwrap()
    }
}

/// Answers with its name.
fn named(name: &'static str) -> impl Handler {
    handler_fn(move |_: Request, _: Context| async move { Ok(Response::new(name)) })
}

/// Answers after it was let go; tells when it has begun.
fn gated(begun: Arc<Notify>, go: Arc<Notify>) -> impl Handler {
    handler_fn(move |_: Request, _: Context| {
        let (begun, go) = (begun.clone(), go.clone());
        async move {
            begun.notify_one();
            go.notified().await;
            Ok(Response::new("done"))
        }
    })
}

async fn answer(client: &plane_manager::EndpointClient) -> String {
    let message = client.call("x").await.unwrap().message().await.unwrap();
    String::from_utf8(message.to_vec()).unwrap()
}

fn soon() -> std::time::Instant {
    (Instant::now() + Duration::from_secs(5)).into_std()
}

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
    let builder = || NetworkManager::builder().mem_network(place.network.clone()).discovery(place.discovery.clone());
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

#[tokio::test]
async fn a_removed_instance_is_never_picked_again() {
    let place = Place::default();
    let manager = place.manager();
    let builder = NetworkManager::builder().mem_network(place.network.clone()).discovery(place.discovery.clone());
    let random = builder.picker(Random::default).build().unwrap();
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
    let builder = NetworkManager::builder().mem_network(place.network.clone()).discovery(place.discovery.clone());
    let manager = builder.config(config).build().unwrap();
    let _a = manager.serve(endpoint(), named("a")).await.unwrap();
    let _b = manager.serve(endpoint(), named("b")).await.unwrap();
    let client = manager.client(endpoint());
    assert_eq!(client.call("12345").await.unwrap_err().kind(), ErrorKind::MessageTooLarge);
    assert_eq!(manager.stats().clients[0].1.started, 1);
    let elsewhere = Request::new("test.backend.other".parse().unwrap(), "x");
    assert_eq!(client.call(elsewhere).await.unwrap_err().kind(), ErrorKind::InvalidArgument);
}

/// Case C25 of the threats: a mode mismatch is seen in the instance, before any dial.
#[tokio::test]
async fn an_instance_on_a_transport_that_is_not_here() {
    let place = Place::default();
    let manager = place.manager();
    let _nats = place.pretend(1, "nats://subject".parse().unwrap()).await;
    let error = manager.client(endpoint()).call("x").await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::FailedPrecondition, Delivery::NotSent));
    assert!(error.message().contains("DYN_REQUEST_PLANE"), "{error}");
}

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

#[tokio::test]
async fn nats_is_a_mode_that_this_build_lacks() {
    let vars = [("DYN_REQUEST_PLANE".to_owned(), "nats".to_owned())];
    let config = Config::from_vars(vars, Strictness::Strict).unwrap();
    let error = NetworkManager::builder().config(config).build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::FailedPrecondition);
    assert!(error.message().contains("DYN_REQUEST_PLANE=tcp"), "{error}");
}
