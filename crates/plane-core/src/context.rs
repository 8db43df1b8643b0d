//! What a handler is given beside the request ([`Context`]), and the transport's side of it ([`Canceller`]).

mod signal;

mod contexts;
pub use contexts::Contexts;

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::{self, Poll};
use std::time::{Duration, Instant};

use crate::context::signal::{ABORTED, STOPPED, Signal};
use crate::name::{EndpointId, InstanceId};
use crate::peer::Peer;
use crate::status::{Code, Status};

/// Why a handler was told to drop its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AbortReason {
    /// The caller dropped the response or its future.
    Cancelled,
    /// The deadline of the call passed.
    DeadlineExceeded,
    /// The connection to the caller was lost.
    Disconnected,
    /// The server shuts down and the time to finish is over.
    Shutdown,
}

impl AbortReason {
    /// What the caller is told, if it still listens.
    #[must_use]
    pub fn status(self) -> Status {
        match self {
            Self::Cancelled => Status::new(Code::CANCELLED, "the caller cancelled the call"),
            Self::DeadlineExceeded => Status::new(Code::DEADLINE_EXCEEDED, "the deadline of the call passed"),
            Self::Disconnected => Status::new(Code::CANCELLED, "the connection to the caller was lost"),
            Self::Shutdown => Status::unavailable("the server shut down before the handler finished"),
        }
    }
}

/// The facts of one call that its handler may ask for.
#[derive(Debug, Clone)]
pub struct CallInfo {
    /// What is called.
    pub endpoint: EndpointId,
    /// Which instance answers.
    pub instance: InstanceId,
    /// Who calls.
    pub peer: Arc<Peer>,
    /// When the call must have ended.
    pub deadline: Option<Instant>,
}

/// What a handler is given beside the request: who calls, how long it may take, and whether it should still go on.
///
/// Clones are the same context; one may be moved into tasks of the handler's own.
#[derive(Clone)]
pub struct Context {
    shared: Arc<Shared>,
}

struct Shared {
    info: CallInfo,
    signal: Signal,
}

const REASONS: [AbortReason; 4] =
    [AbortReason::Cancelled, AbortReason::DeadlineExceeded, AbortReason::Disconnected, AbortReason::Shutdown];

impl Shared {
    fn abort_reason(&self) -> Option<AbortReason> {
        self.signal.level().checked_sub(ABORTED).and_then(|index| REASONS.get(usize::from(index))).copied()
    }
}

impl Context {
    /// A context and the handle that cancels it. Transports make one for each call.
    #[must_use]
    pub fn new(info: CallInfo) -> (Self, Canceller) {
        let shared = Arc::new(Shared { info, signal: Signal::default() });
        (Self { shared: shared.clone() }, Canceller { shared })
    }

    /// What is called.
    #[must_use]
    pub fn endpoint(&self) -> &EndpointId {
        &self.shared.info.endpoint
    }

    /// Which instance answers.
    #[must_use]
    pub fn instance(&self) -> InstanceId {
        self.shared.info.instance
    }

    /// Who calls.
    #[must_use]
    pub fn peer(&self) -> &Peer {
        &self.shared.info.peer
    }

    /// When the call must have ended.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.shared.info.deadline
    }

    /// How much time is left; `None` without a deadline, zero after it.
    #[must_use]
    pub fn remaining(&self) -> Option<Duration> {
        self.deadline().map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    /// Whether the caller asked for an early end, or the call was aborted.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.shared.signal.level() >= STOPPED
    }

    /// Why the call was aborted, if it was.
    #[must_use]
    pub fn abort_reason(&self) -> Option<AbortReason> {
        self.shared.abort_reason()
    }

    /// Waits until the caller asks for an early end (send what you have, then end) or the call is aborted.
    ///
    /// # Cancel safety
    /// May be dropped and called again at any time.
    pub async fn stopped(&self) {
        self.shared.signal.reached(STOPPED).await;
    }

    /// Waits until the call is aborted. The handler is polled once more after that, then its future is dropped.
    ///
    /// # Cancel safety
    /// May be dropped and called again at any time.
    pub async fn aborted(&self) -> AbortReason {
        self.shared.signal.reached(ABORTED).await;
        self.shared.abort_reason().unwrap_or(AbortReason::Cancelled)
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").field("info", &self.shared.info).finish_non_exhaustive()
    }
}

/// The transport's side of a [`Context`]: stops and aborts it, and polls the handler so that both are seen.
#[derive(Clone)]
pub struct Canceller {
    shared: Arc<Shared>,
}

impl Canceller {
    /// Asks the handler for an early, orderly end. After an abort this changes nothing.
    pub fn stop(&self) {
        self.shared.signal.raise(STOPPED);
    }

    /// Tells the handler to drop its work. The first reason stays.
    pub fn abort(&self, reason: AbortReason) {
        let index = REASONS.iter().position(|known| *known == reason).unwrap_or(0);
        self.shared.signal.raise(ABORTED.saturating_add(u8::try_from(index).unwrap_or(0)));
    }

    /// Why the call was aborted, if it was.
    #[must_use]
    pub fn abort_reason(&self) -> Option<AbortReason> {
        self.shared.abort_reason()
    }

    /// Whether an early end was asked for, or the call was aborted.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.shared.signal.level() >= STOPPED
    }

    /// Polls application code: contains its panics, and ends with the abort's status once it is pending after an abort.
    ///
    /// # Errors
    /// [`Code::INTERNAL`] after a panic; the status of the [`AbortReason`] after an abort.
    pub fn poll<T>(
        &self,
        cx: &mut task::Context<'_>,
        poll: impl FnOnce(&mut task::Context<'_>) -> Poll<T>,
    ) -> Poll<Result<T, Status>> {
        match contain_panic(|| poll(cx)) {
            Err(status) => return Poll::Ready(Err(status)),
            Ok(Poll::Ready(value)) => return Poll::Ready(Ok(value)),
            Ok(Poll::Pending) => {}
        }
        self.shared.signal.attend(cx.waker());
        // After the waker is stored, so that an abort between the poll and here is not lost.
        match self.shared.abort_reason() {
            Some(reason) => Poll::Ready(Err(reason.status())),
            None => Poll::Pending,
        }
    }
}

impl fmt::Debug for Canceller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Canceller").field("abort_reason", &self.abort_reason()).finish_non_exhaustive()
    }
}

/// Runs application code that does not wait; its panic becomes [`Code::INTERNAL`].
///
/// # Errors
/// The status of a panic.
pub fn contain_panic<T>(run: impl FnOnce() -> T) -> Result<T, Status> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|panic| {
        let text = panic_text(panic.as_ref()).to_owned();
        // A payload whose own drop panics must not undo the containment.
        std::mem::forget(panic);
        tracing::error!(panic = %text, "code of the application panicked");
        Status::internal(format!("the handler panicked: {text}"))
    })
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    if let Some(text) = panic.downcast_ref::<&'static str>() {
        text
    } else if let Some(text) = panic.downcast_ref::<String>() {
        text
    } else {
        "(no text)"
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, poll_fn};

    use super::*;

    fn context() -> (Context, Canceller) {
        Context::new(CallInfo {
            endpoint: "a.b.c".parse().unwrap(),
            instance: InstanceId::new(1).unwrap(),
            peer: Arc::default(),
            deadline: None,
        })
    }

    /// Case C4: stop, then abort, upgrades; the reverse does not downgrade.
    #[tokio::test]
    async fn stop_upgrades_to_abort_and_never_back() {
        let (context, canceller) = context();
        assert!(!context.is_stopped());
        canceller.stop();
        context.stopped().await;
        assert_eq!(context.abort_reason(), None);
        canceller.abort(AbortReason::DeadlineExceeded);
        canceller.stop();
        canceller.abort(AbortReason::Cancelled);
        assert_eq!(context.aborted().await, AbortReason::DeadlineExceeded);
    }

    #[tokio::test]
    async fn an_abort_wakes_those_who_wait() {
        let (context, canceller) = context();
        let waiting = tokio::spawn(async move { context.aborted().await });
        tokio::task::yield_now().await;
        canceller.abort(AbortReason::Shutdown);
        assert_eq!(waiting.await.unwrap(), AbortReason::Shutdown);
    }

    #[tokio::test]
    async fn an_abort_ends_a_handler_that_waits_for_something_else() {
        let (_context, canceller) = context();
        let runner = canceller.clone();
        let running = tokio::spawn(async move {
            let mut handler = Box::pin(pending::<()>());
            poll_fn(|cx| runner.poll(cx, |cx| handler.as_mut().poll(cx))).await
        });
        tokio::task::yield_now().await;
        canceller.abort(AbortReason::Cancelled);
        assert_eq!(running.await.unwrap().unwrap_err().code(), Code::CANCELLED);
    }

    #[tokio::test]
    async fn a_panic_becomes_internal() {
        let (_context, canceller) = context();
        let ended = poll_fn(|cx| canceller.poll(cx, |_| -> Poll<()> { panic!("boom {}", 7) })).await;
        let status = ended.unwrap_err();
        assert_eq!(status.code(), Code::INTERNAL);
        assert!(status.message().contains("boom 7"));
    }
}
