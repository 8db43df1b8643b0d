//! Memory of idle connections and open calls, on both sides.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use plane_core::{Address, EndpointId, Request, RequestPlaneClient};
use plane_nats::{NatsClient, NatsConfig, NatsConnection};
use plane_tcp::{ClientConfig, TcpClient};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::address;
use crate::place::{Place, Plane};
use crate::serving::{ECHO, HANG};
use crate::vitals::Vitals;
use crate::worker::Worker;

pub(crate) const COLUMNS: &str = "\
| transport | what | how many | memory of the caller, each | memory of the server, each |
|---|---|--:|--:|--:|";

/// Connections: within the usual 1,024 descriptors of a process.
const CONNECTIONS: usize = 400;

/// Open calls: below the server's default limit of calls that run.
const CALLS: usize = 5_000;

/// Longer than the keepalive's interval, so that buffers are given back and a ping has gone and come.
const IDLE: Duration = Duration::from_secs(13);

/// Far more than it takes to open all calls.
const OPENED: Duration = Duration::from_secs(60);

/// What a measurement holds; dropping it ends its calls and connections.
pub(crate) struct Held {
    _clients: Vec<Arc<dyn RequestPlaneClient>>,
    _calls: JoinSet<()>,
    _workers: [Worker; 2],
    _places: [Place; 2],
}

/// The lines of one transport.
pub(crate) async fn measure(plane: Plane, nats: &str) -> Result<(String, Held)> {
    // One place for each, so that each has one worker.
    let places = [Place::new(plane, nats)?, Place::new(plane, nats)?];
    let (idle, mut clients, first) = idle_connections(&places[0]).await?;
    let (open, calls, client, second) = open_calls(&places[1]).await?;
    clients.push(client);
    let line = |what: &str, count: usize, (own, theirs): (u64, u64)| {
        format!("| {plane} | {what} | {count} | {own} B | {theirs} B |")
    };
    let lines = [line("idle connection", CONNECTIONS, idle), line("open call", CALLS, open)].join("\n");
    Ok((lines, Held { _clients: clients, _calls: calls, _workers: [first, second], _places: places }))
}

fn client(place: &Place) -> Result<Arc<dyn RequestPlaneClient>> {
    Ok(match place.plane {
        Plane::Tcp => Arc::new(TcpClient::new(ClientConfig::default())),
        Plane::Nats => Arc::new(NatsClient::new(&NatsConnection::new(NatsConfig::default().servers([place.nats()])?))),
    })
}

async fn call(client: &dyn RequestPlaneClient, address: &Address, endpoint: &EndpointId) -> Result<()> {
    let answer = client.call(address, Request::new(endpoint.clone(), vec![7; 128])).await?.message().await?;
    ensure!(answer.len() == 128, "a wrong answer");
    Ok(())
}

/// What both sides hold now, in bytes.
async fn both(worker: &mut Worker) -> Result<(u64, u64)> {
    let theirs = Vitals::of(worker.id()?, worker.report().await?.tasks)?;
    Ok((Vitals::own()?.memory * 1024, theirs.memory * 1024))
}

/// The difference, for each of so many.
fn each(before: (u64, u64), after: (u64, u64), count: usize) -> (u64, u64) {
    let count = count as u64;
    (after.0.saturating_sub(before.0) / count, after.1.saturating_sub(before.1) / count)
}

/// Clients with one connection each, after a call of each.
async fn idle_connections(place: &Place) -> Result<((u64, u64), Vec<Arc<dyn RequestPlaneClient>>, Worker)> {
    let (mut worker, endpoint) = (Worker::start(place, Duration::ZERO).await?, ECHO.parse()?);
    let at = address(place, ECHO).await?;
    let mut clients = vec![client(place)?];
    call(&*clients[0], &at, &endpoint).await?;
    let before = both(&mut worker).await?;
    for _ in 0..CONNECTIONS {
        let client = client(place)?;
        call(&*client, &at, &endpoint).await?;
        clients.push(client);
    }
    sleep(IDLE).await;
    let after = both(&mut worker).await?;
    Ok((each(before, after, CONNECTIONS), clients, worker))
}

/// Calls of one client to a handler that does not answer, the tasks that wait for them included.
async fn open_calls(place: &Place) -> Result<((u64, u64), JoinSet<()>, Arc<dyn RequestPlaneClient>, Worker)> {
    let (mut worker, endpoint): (_, EndpointId) = (Worker::start(place, Duration::ZERO).await?, HANG.parse()?);
    let (client, at) = (client(place)?, address(place, HANG).await?);
    call(&*client, &at, &ECHO.parse()?).await?;
    let before = both(&mut worker).await?;
    let mut calls = JoinSet::new();
    for _ in 0..CALLS {
        let (client, at, request) = (client.clone(), at.clone(), Request::new(endpoint.clone(), vec![7; 128]));
        calls.spawn(async move {
            // It is aborted at the end.
            let _ = client.call(&at, request).await;
        });
    }
    let all_open = async {
        while worker.report().await?.in_flight < CALLS as u64 {
            ensure!(calls.try_join_next().is_none(), "a call has ended by itself");
            sleep(Duration::from_millis(50)).await;
        }
        anyhow::Ok(())
    };
    timeout(OPENED, all_open).await.context("the calls did not arrive")??;
    // Those who wait have been told that their handlers were started.
    sleep(Duration::from_secs(1)).await;
    let after = both(&mut worker).await?;
    Ok((each(before, after, CALLS), calls, client, worker))
}
