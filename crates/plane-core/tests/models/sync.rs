//! What `src/sync.rs` names, in types that let loom try every order of events.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use loom::sync::MutexGuard;
pub(crate) use loom::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

/// A mutex without poison.
#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().expect("no thread of a model panics")
    }
}

/// What tokio promises of its own: whoever holds a `Notified` that was made before `notify_waiters` is woken by it.
#[derive(Debug, Default)]
pub(crate) struct Notify(Mutex<Waiters>);

#[derive(Debug, Default)]
struct Waiters {
    rounds: usize,
    wakers: Vec<Waker>,
}

impl Notify {
    pub(crate) fn notified(&self) -> Notified<'_> {
        Notified { notify: self, since: self.0.lock().rounds }
    }

    pub(crate) fn notify_waiters(&self) {
        let mut waiters = self.0.lock();
        waiters.rounds += 1;
        let wakers = std::mem::take(&mut waiters.wakers);
        drop(waiters);
        wakers.into_iter().for_each(Waker::wake);
    }
}

#[derive(Debug)]
pub(crate) struct Notified<'a> {
    notify: &'a Notify,
    since: usize,
}

impl Future for Notified<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut waiters = self.notify.0.lock();
        if waiters.rounds != self.since {
            return Poll::Ready(());
        }
        waiters.wakers.push(cx.waker().clone());
        Poll::Pending
    }
}
