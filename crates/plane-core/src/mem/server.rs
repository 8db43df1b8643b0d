//! The server.

use std::sync::Arc;
use std::time::Instant;

use super::config::MemConfig;
use super::network::{Listener, MemNetwork};
use super::running::Running;
use crate::address::Address;
use crate::context::AbortReason;
use crate::endpoints::{Endpoints, Registration};
use crate::error::Error;
use crate::handler::{BoxFuture, Handler};
use crate::name::{EndpointId, InstanceId};
use crate::report::{DrainReport, Health, ServerStats};
use crate::transport::RequestPlaneServer;

/// Answers calls of the same process, for any number of endpoints at one name.
///
/// Dropping it ends it at once: the name is free again and calls in flight are aborted. [`drain`] it to let them finish.
///
/// [`drain`]: RequestPlaneServer::drain
#[derive(Debug)]
pub struct MemServer {
    network: MemNetwork,
    name: Arc<str>,
    listener: Arc<Listener>,
}

impl MemServer {
    /// A server at `mem://name`.
    ///
    /// # Errors
    /// [`ErrorKind::AlreadyExists`](crate::ErrorKind::AlreadyExists) if the name is taken in this network.
    pub fn bind(network: &MemNetwork, name: &str, config: MemConfig) -> Result<Self, Error> {
        let endpoints = Endpoints::authorized(config.admission, config.authorizer.clone());
        let listener = Arc::new(Listener { endpoints, running: Running::default(), config });
        let name: Arc<str> = name.into();
        network.listen(&name, &listener)?;
        Ok(Self { network: network.clone(), name, listener })
    }
}

impl RequestPlaneServer for MemServer {
    fn register<'a>(
        &'a self,
        endpoint: EndpointId,
        instance: InstanceId,
        handler: Arc<dyn Handler>,
    ) -> BoxFuture<'a, Result<Registration, Error>> {
        let registered = self.listener.endpoints.register(endpoint, instance, self.address(), handler);
        Box::pin(std::future::ready(registered))
    }

    fn address(&self) -> Address {
        Address::Mem(self.name.clone())
    }

    fn health(&self) -> Health {
        if self.listener.endpoints.is_draining() {
            Health::Unavailable("the server is draining".to_owned())
        } else {
            Health::Ready
        }
    }

    fn stats(&self) -> ServerStats {
        self.listener.endpoints.stats()
    }

    fn drain(&self, deadline: Instant) -> BoxFuture<'_, DrainReport> {
        Box::pin(async move {
            let report = self.listener.endpoints.drain(deadline).await;
            self.listener.running.abort_all(AbortReason::Shutdown);
            self.network.leave(&self.name, &self.listener);
            report
        })
    }
}

impl Drop for MemServer {
    fn drop(&mut self) {
        self.network.leave(&self.name, &self.listener);
        self.listener.endpoints.start_draining();
        self.listener.running.abort_all(AbortReason::Shutdown);
    }
}
