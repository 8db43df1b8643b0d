//! What comes to the subjects that servers share, and how a server leaves a subject without losing a call
//! (docs/nats.md, "Leaving").

use std::sync::Arc;

use async_nats::{Message, Subscriber};
use futures_util::{FutureExt, StreamExt};
use tokio::sync::{oneshot, watch};

use super::core::Core;
use super::{Closing, LEAVING, MESSAGES_A_TURN};

/// A number that is too long for NATS to count to: told to end a subscription after so many messages, it ends it at
/// once, while the client library goes on taking in what is on its way. Told to end it at once, the library forgets
/// the subscription before NATS has heard of it, and drops what comes in between.
const AT_ONCE: u64 = 10_000_000_000;

/// The subscriptions of one registration, until it ends.
pub(super) struct Feed {
    pub(super) any: Subscriber,
    pub(super) this: Subscriber,
    pub(super) unregistered: oneshot::Receiver<()>,
}

impl Feed {
    /// Takes in what comes to the subjects of one registration. Once that ends, NATS is told to send no more, and what
    /// it sent before it knew is given back for other servers: a server that leaves neither refuses nor loses a call.
    pub(super) async fn run(mut self, core: Arc<Core>, closing: watch::Receiver<Closing>) {
        let core = &*core;
        let late = self.take_in(core, closing).await;
        let Self { mut any, mut this, .. } = self;
        stop(&mut any).await;
        stop(&mut this).await;
        // Only now, or NATS could choose this server for it again.
        if let Some(message) = late {
            core.pass_on(message).await;
        }
        {
            let left = left(core);
            tokio::pin!(left);
            loop {
                tokio::select! {
                    Some(message) = any.next() => core.pass_on(message).await,
                    Some(message) = this.next() => core.pass_on(message).await,
                    () = &mut left => break,
                }
            }
        }
        for mut subscriber in [any, this] {
            forget(&mut subscriber).await;
            while let Some(message) = subscriber.next().await {
                core.pass_on(message).await;
            }
        }
    }

    /// Takes calls on until the registration or the server ends; the first one that came too late for it.
    async fn take_in(&mut self, core: &Core, mut closing: watch::Receiver<Closing>) -> Option<Message> {
        let drained = async {
            // A server that is gone is as good as one that drains.
            let _ = closing.wait_for(|closing| *closing >= Closing::Draining).await;
        };
        tokio::pin!(drained);
        loop {
            let message = tokio::select! {
                biased;
                _ = &mut self.unregistered => return None,
                () = &mut drained => return None,
                Some(message) = self.any.next() => message,
                Some(message) = self.this.next() => message,
                else => return None,
            };
            if !core.offer(&message) {
                return Some(message);
            }
            // What came with it needs no look at the rest.
            let mut more = std::iter::from_fn(|| self.any.next().now_or_never().flatten()).take(MESSAGES_A_TURN);
            if let Some(late) = more.find(|message| !core.offer(message)) {
                return Some(late);
            }
        }
    }
}

/// Ends the server's own subscription: what it sent before it knew is still answered.
pub(super) async fn end_own(core: &Core, mut own: Subscriber) {
    stop(&mut own).await;
    {
        let left = left(core);
        tokio::pin!(left);
        loop {
            tokio::select! {
                Some(message) = own.next() => core.take(message),
                () = &mut left => break,
            }
        }
    }
    forget(&mut own).await;
    while let Some(message) = own.next().await {
        core.take(message);
    }
}

/// Tells NATS to send no more. What is on its way still comes.
pub(super) async fn stop(subscriber: &mut Subscriber) {
    // Without a connection nothing more comes anyway.
    let _ = subscriber.unsubscribe_after(AT_ONCE).await;
}

/// Tells the client library that nothing more comes. What has come can still be read.
pub(super) async fn forget(subscriber: &mut Subscriber) {
    // It fails with the connection's end only.
    let _ = subscriber.unsubscribe().await;
}

/// Waits until everything has come that NATS sent before it was told to stop, or until that is not to be had.
pub(super) async fn left(core: &Core) {
    if let Err(error) = core.round_trip(LEAVING).await {
        tracing::warn!(%error, "calls that were on their way to this server may be lost");
    }
}
