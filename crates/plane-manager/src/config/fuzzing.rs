//! A door for fuzzing, which is there only under `cfg(fuzzing)`: settings as people write them (crates/plane-fuzz).

use std::net::{Ipv4Addr, SocketAddr};

use super::names::KNOWN;
use super::{Config, Strictness};

/// Reads lines of `number value` as the variables with these numbers, and converts what is accepted.
///
/// # Panics
/// If the transports refuse what the environment accepts, or a message shows a control character.
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
            config.tcp.client_config().expect("a client of what is accepted");
            config.tcp.server_config(bind, None).expect("a server of what is accepted");
            config.nats.nats_config().expect("a connection of what is accepted");
        }
        Err(invalid) => {
            let shown = invalid.to_string();
            assert!(!shown.is_empty() && shown.lines().count() <= KNOWN.len(), "{shown}");
            assert!(!shown.chars().any(|c| c.is_control() && c != '\n'), "{shown:?}");
        }
    }
}
