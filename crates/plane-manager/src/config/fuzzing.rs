//! A door for fuzzing, which is there only under `cfg(fuzzing)`: settings as people write them (crates/plane-fuzz).

use std::net::{Ipv4Addr, SocketAddr};

use super::names::KNOWN;
use super::{Config, Strictness};

/// Reads lines of `number value` as the variables with these numbers, and converts what is accepted.
///
/// # Panics
/// If a message shows a control character.
pub fn settings(text: &str) {
    let vars = text.lines().filter_map(|line| {
        let (number, value) = line.split_once(' ')?;
        let number: usize = number.parse().ok()?;
        Some((KNOWN[number % KNOWN.len()].to_owned(), value.to_owned()))
    });
    match Config::from_vars(vars, Strictness::Strict) {
        Ok(mut config) => {
            // Files are read for TLS, and those are not the fuzzer's to choose.
            config.tcp.tls = Default::default();
            let bind = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
            // A transport may look closer, at the host of a URL for instance: then it says so, and that is all.
            let refusals = [
                config.tcp.client_config().err().map(|error| error.to_string()),
                config.tcp.server_config(bind, None).err().map(|error| error.to_string()),
                config.nats.nats_config().err().map(|error| error.to_string()),
            ];
            let is_shown = |refusal: &String| !refusal.is_empty() && !refusal.chars().any(char::is_control);
            assert!(refusals.iter().flatten().all(is_shown), "{refusals:?}");
        }
        Err(invalid) => {
            let shown = invalid.to_string();
            assert!(!shown.is_empty() && shown.lines().count() <= KNOWN.len(), "{shown}");
            assert!(!shown.chars().any(|c| c.is_control() && c != '\n'), "{shown:?}");
        }
    }
}
