//! A NATS server that is killed, frozen and restarted.

use std::sync::Arc;
use std::time::{Duration, Instant};

use plane_core::{AbortReason, Delivery, ErrorKind, Health, Request, RequestPlaneClient, RequestPlaneServer};
use plane_testkit::nats::NatsServer as Nats;
use tokio::sync::watch;

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
        in_time(until_served(&world)).await;
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

/// NATS is restarted under load: every call completes or fails typed and in time, nothing has to be started again, and
/// nothing is left behind.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_under_load_leaves_nothing_behind() {
    const CALLERS: usize = 32;
    const ROUNDS: u64 = 5;
    let mut nats = Nats::start();
    let world = Arc::new(World::start(config(&nats)).await);
    let (stop, stopped) = watch::channel(false);
    let (answered, mut answers) = watch::channel(0_u64);
    let callers: Vec<_> = (0..CALLERS)
        .map(|caller| {
            let (world, stopped, answered) = (world.clone(), stopped.clone(), answered.clone());
            tokio::spawn(async move {
                let address = if caller % 2 == 0 { any() } else { world.server.address() };
                while !*stopped.borrow() {
                    match in_time(world.echo_at(&address, vec![7; 200 * caller])).await {
                        Ok(()) => answered.send_modify(|answered| *answered += 1),
                        Err(error) => {
                            assert!(
                                [ErrorKind::Disconnected, ErrorKind::Unavailable].contains(&error.kind()),
                                "{error:?}"
                            );
                            tokio::task::yield_now().await;
                        }
                    }
                }
            })
        })
        .collect();
    for _ in 0..ROUNDS {
        let enough = *answers.borrow() + 20 * CALLERS as u64;
        in_time(answers.wait_for(|answered| *answered >= enough)).await.unwrap();
        nats.kill();
        in_time(async {
            while world.client.health() == Health::Ready {
                tokio::task::yield_now().await
            }
        })
        .await;
        nats.restart();
    }
    let enough = *answers.borrow() + 20 * CALLERS as u64;
    in_time(answers.wait_for(|answered| *answered >= enough)).await.unwrap();
    stop.send(true).unwrap();
    for caller in callers {
        caller.await.unwrap();
    }
    in_time(async {
        while world.server.stats().in_flight > 0 {
            tokio::task::yield_now().await
        }
    })
    .await;
    assert_eq!(world.client.stats().in_flight, 0);
}
