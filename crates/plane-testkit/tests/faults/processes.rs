//! Servers that are processes, and are killed, frozen and started again.

use std::time::{Duration, Instant};

use plane_core::{Address, Delivery, ErrorKind, Request};
use plane_testkit::conformance::Nonce;
use plane_testkit::fault::{Scene, Transport};

use crate::handlers::{endpoint, ticks};
use crate::peers::AWAY;
use crate::worker::Worker;
use crate::world::{FOUND, Route, Setup};

/// Two workers and one client for both.
struct Pair {
    nats: Option<String>,
    setup: Setup,
    route: Route,
    other: Route,
    worker: Worker,
    _other: Worker,
}

impl Pair {
    fn start(scene: &Scene, setup: Setup) -> Self {
        let nats = scene.nats_url();
        let worker = Worker::start(setup, nats.as_deref(), 0);
        let other = Worker::start(setup, nats.as_deref(), 0);
        let client = setup.client(nats.as_deref());
        scene.watch_client(&client);
        let route = Route { client: client.clone(), address: worker.address.clone() };
        let other_route = Route { client, address: other.address.clone() };
        Self { nats, setup, route, other: other_route, worker, _other: other }
    }

    fn start_again(&self) -> Worker {
        let port = match &self.route.address {
            Address::Tcp { port, .. } => *port,
            _ => 0,
        };
        Worker::start(self.setup, self.nats.as_deref(), port)
    }
}

/// How soon callers learn that a server was killed: over NATS they ask for it.
fn promised(scene: &Scene) -> Duration {
    match scene.transport() {
        Transport::Tcp => Duration::from_millis(200),
        Transport::Nats => Duration::from_secs(1),
    }
}

pub(crate) async fn a_killed_server_ends_its_calls(scene: Scene) {
    let pair = Pair::start(&scene, Setup::patient());
    let Route { client, address } = &pair.route;
    let neighbour = scene.neighbour(client, &pair.other.address, &endpoint("echo")).await;
    let mut unary = Vec::new();
    let mut streams = Vec::new();
    for _ in 0..32 {
        unary.push(scene.start(client, address, Request::new(endpoint("hang"), "go")));
        let drip = Request::new(endpoint("drip"), "go");
        streams.push(scene.read(scene.open(&**client, address, drip).await.unwrap()));
    }
    let busy = scene.open(&**client, address, ticks(500)).await.unwrap();
    let busy = scene.read(busy);
    let killed = Instant::now();
    let worker = pair.worker;
    worker.kill();
    for call in unary {
        let ended = call.ended().await;
        ended.assert_failed(ErrorKind::Disconnected, Delivery::Unknown);
        scene.assert_within(ended.at - killed, promised(&scene), "a unary call ended");
    }
    for stream in streams.into_iter().chain([busy]) {
        let ended = stream.ended().await;
        ended.assert_failed(ErrorKind::Disconnected, Delivery::Executed);
        scene.assert_within(ended.at - killed, promised(&scene), "a stream ended");
    }
    // Nobody listens any more, so nothing is sent.
    let after = pair.route.echo(&scene).await;
    after.assert_failed(ErrorKind::Unavailable, Delivery::NotSent);
    scene.assert_unhurt(neighbour).await;
}

pub(crate) async fn a_frozen_server_is_found_and_comes_back(scene: Scene) {
    let pair = Pair::start(&scene, Setup::default());
    let Route { client, address } = &pair.route;
    let neighbour = scene.neighbour(client, &pair.other.address, &endpoint("echo")).await;
    for _ in 0..scene.size(2, 20) {
        let mut streams = Vec::new();
        for _ in 0..8 {
            let drip = Request::new(endpoint("drip"), "go");
            streams.push(scene.read(scene.open(&**client, address, drip).await.unwrap()));
        }
        let busy = scene.read(scene.open(&**client, address, ticks(500)).await.unwrap());
        let frozen = Instant::now();
        pair.worker.freeze();
        let late = Nonce::fresh().message(0, 100);
        let unary = scene.start(client, address, Request::new(endpoint("echo"), late));
        for stream in streams.into_iter().chain([busy]) {
            let ended = stream.ended().await;
            ended.assert_failed(ErrorKind::Disconnected, Delivery::Executed);
            scene.assert_within(ended.at - frozen, FOUND, "a stream ended");
        }
        let ended = unary.ended().await;
        let expected = [ErrorKind::Disconnected, ErrorKind::DeadlineExceeded];
        assert!(expected.contains(&ended.verdict().expect("nobody answers").0), "{ended:?}");
        assert_eq!(ended.verdict().map(|(_, delivery)| delivery), Some(Delivery::Unknown));
        scene.assert_within(ended.at - frozen, FOUND, "a call ended");
        pair.worker.thaw();
        // It answers what it was asked while it was frozen; nobody takes that for the answer to something else.
        pair.route.until_served(&scene, &AWAY).await;
        for _ in 0..50 {
            let ended = pair.route.echo(&scene).await;
            assert!(ended.is_complete() || AWAY.contains(&ended.verdict().unwrap().0), "{ended:?}");
        }
    }
    scene.assert_unhurt(neighbour).await;
}

pub(crate) async fn a_restart_at_the_same_address_is_found(scene: Scene) {
    const CALLS: usize = 200;
    let mut pair = Pair::start(&scene, Setup::default());
    for _ in 0..scene.size(2, 20) {
        assert!(pair.route.echo(&scene).await.is_complete());
        let worker = std::mem::replace(&mut pair.worker, Worker::start(pair.setup, None, 0));
        worker.kill();
        // Some who call meanwhile are told at once.
        for _ in 0..3 {
            let ended = pair.route.echo(&scene).await;
            assert!(AWAY.contains(&ended.verdict().expect("nobody is there").0));
        }
        pair.worker = pair.start_again();
        pair.route.address = pair.worker.address.clone();
        let back = Instant::now();
        let mut served = 0;
        for _ in 0..CALLS {
            served += usize::from(pair.route.echo(&scene).await.is_complete());
            if back.elapsed() < Duration::from_secs(2) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
        println!("{served} of {CALLS} calls in the {:?} after a restart", back.elapsed());
        assert!(served * 100 >= CALLS * 95, "{served} of {CALLS} calls were answered after a restart");
    }
}
