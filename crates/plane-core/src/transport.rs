//! The seam between what a call is and what carries it: one trait for callers, one for servers.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Instant;

use crate::address::{Address, Transport};
use crate::endpoints::Registration;
use crate::error::Error;
use crate::handler::{BoxFuture, Handler};
use crate::message::{Request, Response};
use crate::name::{EndpointId, InstanceId};
use crate::report::{ClientStats, DrainReport, Health, ServerStats};

/// Makes calls over one transport.
///
/// Object-safe, because the manager hands it out as `Arc<dyn RequestPlaneClient>`.
pub trait RequestPlaneClient: Debug + Send + Sync + 'static {
    /// Makes a call to the instance at `address`. Unary and streaming are the same call.
    ///
    /// Ends when the answer begins: with its headers, its first message or its end. Dropping the future, or the
    /// response before its end, aborts the call.
    ///
    /// # Errors
    /// Any [`ErrorKind`](crate::ErrorKind); [`Error::delivery`] says whether the call may be sent again.
    fn call<'a>(&'a self, address: &'a Address, request: Request) -> BoxFuture<'a, Result<Response, Error>>;

    /// What carries the calls.
    fn transport(&self) -> Transport;

    /// Whether calls can be made now.
    fn health(&self) -> Health;

    /// What was done so far.
    fn stats(&self) -> ClientStats;

    /// Refuses new calls, waits for those in flight until `deadline`, then ends the rest as
    /// [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled).
    fn close(&self, deadline: Instant) -> BoxFuture<'_, DrainReport>;
}

/// Answers calls over one transport, for any number of endpoints.
///
/// Object-safe, because the manager hands it out as `Arc<dyn RequestPlaneServer>`.
pub trait RequestPlaneServer: Debug + Send + Sync + 'static {
    /// Answers calls to this instance of the endpoint from now on: once the future is ready, a call succeeds.
    /// Dropping the [`Registration`] unregisters just this one.
    ///
    /// # Errors
    /// [`ErrorKind::AlreadyExists`](crate::ErrorKind::AlreadyExists) for the same instance twice;
    /// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) while draining.
    fn register<'a>(
        &'a self,
        endpoint: EndpointId,
        instance: InstanceId,
        handler: Arc<dyn Handler>,
    ) -> BoxFuture<'a, Result<Registration, Error>>;

    /// Where the server is, as others reach it.
    fn address(&self) -> Address;

    /// Whether calls can be answered now.
    fn health(&self) -> Health;

    /// What was done so far.
    fn stats(&self) -> ServerStats;

    /// Refuses new calls as [`Delivery::NotExecuted`](crate::Delivery::NotExecuted), waits for those in flight until
    /// `deadline`, then aborts the rest. The server answers nothing afterwards.
    fn drain(&self, deadline: Instant) -> BoxFuture<'_, DrainReport>;
}
