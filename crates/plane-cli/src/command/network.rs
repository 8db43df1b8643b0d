//! The manager that the environment and `--request-plane` ask for.

use plane_core::Transport;
use plane_manager::{Config, NetworkManager, Strictness};

use crate::exit::Failure;

/// Reads the name of a request plane.
pub(super) fn request_plane(name: &str) -> Result<Transport, String> {
    match name.to_ascii_lowercase().as_str() {
        "tcp" => Ok(Transport::Tcp),
        "nats" => Ok(Transport::Nats),
        _ => Err("Invalid request plane mode; use tcp or nats".to_owned()),
    }
}

/// A manager of this environment, in which the flag takes the place of the variable.
pub(super) fn manager(request_plane: Option<Transport>) -> Result<NetworkManager, Failure> {
    let strictness = if request_plane.is_some() { Strictness::Lenient } else { Strictness::Strict };
    let mut config = Config::from_env(strictness).map_err(|invalid| Failure::usage(invalid.to_string()))?;
    config.mode = request_plane.unwrap_or(config.mode);
    NetworkManager::builder().config(config).build().map_err(|error| Failure::at_start(&error))
}
