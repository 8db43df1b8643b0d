//! `plane frontend`

use std::io;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use plane_core::EndpointId;
use plane_manager::NetworkManager;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::exit::{Exit, Failure};
use crate::frontend::{Frontend, FrontendConfig};
use crate::signals::Signals;
use crate::stderr::say;
use crate::units;

/// Serves an OpenAI-compatible HTTP interface in front of all workers of an endpoint.
///
/// Routes: POST /v1/chat/completions, POST /v1/completions, GET /v1/models, GET /health, GET /metrics.
#[derive(Debug, Args)]
pub(super) struct FrontendArgs {
    /// Address to listen on; 0.0.0.0 for all of this machine.
    #[arg(long, value_name = "IP", default_value = "127.0.0.1")]
    http_host: IpAddr,
    /// Port to listen on; 0 lets the system choose, the line that begins with "ready" tells which.
    #[arg(long, value_name = "PORT", default_value_t = 8000)]
    http_port: u16,
    /// Endpoint that the workers serve.
    #[arg(long, default_value = super::DEFAULT_ENDPOINT)]
    endpoint: EndpointId,
    /// Model of workers that do not say which they serve, as those in DYN_STATIC_INSTANCES do not.
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    default_model: Option<String>,
    /// Time that one request may take as a whole.
    #[arg(long, default_value = "10m", value_name = "DURATION", value_parser = units::timeout)]
    request_timeout: Duration,
    /// Largest body of a request.
    #[arg(long, default_value = "8MiB", value_name = "SIZE", value_parser = units::bytes)]
    body_limit: usize,
    /// Time that requests in flight may take to finish after Ctrl-C or SIGTERM. A second signal ends at once.
    #[arg(long, default_value = "30s", value_name = "DURATION", value_parser = units::duration)]
    drain_timeout: Duration,
}

/// What clients whose answers were broken off may take to read why.
const LAST_WORDS: Duration = Duration::from_secs(1);

pub(super) async fn run(args: FrontendArgs, manager: &NetworkManager) -> Result<(), Failure> {
    if manager.config().nats.store.is_some() {
        let what = "DYN_NATS_DELIVERY=jetstream stores requests for whoever takes them, and a frontend asks workers of a \
                    model that answer at once: unset it for the frontend";
        return Err(Failure::usage(what));
    }
    let mut signals = Signals::listen()?;
    let listener = listen(args.http_host, args.http_port).await?;
    let address = listener.local_addr().map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
    let FrontendArgs { endpoint, default_model, request_timeout, body_limit, drain_timeout, .. } = args;
    let frontend = Frontend::new(manager, FrontendConfig { endpoint, default_model, request_timeout, body_limit });
    let (stop, stopped) = oneshot::channel::<()>();
    // A dropped sender stops it as well.
    let mut serving = std::pin::pin!(frontend.serve(listener, async { drop(stopped.await) }));
    say(format_args!("ready: frontend at http://{address}"));
    tokio::select! {
        ended = &mut serving => return ended.map_err(|error| Failure::new(Exit::Failed, error.to_string())),
        () = signals.next() => tracing::info!(?drain_timeout, "draining; a second signal ends at once"),
    }
    let deadline = Instant::now() + drain_timeout;
    drop(stop);
    signals.unless(drain(manager, serving, deadline)).await
}

/// Lets requests in flight finish until `deadline`, then aborts their calls and tells their clients.
async fn drain(manager: &NetworkManager, mut serving: impl Future<Output = io::Result<()>> + Unpin, deadline: Instant) {
    let is_late = tokio::time::timeout_at(deadline.into(), &mut serving).await.is_err();
    if is_late {
        tracing::warn!("requests were still in flight at the end of --drain-timeout; they are broken off");
    }
    manager.drain(deadline).await;
    if is_late {
        // A client that does not read what it is told is not waited for.
        let _ = tokio::time::timeout(LAST_WORDS, serving).await;
    }
}

async fn listen(host: IpAddr, port: u16) -> Result<TcpListener, Failure> {
    TcpListener::bind((host, port)).await.map_err(|error| {
        let what = format!("cannot listen on {host} port {port} (--http-host, --http-port): {error}");
        Failure::usage(what)
    })
}
