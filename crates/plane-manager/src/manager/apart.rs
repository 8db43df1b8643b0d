//! Handlers that run on a runtime of their own, so that one that keeps its thread keeps no connection waiting.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context as Waking, Poll};
use std::time::{Duration, Instant};

use plane_core::{BoxFuture, Context, EndpointId, Handler, Request, Response, Status};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

/// A handler that keeps its thread for longer than this is named in the log.
const LONG: Duration = Duration::from_secs(1);

/// A handler and where it runs.
pub(super) struct Apart {
    runtime: Handle,
    handler: Arc<dyn Handler>,
}

impl Apart {
    pub(super) fn new(runtime: Handle, handler: Arc<dyn Handler>) -> Self {
        Self { runtime, handler }
    }
}

impl Handler for Apart {
    fn call(&self, request: Request, context: Context) -> BoxFuture<'static, Result<Response, Status>> {
        let (handler, endpoint) = (self.handler.clone(), context.endpoint().clone());
        let work = async move { handler.call(request, context).await };
        let running = Running(self.runtime.spawn(Timed { endpoint, work: Box::pin(work) }));
        Box::pin(running)
    }
}

/// Waits for the handler, which ends with this.
struct Running(JoinHandle<Result<Response, Status>>);

impl Future for Running {
    type Output = Result<Response, Status>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Waking<'_>) -> Poll<Self::Output> {
        pin!(&mut self.0).poll(cx).map(|joined| match joined {
            Ok(answered) => answered,
            Err(error) => match error.try_into_panic() {
                // The transport makes of it what it makes of any handler's panic.
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => Err(Status::unavailable("the runtime of the handlers was shut down")),
            },
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Tells of a handler that keeps its thread.
struct Timed {
    endpoint: EndpointId,
    work: BoxFuture<'static, Result<Response, Status>>,
}

impl Future for Timed {
    type Output = Result<Response, Status>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Waking<'_>) -> Poll<Self::Output> {
        let began = Instant::now();
        let polled = self.work.as_mut().poll(cx);
        let took = began.elapsed();
        if took > LONG {
            tracing::warn!(endpoint = %self.endpoint, ?took, "a handler kept its thread; move what blocks to spawn_blocking");
        }
        polled
    }
}
