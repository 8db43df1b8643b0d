//! Who reads the inbox ([`Inbox`]): a task for all calls, or the caller itself while its call is the only one.
//!
//! An answer that wakes the task and then the caller costs two wake-ups, which is most of what a lone call costs beyond
//! the exchange itself. So a lone caller reads for itself. The task takes over as soon as there is a second call, or the
//! caller does not wait any more; whoever polls last is the one that is woken.
//!
//! **Invariant:** while a caller may be the one that is woken, the routes have a note of it, and whoever takes that note
//! back wakes the task or is the task. A note that is taken back in silence leaves every call unheard.

use std::task::{Context, Poll, ready};

use async_nats::Subscriber;
use futures_util::StreamExt;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::routes::Routes;
use crate::controls::Controls;

/// Where all answers of a client come to.
///
/// Messages are taken in under its lock, so that those of one call keep their order whoever reads.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    subscriber: Mutex<Option<Subscriber>>,
    /// Rung when the task has to read again.
    bell: Notify,
}

impl Inbox {
    pub(super) fn open(&self, subscriber: Subscriber) {
        *self.subscriber.lock() = Some(subscriber);
    }

    /// Hears nothing any more.
    pub(super) fn close(&self) {
        *self.subscriber.lock() = None;
    }

    /// Reads until the subscription ends.
    pub(super) async fn read(&self, routes: &Routes, controls: &Controls) {
        loop {
            let reading = std::future::poll_fn(|cx| {
                let mut subscriber = self.subscriber.lock();
                routes.hear_together();
                take_all(&mut subscriber, cx, routes, controls)
            });
            tokio::select! {
                biased;
                () = self.bell.notified() => {}
                () = reading => return,
            }
        }
    }

    /// Reads for a caller that waits for its answer, if its call is the only one. It is woken by the next message then.
    pub(super) fn poll_alone(&self, cx: &mut Context<'_>, routes: &Routes, controls: &Controls) {
        // If the task is reading, it goes on to do so.
        let Some(mut subscriber) = self.subscriber.try_lock() else { return };
        // A caller that is not alone any more may be the one that was woken for what has come.
        if !routes.hear_alone() || take_all(&mut subscriber, cx, routes, controls).is_ready() {
            self.give_back(routes);
        }
    }

    /// Lets the task read again if a caller did.
    pub(super) fn give_back(&self, routes: &Routes) {
        if routes.hear_together() {
            self.bell.notify_one();
        }
    }
}

/// Takes in what has come; ready when nothing comes any more.
fn take_all(
    subscriber: &mut Option<Subscriber>,
    cx: &mut Context<'_>,
    routes: &Routes,
    controls: &Controls,
) -> Poll<()> {
    let Some(subscriber) = subscriber else { return Poll::Ready(()) };
    while let Some(message) = ready!(subscriber.poll_next_unpin(cx)) {
        routes.take(message, controls);
    }
    Poll::Ready(())
}
