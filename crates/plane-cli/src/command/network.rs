//! The manager that the environment and `--request-plane` ask for.

use plane_manager::{Config, NetworkManager, Strictness};

use crate::exit::Failure;

const REQUEST_PLANE: &str = "DYN_REQUEST_PLANE";

/// A manager of this environment, in which the flag takes the place of the variable.
pub(super) fn manager(request_plane: Option<String>) -> Result<NetworkManager, Failure> {
    let Some(mode) = request_plane else { return Ok(NetworkManager::from_env_strict()?) };
    let vars = std::env::vars_os()
        .map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()))
        .filter(|(name, _)| name != REQUEST_PLANE)
        .chain([(REQUEST_PLANE.to_owned(), mode)]);
    let config = Config::from_vars(vars, Strictness::Strict).map_err(|invalid| Failure::usage(invalid.to_string()))?;
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    Ok(NetworkManager::builder().config(config).build()?)
}
