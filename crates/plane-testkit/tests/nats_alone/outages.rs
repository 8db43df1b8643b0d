//! A NATS server that is killed, frozen and restarted.

use std::time::{Duration, Instant};

use plane_core::{AbortReason, Delivery, ErrorKind, Health, Request, RequestPlaneClient, RequestPlaneServer};
use plane_testkit::nats::NatsServer as Nats;

use crate::world::{World, any, config, endpoint, in_time, until_served, until_served_or};

/// Threats E2 and E5, case B7: a server that is killed ends its calls at once, and everything works again after it
/// came back.
#[tokio::test]
async fn a_killed_server_ends_its_calls_and_comes_back() {
    let mut nats = Nats::start();
    let mut world = World::start(config(&nats)).await;
    for _ in 0..20 {
        let address = world.server.address();
        let call = world.client.call(&address, Request::new(endpoint("hang"), "go"));
        let kill = async {
            in_time(world.started.recv()).await.unwrap();
            nats.kill();
            Instant::now()
        };
        let (ended, killed) = tokio::join!(call, kill);
        assert!(killed.elapsed() < Duration::from_secs(5), "found by the loss, not by a time limit");
        let error = ended.unwrap_err();
        assert_eq!((error.kind(), error.delivery()), (ErrorKind::Disconnected, Delivery::Unknown));
        assert_eq!(in_time(world.aborted.recv()).await, Some(AbortReason::Disconnected));
        // Case B6: nothing is reported as sent meanwhile.
        let error = world.echo("into the void").await.unwrap_err();
        assert_eq!((error.kind(), error.delivery()), (ErrorKind::Unavailable, Delivery::NotSent));
        assert_ne!(world.client.health(), Health::Ready);
        nats.restart();
        let listens = Instant::now();
        in_time(until_served(&world)).await;
        // The longest pause between two tries, and as much again for a busy machine.
        assert!(listens.elapsed() < Duration::from_secs(10), "{:?}", listens.elapsed());
    }
    assert_eq!((world.client.stats().in_flight, world.server.stats().in_flight), (0, 0));
}

/// Threat E4: a frozen server is found by the pings.
#[tokio::test]
async fn a_frozen_server_is_found() {
    let nats = Nats::start();
    let interval = Duration::from_millis(200);
    let config = config(&nats).keepalive(interval, interval).unwrap().request_timeout(Duration::from_secs(2)).unwrap();
    let mut world = World::start(config).await;
    let address = any();
    let call = world.client.call(&address, Request::new(endpoint("hang"), "go"));
    let freeze = async {
        in_time(world.started.recv()).await.unwrap();
        nats.freeze();
    };
    let (ended, ()) = in_time(async { tokio::join!(call, freeze) }).await;
    assert_eq!(ended.unwrap_err().kind(), ErrorKind::Disconnected);
    nats.thaw();
    // Until NATS has noticed the connections that were given up, it may pass calls on to one of those.
    let expected = [ErrorKind::Unavailable, ErrorKind::Disconnected, ErrorKind::DeadlineExceeded];
    in_time(until_served_or(&world, &expected)).await;
}

/// Case B6: closing with the server dead takes no time limit.
#[tokio::test]
async fn closing_with_the_server_dead_returns() {
    let mut nats = Nats::start();
    let world = World::start(config(&nats)).await;
    world.echo("warm").await.unwrap();
    nats.kill();
    let began = Instant::now();
    world.client.close(Instant::now() + Duration::from_secs(10)).await;
    assert!(began.elapsed() < Duration::from_secs(5));
}
