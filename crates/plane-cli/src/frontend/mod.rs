//! The OpenAI-compatible HTTP server in front of the workers ([`Frontend`]).
//!
//! # Layout
//! - `calls`: what the calls to workers came to.
//! - `metrics`: what is counted.
//! - `models`: which models there are, and calls to their workers.
//! - `reply`: a worker's answer, checked for its end.
//! - `stream`: a worker's answer as server-sent events.
//! - `routes`: the HTTP routes.

mod calls;
mod metrics;
mod models;
mod reply;
mod routes;
mod stream;

use std::future::Future;
use std::io;
use std::time::Duration;

use axum::Router;
use plane_core::EndpointId;
use plane_manager::NetworkManager;
use tokio::net::TcpListener;

/// How a frontend works.
#[derive(Debug, Clone)]
pub struct FrontendConfig {
    /// Which endpoint the workers serve.
    pub endpoint: EndpointId,
    /// The model of workers that do not say which they serve, as those of a static list do not.
    pub default_model: Option<String>,
    /// How long one request may take as a whole.
    pub request_timeout: Duration,
    /// The largest body of a request, in bytes.
    pub body_limit: usize,
}

/// The OpenAI-compatible HTTP server in front of the workers.
#[derive(Debug)]
pub struct Frontend {
    router: Router,
}

impl Frontend {
    /// A server of the models that workers of `manager`'s discovery serve.
    #[must_use]
    pub fn new(manager: &NetworkManager, config: FrontendConfig) -> Self {
        let FrontendConfig { endpoint, default_model, request_timeout, body_limit } = config;
        let models = models::Models::new(manager, endpoint, default_model);
        let discovery = manager.discovery().clone();
        let metrics = metrics::Metrics::new(manager);
        let app = routes::App { models, discovery, metrics, request_timeout };
        Self { router: routes::router(app, body_limit) }
    }

    /// Answers requests until `shutdown` is ready, then finishes those in flight.
    ///
    /// # Errors
    /// What the listener fails with.
    pub async fn serve(
        self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> io::Result<()> {
        use axum::serve::ListenerExt;
        // A token is smaller than what Nagle's algorithm waits for.
        let listener = listener.tap_io(|stream| {
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "cannot set TCP_NODELAY");
            }
        });
        axum::serve(listener, self.router).with_graceful_shutdown(shutdown).await
    }
}
