//! Where an instance is ([`Address`]), over which [`Transport`], and the record that says so ([`Instance`]).

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::name::{EndpointId, InstanceId};

/// What carries a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Transport {
    /// Byte streams: TCP, with or without TLS, and Unix sockets.
    Tcp,
    /// A NATS server.
    Nats,
    /// The caller's own process.
    Mem,
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Nats => "nats",
            Self::Mem => "mem",
        })
    }
}

/// Where an instance is: `tcp://host:port`, `tls://host:port`, `unix:///path`, `nats://subject` or `mem://name`.
///
/// The scheme is what tells a caller to speak TLS: a record of an instance needs nothing beside it.
///
/// An IPv6 host stands in brackets: `tcp://[::1]:9000`. Cloning is one atomic increment.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[non_exhaustive]
pub enum Address {
    /// A TCP listener. The host is a name or an address, without brackets.
    Tcp {
        /// Host name, IPv4 or IPv6 address.
        host: Arc<str>,
        /// Port, never zero.
        port: u16,
    },
    /// A TCP listener that speaks TLS and nothing else.
    Tls {
        /// Host name, IPv4 or IPv6 address.
        host: Arc<str>,
        /// Port, never zero.
        port: u16,
    },
    /// A Unix socket.
    Unix(Arc<Path>),
    /// The subject that a NATS instance listens on.
    Nats(Arc<str>),
    /// A server of this process.
    Mem(Arc<str>),
}

impl Address {
    /// The transport that reaches this address.
    #[must_use]
    pub fn transport(&self) -> Transport {
        match self {
            Self::Tcp { .. } | Self::Tls { .. } | Self::Unix(_) => Transport::Tcp,
            Self::Nats(_) => Transport::Nats,
            Self::Mem(_) => Transport::Mem,
        }
    }

    /// The address of a TCP listener, as [`SocketAddr`](std::net::SocketAddr) shows it.
    #[must_use]
    pub fn tcp(address: std::net::SocketAddr) -> Self {
        Self::Tcp { host: address.ip().to_string().into(), port: address.port() }
    }

    /// The address of a Unix socket. The path must be absolute and UTF-8 to be written down and read back.
    #[must_use]
    pub fn unix(path: impl Into<PathBuf>) -> Self {
        Self::Unix(path.into().into())
    }

    /// The address of an in-process server.
    #[must_use]
    pub fn mem(name: &str) -> Self {
        Self::Mem(name.into())
    }
}

impl FromStr for Address {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        let refuse = |problem: &'static str| InvalidAddress { text: text.escape_debug().take(256).collect(), problem };
        let (scheme, rest) = text.split_once("://").ok_or_else(|| refuse("has no scheme"))?;
        if rest.is_empty() || rest.chars().any(|c| c.is_control() || c == ' ') {
            return Err(refuse("is empty or has a space or control character after the scheme"));
        }
        match scheme {
            "tcp" | "tls" => {
                let (host, port) =
                    parse_host_port(rest).ok_or_else(|| refuse("is not host:port with a port of 1 to 65535"))?;
                Ok(if scheme == "tls" { Self::Tls { host, port } } else { Self::Tcp { host, port } })
            }
            "unix" if rest.starts_with('/') => Ok(Self::unix(rest)),
            "unix" => Err(refuse("is not an absolute path")),
            "nats" => Ok(Self::Nats(rest.into())),
            "mem" => Ok(Self::Mem(rest.into())),
            _ => Err(refuse("has an unknown scheme")),
        }
    }
}

fn parse_host_port(text: &str) -> Option<(Arc<str>, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let port: u16 = port.parse().ok().filter(|port| *port != 0)?;
    let host = match host.strip_prefix('[') {
        // A scope id (fe80::1%eth0) belongs to the address and is left to the resolver.
        Some(inner) => inner.strip_suffix(']').filter(|inner| inner.contains(':'))?,
        None => Some(host).filter(|host| !host.is_empty() && !host.contains([':', '/', '[', ']', '@']))?,
    };
    Some((host.into(), port))
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } => write_host_port(f, "tcp", host, *port),
            Self::Tls { host, port } => write_host_port(f, "tls", host, *port),
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Nats(subject) => write!(f, "nats://{subject}"),
            Self::Mem(name) => write!(f, "mem://{name}"),
        }
    }
}

fn write_host_port(f: &mut fmt::Formatter<'_>, scheme: &str, host: &str, port: u16) -> fmt::Result {
    if host.contains(':') { write!(f, "{scheme}://[{host}]:{port}") } else { write!(f, "{scheme}://{host}:{port}") }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}

impl TryFrom<String> for Address {
    type Error = InvalidAddress;

    fn try_from(text: String) -> Result<Self, InvalidAddress> {
        text.parse()
    }
}

impl From<Address> for String {
    fn from(address: Address) -> Self {
        address.to_string()
    }
}

/// Text that is no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the address \"{text}\" {problem}; accepted are tcp://host:port, tcp://[ipv6]:port, the same with \
     tls://, unix:///path, nats://subject and mem://name"
)]
pub struct InvalidAddress {
    text: String,
    problem: &'static str,
}

/// One live server of an endpoint and where it is: what discovery stores.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// What it answers.
    pub endpoint: EndpointId,
    /// Which one it is.
    pub id: InstanceId,
    /// Where it is; its scheme tells the transport.
    pub address: Address,
    /// What else its owner wants callers to know, for example the model that it serves.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_read_back_as_they_are_shown() {
        for text in [
            "tcp://localhost:9000",
            "tcp://10.0.0.1:1",
            "tcp://[::1]:65535",
            "tls://worker.internal:9000",
            "tls://[::1]:9000",
            "unix:///run/p.sock",
            "nats://a.b",
            "mem://x",
        ] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn text_that_is_no_address_is_refused() {
        for text in [
            "",
            "localhost:9000",
            "tcp://",
            "tcp://host",
            "tcp://host:0",
            "tcp://host:99999",
            "tcp://:80",
            "tcp://::1:80",
            "tcp://[::1]",
            "tcp://[host]:80",
            "tcp://user@host:80",
            "tls://host:0",
            "tls:///path",
            "unix://relative",
            "http://host:80",
            "mem://",
            "mem://a b",
            "nats://a\r\nb",
        ] {
            assert!(text.parse::<Address>().is_err(), "{text:?}");
        }
    }
}
