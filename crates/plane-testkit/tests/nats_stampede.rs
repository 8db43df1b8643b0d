//! Threat E25: a thousand clients lose their NATS server and come back to it, spread by a jitter of our own.

use std::time::{Duration, Instant};

use plane_core::Health;
use plane_nats::{NatsConfig, NatsConnection};
use plane_testkit::nats::NatsServer as Nats;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

const CLIENTS: usize = 1_000;

/// Far more than anything here takes, for a machine that is busy.
const IN_TIME: Duration = Duration::from_secs(60);

/// Longer than it takes until the pauses between tries are as long as they get.
const OUTAGE: Duration = Duration::from_secs(8);

/// How often each client is looked at.
const EVERY: Duration = Duration::from_millis(100);

/// Over how long the mean is taken; the peak is that of a second.
const SPREAD: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_clients_come_back_to_nats_spread() {
    let mut nats = Nats::start();
    let config = NatsConfig::default().servers([nats.url()]).unwrap();
    let mut connections = Vec::new();
    for _ in 0..CLIENTS {
        let connection = NatsConnection::new(config.clone());
        connection.client().await.unwrap();
        connections.push(connection);
    }
    nats.kill();
    let is_lost = |connection: &NatsConnection| matches!(connection.health(), Health::Unavailable(_));
    let all_lost = async {
        while !connections.iter().all(is_lost) {
            sleep(EVERY).await;
        }
    };
    timeout(IN_TIME, all_lost).await.unwrap();
    sleep(OUTAGE).await;
    nats.restart();
    let mut coming = JoinSet::new();
    for connection in connections {
        coming.spawn(async move {
            while connection.health() != Health::Ready {
                sleep(EVERY).await;
            }
            (Instant::now(), connection)
        });
    }
    let mut came = Vec::new();
    let all_back = async {
        while let Some(back) = coming.join_next().await {
            came.push(back.unwrap());
        }
    };
    timeout(IN_TIME, all_back).await.unwrap();
    let first = came.iter().map(|(at, _)| *at).min().unwrap();
    let mut seconds = [0; 64];
    for (at, _) in &came {
        seconds[usize::try_from((*at - first).as_secs()).unwrap().min(63)] += 1;
    }
    let mean = CLIENTS as u64 / SPREAD.as_secs();
    assert!(seconds.iter().all(|peak| *peak <= 3 * mean), "{seconds:?}");
}
