//! The same exchanges in the plain pattern of the NATS client library, to compare with: no deadline, no credit, no end
//! marker, and nobody is told when a caller goes away.
//!
//! A unary call is [`Client::request`]; its server is a loop that answers one request after the other. A stream is one
//! request with an inbox of its own, to which a task for each request publishes the items; the caller counts them.

use std::time::Instant;

use async_nats::{Client, Message, Subject, Subscriber};
use futures_util::StreamExt;
use tokio::task::JoinSet;

use crate::caller::{Caller, DriveError, Exchange};
use crate::cell::Shape;
use crate::handlers::{ECHO, PACED, READY, items_asked};
use crate::sample::{Ended, Way};

/// Calls in the plain pattern.
#[derive(Debug)]
pub struct BareCaller {
    client: Client,
    subject: Subject,
    exchange: Exchange,
    streams: bool,
}

impl BareCaller {
    /// Makes calls of this shape to a server with [`serve_bare`].
    #[must_use]
    pub fn new(client: Client, shape: Shape) -> Self {
        let exchange = Exchange::new(shape);
        let subject = subject(exchange.name).into();
        Self { client, subject, exchange, streams: matches!(shape, Shape::Stream { .. }) }
    }

    async fn request(&self, began: Instant) -> Result<Ended, async_nats::Error> {
        let mut seen = self.exchange.begin(began);
        let answer = self.client.request(self.subject.clone(), self.exchange.message().clone()).await?;
        seen.item(answer.payload.len());
        Ok(seen.end()?)
    }

    async fn stream(&self, began: Instant) -> Result<Ended, async_nats::Error> {
        let mut seen = self.exchange.begin(began);
        let inbox = self.client.new_inbox();
        let mut items = self.client.subscribe(inbox.clone()).await?;
        self.client.publish_with_reply(self.subject.clone(), inbox, self.exchange.message().clone()).await?;
        for _ in 0..self.exchange.items() {
            let item = items.next().await.ok_or("the subscription ended before the stream")?;
            seen.item(item.payload.len());
        }
        Ok(seen.end()?)
    }
}

impl Caller for BareCaller {
    const WAY: Way = Way::Bare;

    async fn call(&self, began: Instant) -> Result<Ended, DriveError> {
        let called = if self.streams { self.stream(began).await } else { self.request(began).await };
        called.map_err(DriveError::Bare)
    }
}

/// The loops of a plain server; ended when dropped.
#[derive(Debug)]
pub struct BareServed {
    _loops: JoinSet<()>,
}

/// Answers what [`BareCaller`] asks.
///
/// # Errors
/// The NATS server could not be told to pass requests on.
pub async fn serve_bare(client: &Client) -> Result<BareServed, async_nats::Error> {
    let listen = async |name| client.queue_subscribe(subject(name), "bare".to_owned()).await;
    let (echo, ready, paced) = (listen(ECHO).await?, listen(READY).await?, listen(PACED).await?);
    client.flush().await?;
    let mut loops = JoinSet::new();
    loops.spawn(answer(client.clone(), echo));
    loops.spawn(stream(client.clone(), ready, false));
    loops.spawn(stream(client.clone(), paced, true));
    Ok(BareServed { _loops: loops })
}

/// Beside what the plane uses.
fn subject(name: &str) -> String {
    format!("bare.{name}")
}

async fn answer(client: Client, mut requests: Subscriber) {
    while let Some(Message { reply, payload, .. }) = requests.next().await {
        if let Some(reply) = reply
            && client.publish(reply, payload).await.is_err()
        {
            return;
        }
    }
}

async fn stream(client: Client, mut requests: Subscriber, yields: bool) {
    while let Some(Message { reply, payload, .. }) = requests.next().await {
        if let (Some(reply), Ok((items, item))) = (reply, items_asked(payload)) {
            let client = client.clone();
            tokio::spawn(async move {
                for _ in 0..items {
                    if yields {
                        tokio::task::yield_now().await;
                    }
                    if client.publish(reply.clone(), item.clone()).await.is_err() {
                        return;
                    }
                }
            });
        }
    }
}
