//! From a caller that goes away to the handler at the end of a chain.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use plane_core::{Request, Response, Status, handler_fn};
use plane_manager::{EndpointClient, NetworkManager, Service};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::READY;
use crate::place::Place;

pub(crate) const COLUMNS: &str = "\
| transport | hops | cancels | half within | 99 of 100 within | longest |
|---|--:|--:|--:|--:|--:|";

const CANCELS: usize = 500;
const NEVER: Duration = Duration::from_secs(10);

/// What the last handler tells: that it was started, and when it was dropped.
type Told = mpsc::Receiver<Option<Instant>>;

/// The lines of one transport. All servers are in this process, each with sockets and a manager of its own, so that one
/// clock tells the time.
pub(crate) async fn measure(place: &Place) -> Result<String> {
    let (tell, mut told) = mpsc::channel(8);
    let mut chain = Chain { managers: Vec::new(), services: Vec::new() };
    chain.end(place, tell).await?;
    let mut lines = Vec::new();
    for hops in [1, 2, 3] {
        if hops > 1 {
            chain.lengthen(place, hops).await?;
        }
        if hops != 2 {
            let manager = place.manager()?;
            let client = manager.client(name(hops).parse()?);
            client.ready(READY).await?;
            lines.push(line(place, hops, &client, &mut told).await?);
        }
    }
    drop(chain.services);
    Ok(lines.join("\n"))
}

/// Servers that call one another; the last one takes note.
struct Chain {
    managers: Vec<NetworkManager>,
    services: Vec<Service>,
}

/// The endpoint from which it is so many hops to the last handler.
fn name(hops: usize) -> String {
    format!("soak.chain.hop{hops}")
}

/// Tells that it was dropped, and when.
struct Dropped(mpsc::Sender<Option<Instant>>);

impl Drop for Dropped {
    fn drop(&mut self) {
        // There is room: one call at a time tells twice.
        let _ = self.0.try_send(Some(Instant::now()));
    }
}

impl Chain {
    async fn end(&mut self, place: &Place, tell: mpsc::Sender<Option<Instant>>) -> Result<()> {
        let handler = handler_fn(move |_: Request, _| {
            let tell = tell.clone();
            async move {
                let _dropped = Dropped(tell.clone());
                let _ = tell.try_send(None);
                std::future::pending::<Result<Response, Status>>().await
            }
        });
        let manager = place.manager()?;
        self.services.push(manager.serve(name(1).parse()?, handler).await?);
        self.managers.push(manager);
        Ok(())
    }

    async fn lengthen(&mut self, place: &Place, hops: usize) -> Result<()> {
        let manager = place.manager()?;
        let next: EndpointClient = manager.client(name(hops - 1).parse()?);
        next.ready(READY).await?;
        let handler = handler_fn(move |request: Request, _| {
            let next = next.clone();
            async move { next.call(request.body).await.map_err(Status::from) }
        });
        self.services.push(manager.serve(name(hops).parse()?, handler).await?);
        self.managers.push(manager);
        Ok(())
    }
}

async fn line(place: &Place, hops: usize, client: &EndpointClient, told: &mut Told) -> Result<String> {
    let mut took = Vec::new();
    for _ in 0..CANCELS {
        took.push(timeout(NEVER, cancel(client, told)).await.context("a cancel did not arrive")??);
    }
    took.sort();
    let at = |part: usize| took[(took.len() * part / 100).min(took.len() - 1)].as_micros();
    Ok(format!("| {} | {hops} | {CANCELS} | {} µs | {} µs | {} µs |", place.plane, at(50), at(99), at(100)))
}

/// Calls, goes away once the last handler runs, and waits until that was dropped.
async fn cancel(client: &EndpointClient, told: &mut Told) -> Result<Duration> {
    let gone = {
        let mut calling = pin!(client.call(""));
        let started = poll_fn(|cx| match calling.as_mut().poll(cx) {
            Poll::Ready(_) => Poll::Ready(None),
            Poll::Pending => told.poll_recv(cx),
        });
        let Some(None) = started.await else { bail!("the chain did not take the call") };
        // With the end of this block the caller has gone.
        Instant::now()
    };
    let dropped = told.recv().await.flatten().context("the last handler said nothing")?;
    Ok(dropped.saturating_duration_since(gone))
}
