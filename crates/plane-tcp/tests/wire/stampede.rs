//! A thousand clients that come back at once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use plane_core::{Address, Request, RequestPlaneClient, RequestPlaneServer};
use plane_tcp::{ClientConfig, ServerConfig, TcpClient};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::world::{PATIENCE, World, endpoint, loopback};

/// How often each client calls while nobody answers. It can find the server so much later than its pause ends.
const EVERY: Duration = Duration::from_millis(100);

async fn call(client: &TcpClient, address: &Address) -> bool {
    let answered = async { client.call(address, Request::new(endpoint("echo"), "x")).await?.message().await };
    answered.await.is_ok()
}

/// How long after the return of their server each of so many clients was served again. They call all the time.
async fn back_after(clients: usize, outage: Duration) -> Vec<Duration> {
    let world = World::start().await;
    let address = world.address.clone();
    let port = address.to_string().rsplit_once(':').unwrap().1.parse().unwrap();
    let mut calling = Vec::new();
    for _ in 0..clients {
        let client = Arc::new(TcpClient::new(ClientConfig::default()));
        assert!(call(&client, &address).await);
        calling.push(client);
    }
    world.server.drain(Instant::now()).await;
    drop(world);
    let mut coming = JoinSet::new();
    for client in calling {
        let address = address.clone();
        coming.spawn(async move {
            while !call(&client, &address).await {
                sleep(EVERY).await;
            }
            (Instant::now(), client)
        });
    }
    sleep(outage).await;
    let began = Instant::now();
    let world = World::with(ServerConfig::new(loopback(port))).await;
    // Kept, so that their connections are.
    let mut back = Vec::new();
    let all = async {
        while let Some(one) = coming.join_next().await {
            back.push(one.unwrap());
        }
    };
    timeout(PATIENCE, all).await.unwrap();
    assert_eq!(world.server.stats().connections, clients as u64);
    back.iter().map(|(at, _)| *at - began).collect()
}

/// Threat C7: after an outage that is long enough for pauses between dials to be as long as they get, clients come back
/// spread by their jitter. The peak of a second is within three times the mean over 5 s.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_clients_come_back_spread() {
    const CLIENTS: usize = 1_000;
    const SPREAD: usize = 5;
    let mut seconds = [0; 64];
    for after in back_after(CLIENTS, Duration::from_secs(8)).await {
        seconds[usize::try_from(after.as_secs()).unwrap().min(63)] += 1;
    }
    let mean = CLIENTS / SPREAD;
    assert!(seconds.iter().all(|peak| *peak <= 3 * mean), "{seconds:?}");
}

/// Threat C4: after a restart, 95 % of the callers are served again within 2 s, and what a busy machine adds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_are_served_again_soon_after_a_restart() {
    const SOON: Duration = Duration::from_secs(2);
    const SLACK: Duration = Duration::from_millis(500);
    let all = back_after(100, Duration::from_millis(500)).await;
    let soon = all.iter().filter(|after| **after < SOON + SLACK).count();
    assert!(soon * 100 >= all.len() * 95, "{soon} of {}", all.len());
}
