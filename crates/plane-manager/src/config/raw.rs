//! The variables as text, before anything is checked.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::problem::{ConfigProblem, ConfigWarning, Findings};

const PREFIX: &str = "DYN_";
const XDG_RUNTIME_DIR: &str = "XDG_RUNTIME_DIR";
const TCP_PREFIX: &str = "DYN_TCP_";

macro_rules! variables {
    ($($field:ident $constant:ident = $name:literal;)*) => {
        /// The variables that are set to something; each field is the name without its prefix, in lower case.
        #[derive(Debug, Default, Deserialize)]
        pub(super) struct Raw {
            $(pub(super) $field: Option<String>,)*
            /// Not ours: where the system wants the files of a user's running programs.
            #[serde(skip)]
            pub(super) xdg_runtime_dir: Option<String>,
        }

        $(pub(crate) const $constant: &str = $name;)*

        /// Every variable that is read.
        pub(super) const KNOWN: &[&str] = &[$($constant),*];
    };
}

variables! {
    request_plane REQUEST_PLANE = "DYN_REQUEST_PLANE";
    tcp_rpc_host TCP_RPC_HOST = "DYN_TCP_RPC_HOST";
    tcp_rpc_port TCP_RPC_PORT = "DYN_TCP_RPC_PORT";
    tcp_max_message_size TCP_MAX_MESSAGE_SIZE = "DYN_TCP_MAX_MESSAGE_SIZE";
    tcp_shrink_message_size TCP_SHRINK_MESSAGE_SIZE = "DYN_TCP_SHRINK_MESSAGE_SIZE";
    tcp_request_timeout TCP_REQUEST_TIMEOUT = "DYN_TCP_REQUEST_TIMEOUT";
    tcp_pool_size TCP_POOL_SIZE = "DYN_TCP_POOL_SIZE";
    tcp_connect_timeout TCP_CONNECT_TIMEOUT = "DYN_TCP_CONNECT_TIMEOUT";
    tcp_channel_buffer TCP_CHANNEL_BUFFER = "DYN_TCP_CHANNEL_BUFFER";
    discovery_backend DISCOVERY_BACKEND = "DYN_DISCOVERY_BACKEND";
    static_instances STATIC_INSTANCES = "DYN_STATIC_INSTANCES";
    discovery_dir DISCOVERY_DIR = "DYN_DISCOVERY_DIR";
}

impl Raw {
    /// Keeps the known variables that are not empty; an unknown one that looks like ours is a warning.
    pub(super) fn read(vars: impl IntoIterator<Item = (String, String)>, findings: &mut Findings) -> Self {
        let mut set = BTreeMap::new();
        let mut xdg_runtime_dir = None;
        for (name, value) in vars {
            let known = KNOWN.iter().copied().find(|known| *known == name);
            match known {
                Some(known) if value.contains(char::REPLACEMENT_CHARACTER) => {
                    findings.refuse(ConfigProblem::new(known, &value, "UTF-8 text"));
                }
                // The last one of a name counts, as in a shell.
                Some(_) if value.trim().is_empty() => drop(set.remove(&name)),
                Some(_) => drop(set.insert(name, value.trim().to_owned())),
                None if name == XDG_RUNTIME_DIR => xdg_runtime_dir = Some(value),
                None if name.starts_with(TCP_PREFIX) => findings.warn(unknown(name)),
                None => {}
            }
        }
        let raw: Self =
            envy::prefixed(PREFIX).from_iter(set).expect("text without duplicate names always fits optional text");
        Self { xdg_runtime_dir, ..raw }
    }
}

fn unknown(name: String) -> ConfigWarning {
    let tcp = KNOWN.iter().copied().filter(|known| known.starts_with(TCP_PREFIX));
    // A name cut to a sane length: the distance takes time in the product of both lengths.
    let beginning: String = name.chars().take(2 * TCP_SHRINK_MESSAGE_SIZE.len()).collect();
    let nearest = tcp.min_by_key(|known| strsim::damerau_levenshtein(known, &beginning)).unwrap_or(TCP_RPC_HOST);
    ConfigWarning::UnknownVariable { name, nearest }
}
