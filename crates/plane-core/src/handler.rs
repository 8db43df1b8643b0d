//! The server-side function from a [`Request`] to a [`Response`].

use std::future::Future;
use std::pin::Pin;

use crate::context::Context;
use crate::message::{Request, Response};
use crate::status::Status;

/// A boxed future, used where a trait must be object-safe: at the transport seam and nowhere else.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A server-side async function from a [`Request`] and its [`Context`] to a [`Response`].
///
/// Object-safe, because a server keeps handlers of many types in one table. A closure becomes one with [`handler_fn`].
///
/// The future may be polled in the task that reads the connection as long as it has been quick so far; one that is
/// pending, or was slow, runs in a task of its own. Code that blocks its thread belongs in `spawn_blocking`.
pub trait Handler: Send + Sync + 'static {
    /// Answers one call.
    fn call(&self, request: Request, context: Context) -> BoxFuture<'static, Result<Response, Status>>;
}

/// A [`Handler`] made of a closure by [`handler_fn`].
#[derive(Debug, Clone)]
pub struct HandlerFn<F>(F);

/// Makes a [`Handler`] of an async closure.
///
/// ```
/// use plane_core::{handler_fn, Context, Request, Response, Status};
/// let echo = handler_fn(|request: Request, _: Context| async move {
///     let message = request.body.message().await.map_err(Status::from)?;
///     Ok(Response::new(message))
/// });
/// # let _: &dyn plane_core::Handler = &echo;
/// ```
pub fn handler_fn<F, Fut>(function: F) -> HandlerFn<F>
where
    F: Fn(Request, Context) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Response, Status>> + Send + 'static,
{
    HandlerFn(function)
}

impl<F, Fut> Handler for HandlerFn<F>
where
    F: Fn(Request, Context) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Response, Status>> + Send + 'static,
{
    fn call(&self, request: Request, context: Context) -> BoxFuture<'static, Result<Response, Status>> {
        Box::pin((self.0)(request, context))
    }
}
