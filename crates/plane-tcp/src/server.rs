//! The server.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use plane_core::{
    Address, BoxFuture, DrainReport, EndpointId, Error, Handler, Health, InstanceId, Registration, RequestPlaneServer,
    ServerStats,
};

use crate::config::ServerConfig;

/// Answers calls over TCP or a Unix socket, for any number of endpoints on one listener.
#[derive(Debug)]
pub struct TcpServer {}

impl TcpServer {
    /// Binds the listener. Nothing is accepted until the driver is polled: spawn it.
    ///
    /// # Errors
    /// `Unavailable` naming the address and the system's reason, `InvalidArgument` for a wildcard without an
    /// advertised host.
    pub async fn bind(_config: ServerConfig) -> Result<(Self, ServerDriver), Error> {
        unreachable!()
    }
}

/// Accepts connections and serves them; ends after the server is drained.
#[derive(Debug)]
#[must_use = "nothing is accepted unless the driver is spawned"]
pub struct ServerDriver {}

impl Future for ServerDriver {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }
}

impl RequestPlaneServer for TcpServer {
    fn register<'a>(
        &'a self,
        _endpoint: EndpointId,
        _instance: InstanceId,
        _handler: Arc<dyn Handler>,
    ) -> BoxFuture<'a, Result<Registration, Error>> {
        unreachable!()
    }
    fn address(&self) -> Address {
        unreachable!()
    }
    fn health(&self) -> Health {
        Health::Ready
    }
    fn stats(&self) -> ServerStats {
        ServerStats::default()
    }
    fn drain(&self, _deadline: Instant) -> BoxFuture<'_, DrainReport> {
        unreachable!()
    }
}
