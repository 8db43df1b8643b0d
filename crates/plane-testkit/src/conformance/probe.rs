//! Handlers that tell what they see.

use std::future::pending;
use std::sync::Arc;

use plane_core::{AbortReason, Context, Handler, Response, handler_fn};
use tokio::sync::{Semaphore, mpsc};

/// What a handler saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    Started,
    Aborted(AbortReason),
    /// The handler's future, or the body it answered with, is gone; the context said this then.
    Dropped(Option<AbortReason>),
}

/// Hears what handlers see.
pub(super) struct Probe {
    sender: mpsc::Sender<Seen>,
    receiver: mpsc::Receiver<Seen>,
}

impl Probe {
    pub(super) fn new() -> Self {
        let (sender, receiver) = mpsc::channel(256);
        Self { sender, receiver }
    }

    /// The next thing that a handler saw.
    pub(super) async fn seen(&mut self) -> Seen {
        self.receiver.recv().await.expect("the probe holds a sender itself")
    }

    /// Nothing was seen that was not asked for.
    pub(super) fn assert_quiet(&mut self) {
        assert_eq!(self.receiver.try_recv().ok(), None);
    }

    /// Makes watches, each of which tells what one handler sees.
    pub(super) fn watcher(&self) -> impl Fn(&Context) -> Watch + Clone + Send + Sync + 'static {
        let sender = self.sender.clone();
        move |context| {
            let watch = Watch { sender: sender.clone(), context: context.clone() };
            watch.tell(Seen::Started);
            watch
        }
    }

    /// A handler that waits for its abort and tells of it.
    pub(super) fn hang(&self) -> impl Handler {
        let watcher = self.watcher();
        handler_fn(move |_, context| {
            let watcher = watcher.clone();
            async move {
                let watch = watcher(&context);
                watch.tell(Seen::Aborted(context.aborted().await));
                pending().await
            }
        })
    }

    /// A handler that waits for something else for ever.
    pub(super) fn ignore(&self) -> impl Handler {
        let watcher = self.watcher();
        handler_fn(move |_, context| {
            let watcher = watcher.clone();
            async move {
                let _watch = watcher(&context);
                pending().await
            }
        })
    }

    /// A handler that answers with its request once the gate has a permit for it.
    pub(super) fn gated(&self, gate: &Arc<Semaphore>) -> impl Handler {
        let (watcher, gate) = (self.watcher(), gate.clone());
        handler_fn(move |request, context| {
            let (watcher, gate) = (watcher.clone(), gate.clone());
            async move {
                let _watch = watcher(&context);
                gate.acquire().await.expect("never closed").forget();
                Ok(Response::new(request.body))
            }
        })
    }
}

/// Tells what one handler sees, its end included.
pub(super) struct Watch {
    sender: mpsc::Sender<Seen>,
    context: Context,
}

impl Watch {
    pub(super) fn tell(&self, seen: Seen) {
        // A case that floods its probe finds that out by what is missing.
        let _ = self.sender.try_send(seen);
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.tell(Seen::Dropped(self.context.abort_reason()));
    }
}
