//! Managers as programs of one machine have them.

use std::path::Path;
use std::time::{Duration, Instant};

use plane_core::{Context, EndpointId, Handler, Request, Response, handler_fn};
use plane_manager::{Config, EndpointClient, NetworkManager, NetworkManagerBuilder, Strictness};

pub(crate) fn endpoint() -> EndpointId {
    "test.backend.generate".parse().unwrap()
}

/// A manager as `from_env_strict` makes it of these variables.
pub(crate) fn manager(vars: &[(&str, &str)]) -> NetworkManager {
    builder(vars).build().unwrap()
}

pub(crate) fn builder(vars: &[(&str, &str)]) -> NetworkManagerBuilder {
    let vars = vars.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    NetworkManager::builder().config(Config::from_vars(vars, Strictness::Strict).unwrap())
}

/// The variables of a process that shares this directory and stays on this machine.
pub(crate) fn local(directory: &Path) -> [(&str, &str); 2] {
    [("DYN_TCP_RPC_HOST", "127.0.0.1"), ("DYN_DISCOVERY_DIR", directory.to_str().unwrap())]
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
