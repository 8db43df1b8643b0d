//! The client.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use super::call::{Call, Terms};
use super::config::MemConfig;
use super::network::{Listener, MemNetwork};
use super::request_body::too_large;
use super::running::Running;
use crate::address::{Address, Transport};
use crate::context::AbortReason;
use crate::endpoints::{Admitted, Outcome};
use crate::error::{Delivery, Error, ErrorKind};
use crate::handler::BoxFuture;
use crate::headers::{HeaderLimits, check_headers};
use crate::ledger::Ledger;
use crate::message::{Request, Response};
use crate::peer::{Identity, Peer};
use crate::report::{ClientStats, DrainReport, Health};
use crate::transport::RequestPlaneClient;

/// Makes calls to the servers of one in-process network.
#[derive(Debug)]
pub struct MemClient {
    network: MemNetwork,
    config: MemConfig,
    peer: Arc<Peer>,
    ledger: Ledger,
    running: Running,
    closed: AtomicBool,
}

impl MemClient {
    /// A client of this network.
    #[must_use]
    pub fn new(network: &MemNetwork, config: MemConfig) -> Self {
        Self {
            network: network.clone(),
            config,
            peer: Arc::new(Peer::new("mem", concat!("plane/", env!("CARGO_PKG_VERSION"))).with_identity(Identity::Own)),
            ledger: Ledger::default(),
            running: Running::default(),
            closed: AtomicBool::new(false),
        }
    }

    /// Everything that can refuse the call before a handler is started.
    fn admit(&self, address: &Address, request: &Request) -> Result<(Arc<Listener>, Admitted, Terms), Error> {
        if self.closed.load(Ordering::Acquire) {
            return Err(Error::new(ErrorKind::Cancelled, Delivery::NotSent, "the client is closed"));
        }
        let Address::Mem(name) = address else {
            let what = format!("the in-process transport cannot reach {address}: it reaches mem://name");
            return Err(Error::new(ErrorKind::InvalidArgument, Delivery::NotSent, what));
        };
        let listener = self.network.find(name)?;
        let terms = self.terms(&listener);
        check_headers(&request.headers, terms.headers)?;
        if let Some(message) = request.body.as_one().filter(|message| message.len() > terms.max_message) {
            return Err(too_large(message.len(), terms.max_message));
        }
        // Tokio's clock, so that virtual time works in tests.
        if request.deadline.is_some_and(|deadline| deadline <= tokio::time::Instant::now().into_std()) {
            let what = "the deadline of the call had passed before it was sent";
            return Err(Error::new(ErrorKind::DeadlineExceeded, Delivery::NotSent, what));
        }
        let admitted = listener
            .endpoints
            .admit(request.endpoint.as_str(), request.instance, &self.peer)
            .map_err(|status| Error::from_status(status, Delivery::NotExecuted))?;
        Ok((listener, admitted, terms))
    }

    /// The lower of both sides' limits.
    fn terms(&self, listener: &Listener) -> Terms {
        let (ours, theirs) = (&self.config, &listener.config);
        Terms {
            max_message: ours.max_message.min(theirs.max_message),
            headers: HeaderLimits {
                count: ours.headers.count.min(theirs.headers.count),
                bytes: ours.headers.bytes.min(theirs.headers.bytes),
            },
            request_timeout: ours.request_timeout,
        }
    }
}

impl RequestPlaneClient for MemClient {
    fn call<'a>(&'a self, address: &'a Address, request: Request) -> BoxFuture<'a, Result<Response, Error>> {
        Box::pin(async move {
            let count = self.ledger.begin();
            let (listener, admitted, terms) = match self.admit(address, &request) {
                Ok(admitted) => admitted,
                Err(error) => {
                    count.finish(Outcome::Failed);
                    return Err(error);
                }
            };
            let call = Call::new(request, self.peer.clone(), terms, admitted, count);
            call.run([&self.running, &listener.running]).await
        })
    }

    fn transport(&self) -> Transport {
        Transport::Mem
    }

    fn health(&self) -> Health {
        if self.closed.load(Ordering::Acquire) {
            Health::Unavailable("the client is closed".to_owned())
        } else {
            Health::Ready
        }
    }

    fn stats(&self) -> ClientStats {
        self.ledger.stats()
    }

    fn close(&self, deadline: Instant) -> BoxFuture<'_, DrainReport> {
        Box::pin(async move {
            self.closed.store(true, Ordering::Release);
            let report = self.running.wait_until_empty(deadline).await;
            self.running.abort_all(AbortReason::Cancelled);
            report
        })
    }
}
