//! A NATS server that is restarted while it is in use. In a process of its own, because its memory is looked at.

#[expect(dead_code, reason = "nats_alone uses more of it")]
#[path = "../nats_alone/world.rs"]
mod world;

use std::sync::Arc;

use plane_core::{ErrorKind, Health, RequestPlaneClient, RequestPlaneServer};
use plane_testkit::nats::NatsServer as Nats;
use tokio::sync::watch;

use crate::world::{World, any, config, in_time};

/// From this round on, memory must not grow any more.
const WARM: usize = 3;

/// What may come and go, in pages: 8 MiB if they have 4 KiB.
const GROWTH: u64 = 2_048;

/// The memory that this process uses, in pages.
fn resident_pages() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse().unwrap()
}

/// NATS is restarted under load: every call completes or fails typed and in time, nothing has to be started again, and
/// nothing is left behind.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_under_load_leaves_nothing_behind() {
    const CALLERS: usize = 32;
    const ROUNDS: u64 = 10;
    let mut nats = Nats::start();
    let mut resident = Vec::new();
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
        resident.push(resident_pages());
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
    // The first rounds fill what is kept for later ones.
    let (warm, last) = (resident[WARM], *resident.last().unwrap());
    assert!(last <= warm + GROWTH, "pages: {resident:?}");
}
