//! Managers as the processes of one machine have them.

use std::path::Path;
use std::time::{Duration, Instant};

use plane_core::{Context, EndpointId, Handler, Request, Response, handler_fn};
use plane_manager::{Config, EndpointClient, NetworkManager, Strictness};
use plane_testkit::nats::NatsServer;
use tempfile::TempDir;

pub(crate) fn endpoint() -> EndpointId {
    "test.backend.generate".parse().unwrap()
}

/// A manager as `from_env_strict` makes it of these variables.
pub(crate) fn manager(vars: &[(&str, &str)]) -> NetworkManager {
    let vars = vars.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let config = Config::from_vars(vars, Strictness::Strict).unwrap();
    NetworkManager::builder().config(config).build().unwrap()
}

/// A NATS server, and a directory in which instances are found.
pub(crate) struct Place {
    pub(crate) nats: NatsServer,
    directory: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { nats: NatsServer::start(), directory: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// A manager of this mode that knows the NATS server.
    pub(crate) fn manager(&self, mode: &str) -> NetworkManager {
        self.with(mode, &[("NATS_SERVER", &self.nats.url())])
    }

    /// A manager of this mode with these variables.
    pub(crate) fn with(&self, mode: &str, more: &[(&str, &str)]) -> NetworkManager {
        let directory = self.directory().to_str().unwrap();
        let vars = [("DYN_REQUEST_PLANE", mode), ("DYN_DISCOVERY_DIR", directory), ("DYN_TCP_RPC_HOST", "127.0.0.1")];
        manager(&[&vars, more].concat())
    }
}

pub(crate) fn named(name: &'static str) -> impl Handler {
    handler_fn(move |_: Request, _: Context| async move { Ok(Response::new(name)) })
}

pub(crate) async fn answer(client: &EndpointClient) -> String {
    let message = client.call("x").await.unwrap().message().await.unwrap();
    String::from_utf8(message.to_vec()).unwrap()
}

pub(crate) fn soon() -> Instant {
    Instant::now() + Duration::from_secs(5)
}
