//! The calls of a soak, and what may become of each.

use std::time::{Duration, Instant};

use bytes::Bytes;
use plane_core::{Body, Error, ErrorKind, Request, Response};
use plane_manager::{EndpointClient, NetworkManager};
use tokio::time::{sleep, timeout};

use crate::serving::{ECHO, GATHER, HANG, ITEMS, ask_for};

/// What one caller does in one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    /// A small message and the same one back.
    Echo,
    /// A message that travels in chunks.
    Large,
    /// A stream, read to its end.
    Stream,
    /// A stream that is left in the middle.
    LeaveStream,
    /// A call that is left before its answer.
    LeaveCall,
    /// A handler that hangs, and a deadline.
    Deadline,
    /// A stream larger than its credit, read slowly.
    ReadSlowly,
    /// A streamed request.
    Upload,
}

/// How often each is done, in turn of chance.
pub(crate) const ACTS: [Act; 16] = [
    Act::Echo,
    Act::Echo,
    Act::Echo,
    Act::Echo,
    Act::Echo,
    Act::Large,
    Act::Stream,
    Act::Stream,
    Act::Stream,
    Act::LeaveStream,
    Act::LeaveStream,
    Act::LeaveCall,
    Act::LeaveCall,
    Act::Deadline,
    Act::ReadSlowly,
    Act::Upload,
];

/// How a call ended that ended as promised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    Completed,
    /// The caller went away.
    Left,
    /// The deadline passed, this long ago when the caller was told.
    DeadlinePassed(Duration),
    /// A worker that was restarted took it along, and the error says so.
    Failed(ErrorKind),
}

/// A promise that was broken, in words.
pub(crate) type Broken = String;

/// Far longer than any call here takes on a busy machine: one that has not ended by then never does.
const NEVER: Duration = Duration::from_secs(60);

const DEADLINE: Duration = Duration::from_millis(100);
const LARGE: usize = 600 * 1024;
const STREAM: u32 = 100;
const ITEM: u32 = 64;
/// More than a call's credit, in all.
const SLOW_STREAM: u32 = 400;
const SLOW_ITEM: u32 = 4 * 1024;
const UPLOADED: usize = 50;

/// The clients of one transport.
#[derive(Debug, Clone)]
pub(crate) struct Clients {
    echo: EndpointClient,
    items: EndpointClient,
    gather: EndpointClient,
    hang: EndpointClient,
}

impl Clients {
    pub(crate) async fn ready(manager: &NetworkManager) -> anyhow::Result<Self> {
        let client = |name: &str| anyhow::Ok(manager.client(name.parse()?));
        let clients = Self { echo: client(ECHO)?, items: client(ITEMS)?, gather: client(GATHER)?, hang: client(HANG)? };
        for client in [&clients.echo, &clients.items, &clients.gather, &clients.hang] {
            client.ready(NEVER).await?;
        }
        Ok(clients)
    }

    /// Makes one call.
    pub(crate) async fn act(&self, act: Act) -> Result<Ended, Broken> {
        let done = async {
            match act {
                Act::Echo => self.echo(16 + fastrand::usize(..1_000)).await,
                Act::Large => self.echo(LARGE).await,
                Act::Stream => self.stream(STREAM, ITEM, STREAM, Duration::ZERO).await,
                Act::LeaveStream => self.stream(STREAM, ITEM, fastrand::u32(1..STREAM), Duration::ZERO).await,
                Act::ReadSlowly => self.stream(SLOW_STREAM, SLOW_ITEM, SLOW_STREAM, Duration::from_millis(1)).await,
                Act::LeaveCall => self.leave_call().await,
                Act::Deadline => self.deadline().await,
                Act::Upload => self.upload().await,
            }
        };
        timeout(NEVER, done).await.unwrap_or_else(|_| Err(format!("{act:?} has not ended after {NEVER:?}")))
    }

    async fn echo(&self, bytes: usize) -> Result<Ended, Broken> {
        let mut message = vec![0; bytes];
        // It cannot be that of another call.
        message[..16].copy_from_slice(&fastrand::u128(..).to_be_bytes());
        let message = Bytes::from(message);
        let answered = async { self.echo.call(message.clone()).await?.message().await };
        match answered.await {
            Ok(answer) if answer == message => Ok(Ended::Completed),
            Ok(_) => Err("the answer of another call".to_owned()),
            Err(error) => failed(&error),
        }
    }

    /// Reads so many items, with a pause after each; leaves then, if there are more.
    async fn stream(&self, count: u32, bytes: u32, read: u32, pause: Duration) -> Result<Ended, Broken> {
        let mut response: Response = match self.items.call(ask_for(count, bytes)).await {
            Ok(response) => response,
            Err(error) => return failed(&error),
        };
        for number in 0..read {
            match response.next().await {
                Some(Ok(item)) if item.len() == bytes as usize && item[..4] == number.to_be_bytes() => {}
                Some(Ok(_)) => return Err(format!("item {number} of a stream is another one")),
                Some(Err(error)) => return failed(&error),
                None => return Err(format!("a stream of {count} items ended in order after {number}")),
            }
            if !pause.is_zero() {
                sleep(pause).await;
            }
        }
        if read < count {
            return Ok(Ended::Left);
        }
        match response.next().await {
            None => Ok(Ended::Completed),
            Some(Ok(_)) => Err(format!("a stream of {count} items has more")),
            Some(Err(error)) => failed(&error),
        }
    }

    async fn leave_call(&self) -> Result<Ended, Broken> {
        let patience = Duration::from_millis(fastrand::u64(..20));
        match timeout(patience, self.hang.call("")).await {
            Err(_) => Ok(Ended::Left),
            Ok(Ok(_)) => Err("a handler that never answers has answered".to_owned()),
            Ok(Err(error)) => failed(&error),
        }
    }

    async fn deadline(&self) -> Result<Ended, Broken> {
        let began = Instant::now();
        let request = Request::new(self.hang.endpoint().clone(), "").with_timeout(DEADLINE);
        match self.hang.call(request).await {
            Ok(_) => Err("a handler that never answers has answered".to_owned()),
            Err(error) if error.kind() == ErrorKind::DeadlineExceeded => {
                Ok(Ended::DeadlinePassed(began.elapsed().saturating_sub(DEADLINE)))
            }
            Err(error) => failed(&error),
        }
    }

    async fn upload(&self) -> Result<Ended, Broken> {
        let (sender, body) = Body::channel(4);
        let sending = async {
            for _ in 0..UPLOADED {
                sender.send(vec![7; ITEM as usize]).await?;
            }
            sender.finish().await
        };
        let answering = async { self.gather.call(body).await?.message().await };
        // A request that fails has the answer say why.
        let (_, answered) = tokio::join!(sending, answering);
        match answered {
            Ok(bytes) if bytes[..] == (UPLOADED as u64 * u64::from(ITEM)).to_be_bytes() => Ok(Ended::Completed),
            Ok(_) => Err("a streamed request arrived cut".to_owned()),
            Err(error) => failed(&error),
        }
    }
}

/// What restarts may do to a call; anything else breaks a promise.
fn failed(error: &Error) -> Result<Ended, Broken> {
    match error.kind() {
        kind @ (ErrorKind::Unavailable | ErrorKind::Disconnected) => Ok(Ended::Failed(kind)),
        kind => Err(format!("{kind:?}, {:?}: {error}", error.delivery())),
    }
}
