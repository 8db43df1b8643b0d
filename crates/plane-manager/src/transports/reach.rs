//! Which instances can be called from here ([`Reach`]).

use plane_core::{Address, Delivery, Error, ErrorKind, Transport};

use crate::config::{Config, DiscoveryConfig, NATS_SERVER, REQUEST_PLANE};

/// Which instances can be called from here: the record of an instance says what it is on, so a wrong pairing is known
/// before anything is dialled.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reach {
    mode: Transport,
    tcp: bool,
    nats: bool,
    mem: bool,
}

impl Reach {
    pub(super) fn new(config: &Config, has_network: bool) -> Self {
        // Without being told of a server, only those whose mode or discovery it is look for NATS.
        let nats = config.mode == Transport::Nats
            || !config.nats.servers.is_empty()
            || matches!(config.discovery, DiscoveryConfig::Nats { .. });
        let nats = cfg!(feature = "nats") && nats;
        Self { mode: config.mode, tcp: cfg!(feature = "tcp"), nats, mem: has_network }
    }

    pub(crate) fn covers(self, address: &Address) -> bool {
        match address.transport() {
            Transport::Tcp => self.tcp,
            Transport::Nats => self.nats,
            Transport::Mem => self.mem,
            _ => false,
        }
    }

    /// Why an instance there cannot be called, and what to set.
    pub(crate) fn refusal(self, address: &Address) -> Error {
        let (its, mine) = (address.transport(), self.mode);
        let way_out = match its {
            Transport::Mem => "only its own process can call it".to_owned(),
            Transport::Nats if cfg!(feature = "nats") => {
                format!("give both sides the same {REQUEST_PLANE}, or set {NATS_SERVER} here to call both kinds")
            }
            its => format!("give both sides the same {REQUEST_PLANE}, or build this side with the feature {its}"),
        };
        let what = format!(
            "the instance at {address} is on {its}, this side is on {mine} ({REQUEST_PLANE}={mine}): {way_out}"
        );
        Error::new(ErrorKind::FailedPrecondition, Delivery::NotSent, what)
    }
}
