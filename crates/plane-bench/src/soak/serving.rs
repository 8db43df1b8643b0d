//! The worker's role, and what it answers.

use std::io::Write;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures_util::stream;
use plane_core::{Body, Error, Request, Response, ServerStats, Status, handler_fn};
use plane_manager::{NetworkManager, Service};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::signal::unix::{SignalKind, signal};

/// Answers with the message that it was sent.
pub(crate) const ECHO: &str = "soak.unary.echo";
/// Answers with numbered items.
pub(crate) const ITEMS: &str = "soak.stream.items";
/// Takes a stream and answers with the number of its bytes.
pub(crate) const GATHER: &str = "soak.stream.gather";
/// Passes what it is sent on to [`ECHO`], wherever that is, and the answer back.
pub(crate) const HOP: &str = "soak.hop.echo";
/// Never answers.
pub(crate) const HANG: &str = "soak.unary.hang";

/// What a worker says once it can be called.
pub(crate) const READY: &str = "ready";

/// What a worker says of itself: when asked, and as its last words.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) started: u64,
    pub(crate) completed: u64,
    pub(crate) failed: u64,
    pub(crate) cancelled: u64,
    pub(crate) in_flight: u64,
    /// Tasks of its runtime.
    pub(crate) tasks: u64,
}

impl Report {
    fn of(manager: &NetworkManager) -> Self {
        let ServerStats { started, completed, failed, cancelled, in_flight, .. } =
            manager.stats().server.unwrap_or_default();
        let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks() as u64;
        Self { started, completed, failed, cancelled, in_flight, tasks }
    }

    /// Whether nothing is in flight and every call that was started is in exactly one outcome.
    pub(crate) fn adds_up(&self) -> bool {
        self.in_flight == 0 && self.started == self.completed + self.failed + self.cancelled
    }
}

/// Serves until it is asked to end; each line on standard input asks for a report.
pub(crate) async fn run(drain_timeout: Duration) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen to signals")?;
    let manager = NetworkManager::from_env_strict()?;
    let _services = serve_all(&manager).await?;
    say(READY)?;
    let mut asked = BufReader::new(tokio::io::stdin()).lines();
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            line = asked.next_line() => match line? {
                Some(_) => say(&serde_json::to_string(&Report::of(&manager))?)?,
                // Whoever started it is gone.
                None => break,
            },
        }
    }
    manager.drain(Instant::now() + drain_timeout).await;
    say(&serde_json::to_string(&Report::of(&manager))?)
}

fn say(line: &str) -> Result<()> {
    writeln!(std::io::stdout(), "{line}").context("nobody listens any more")
}

async fn serve_all(manager: &NetworkManager) -> Result<[Service; 5]> {
    let echo = handler_fn(|request: Request, _| async move { Ok(Response::new(request.body)) });
    let items = handler_fn(|request: Request, _| async move {
        let (count, bytes) = asked_for(request.body.message().await.map_err(Status::from)?)?;
        Ok(Response::new(numbered(count, bytes)))
    });
    let gather = handler_fn(|mut request: Request, _| async move {
        let mut bytes = 0_u64;
        while let Some(message) = request.body.next().await {
            bytes += message.map_err(Status::from)?.len() as u64;
        }
        Ok(Response::new(bytes.to_be_bytes().to_vec()))
    });
    let next = manager.client(ECHO.parse()?);
    let hop = handler_fn(move |request: Request, _| {
        let next = next.clone();
        async move { next.call(request.body).await.map_err(Status::from) }
    });
    let hang = handler_fn(|_: Request, _| std::future::pending());
    Ok([
        manager.serve(ECHO.parse()?, echo).await?,
        manager.serve(ITEMS.parse()?, items).await?,
        manager.serve(GATHER.parse()?, gather).await?,
        manager.serve(HOP.parse()?, hop).await?,
        manager.serve(HANG.parse()?, hang).await?,
    ])
}

/// The request for so many items of so many bytes each.
pub(crate) fn ask_for(count: u32, bytes: u32) -> Bytes {
    let mut request = BytesMut::with_capacity(8);
    request.put_u32(count);
    request.put_u32(bytes);
    request.freeze()
}

fn asked_for(mut message: Bytes) -> Result<(u32, u32), Status> {
    if message.len() != 8 {
        return Err(Status::invalid_argument("expected two numbers of four bytes: items, and bytes of each"));
    }
    Ok((message.get_u32(), message.get_u32()))
}

/// Items that begin with their number, with a turn for others before each.
fn numbered(count: u32, bytes: u32) -> Body {
    Body::stream(stream::unfold(0, move |number: u32| async move {
        tokio::task::yield_now().await;
        (number < count).then(|| {
            let mut item = BytesMut::zeroed(bytes.max(4) as usize);
            item[..4].copy_from_slice(&number.to_be_bytes());
            (Ok::<_, Error>(item.freeze()), number + 1)
        })
    }))
}
