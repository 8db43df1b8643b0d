//! A network that is slow, partitioned, or comes back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use plane_core::{Delivery, ErrorKind, Request};
use plane_testkit::conformance::Nonce;
use plane_testkit::fault::{Scene, Transport};
use plane_testkit::{Direction, Ending, Faults};
use tokio::sync::watch;

use crate::handlers::{endpoint, ticks};
use crate::peers::AWAY;
use crate::world::{FOUND, Route, Setup, World};

pub(crate) async fn a_partition_is_found_and_heals(scene: Scene) {
    let world = World::start(&scene).await;
    let neighbour = world.neighbour().await;
    let partitions: [&[Direction]; 3] =
        [&[Direction::ToServer], &[Direction::ToClient], &[Direction::ToServer, Direction::ToClient]];
    for directions in partitions {
        world.behind.until_served(&scene, &AWAY).await;
        let request = match scene.transport() {
            Transport::Tcp => ticks(100),
            // As long as messages come, NATS is not dead to a caller, whatever becomes of what it sends.
            Transport::Nats => Request::new(endpoint("drip"), "go"),
        };
        let stream = scene.open(&*world.behind.client, &world.behind.address, request).await.unwrap();
        let stream = scene.read(stream);
        let cut = Instant::now();
        directions.iter().for_each(|direction| scene.proxy().set(*direction, Faults::black_hole()));
        let ended = stream.ended().await;
        ended.assert_failed(ErrorKind::Disconnected, Delivery::Executed);
        // What goes on in one direction keeps the other's silence hidden for one interval more.
        scene.assert_within(ended.at - cut, 2 * FOUND, "a stream ended");
        let lasts = scene.size(Duration::from_millis(1_500), Duration::from_secs(60));
        while cut.elapsed() < lasts {
            let ended = world.behind.echo(&scene).await;
            assert!(AWAY.contains(&ended.verdict().expect("nothing passes").0), "{ended:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        scene.proxy().set_both(Faults::none());
        let healed = Instant::now();
        world.behind.until_served(&scene, &AWAY).await;
        scene.assert_within(healed.elapsed(), Duration::from_secs(5), "calls were answered after it healed");
    }
    scene.assert_unhurt(neighbour).await;
}

/// The sum is longer than what sockets hold takes over a slow network: a ping waits behind it.
fn over_slow_network() -> Setup {
    Setup { keepalive: (Duration::from_secs(1), Duration::from_secs(3)), ..Setup::default() }
}

pub(crate) async fn latency_does_not_end_calls_or_line_them_up(scene: Scene) {
    const CALLS: usize = 100;
    let world = World::with(&scene, over_slow_network()).await;
    assert!(world.behind.echo(&scene).await.is_complete());
    for round in 0..scene.size(4, 60) {
        // 200 ms give or take 100, there and back.
        for direction in [Direction::ToServer, Direction::ToClient] {
            let delay = Duration::from_millis(if round == 0 { 300 } else { fastrand::u64(100..=300) });
            scene.proxy().set(direction, Faults::delayed(delay));
        }
        let began = Instant::now();
        let calls: Vec<_> = (0..CALLS)
            .map(|_| {
                let (route, scene) = (world.behind.clone(), scene.clone());
                tokio::spawn(async move { route.echo(&scene).await })
            })
            .collect();
        for call in calls {
            let ended = call.await.unwrap();
            assert!(ended.is_complete(), "{ended:?}");
        }
        // One after the other they would take 20 s or more.
        scene.assert_within(began.elapsed(), Duration::from_secs(3), "a hundred calls at once");
    }
    assert_eq!(scene.proxy().connections().len(), 1, "a keepalive failed");
}

pub(crate) async fn a_throttled_network_ends_no_call(scene: Scene) {
    let world = World::with(&scene, over_slow_network()).await;
    assert!(world.behind.echo(&scene).await.is_complete());
    // It takes 4.5 s, longer than the keepalive's interval and timeout, in each direction.
    let (bytes, rate) = (400_000, 88_000);
    for direction in [Direction::ToServer, Direction::ToClient] {
        scene.proxy().set(direction, Faults::throttled(rate));
        let message = Nonce::fresh().message(0, bytes);
        let request = Request::new(endpoint("echo"), message.clone());
        let ended = scene.call(&*world.behind.client, &world.behind.address, request).await;
        ended.assert_complete(&[message]);
        scene.proxy().set_both(Faults::none());
    }
    assert_eq!(scene.proxy().connections().len(), 1, "a keepalive failed");
}

pub(crate) async fn a_pool_of_dead_connections_is_left_together(scene: Scene) {
    const CALLS: usize = 32;
    let world = World::with(&scene, Setup { max_calls: 4, ..Setup::patient() }).await;
    let dials = || world.behind.client.stats().dials;
    for _ in 0..scene.size(3, 100) {
        let (client, address) = (&world.behind.client, &world.behind.address);
        let mut open = Vec::new();
        for _ in 0..CALLS {
            open.push(scene.open(&**client, address, ticks(10)).await.unwrap());
        }
        drop(open);
        world.until_quiet().await;
        assert!(client.stats().connections >= 4, "{:?}", client.stats());
        let before = dials();
        scene.proxy().end_all(Ending::Reset);
        while client.stats().connections > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let first = world.behind.echo(&scene).await;
        assert!(first.is_complete(), "{first:?}");
        scene.assert_within(first.took, Duration::from_millis(50), "the first call after it");
        assert_eq!(dials() - before, 1);
    }
}

pub(crate) async fn a_thousand_callers_come_back_spread_out(scene: Scene) {
    let callers = scene.size(200, 1_000);
    // Pauses grow up to 5 s, and so does what they spread over.
    let away = Duration::from_secs(5);
    let world = World::with(&scene, Setup::patient()).await;
    let (served, mut count) = watch::channel(Vec::new());
    let served = Arc::new(served);
    let routes: Vec<Route> = (0..callers)
        .map(|_| match scene.transport() {
            Transport::Tcp => Route { client: world.setup.tcp_client(), address: world.behind.address.clone() },
            Transport::Nats => {
                let url = format!("nats://{}", scene.proxy().address());
                Route { client: world.setup.nats_client(&url), address: world.behind.address.clone() }
            }
        })
        .collect();
    for route in &routes {
        scene.watch_client(&route.client);
        assert!(route.echo(&scene).await.is_complete());
    }
    // Everything is reset and nothing accepted: connections end as soon as they are made.
    let refused = {
        let gone = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        gone.local_addr().unwrap()
    };
    let upstream = world.upstream();
    scene.proxy().set_upstream(refused);
    scene.proxy().end_all(Ending::Reset);
    let calls: Vec<_> = routes
        .into_iter()
        .map(|route| {
            let (scene, served) = (scene.clone(), served.clone());
            tokio::spawn(async move {
                route.until_served(&scene, &AWAY).await;
                served.send_modify(|served: &mut Vec<Instant>| served.push(Instant::now()));
            })
        })
        .collect();
    tokio::time::sleep(away).await;
    scene.proxy().set_upstream(upstream);
    let back = Instant::now();
    for call in calls {
        call.await.unwrap();
    }
    let served = count.borrow_and_update().clone();
    let peak = (0..50).map(|tenth| {
        let from = back + Duration::from_millis(100 * tenth);
        served.iter().filter(|at| **at >= from && **at < from + Duration::from_secs(1)).count()
    });
    let (peak, all) = (peak.max().unwrap_or(0), back.elapsed());
    println!("{callers} callers were served again within {all:?}, at most {peak} of them in one second");
    assert!(all < Duration::from_secs(12), "{all:?}");
    // Three times the mean over 5 s.
    assert!(peak <= callers * 3 / 5, "{peak} of {callers} in one second");
}
