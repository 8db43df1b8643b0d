//! What a server binds, and what others are told to dial.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use if_addrs::Interface;
use plane_core::{Delivery, Error, ErrorKind};

use crate::config::{RpcHost, TCP_RPC_HOST};

/// What to bind and what to tell others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listening {
    pub(super) bind: SocketAddr,
    /// `None` if the bound address is the one to tell.
    pub(super) advertise: Option<String>,
}

/// Finds what to bind among these interfaces.
///
/// # Errors
/// `InvalidArgument` naming the interfaces that there are, if the one wanted is not among them.
pub(super) fn resolve(host: &RpcHost, port: u16, interfaces: &[Interface]) -> Result<Listening, Error> {
    match host {
        RpcHost::Auto => Ok(at(best(interfaces.iter(), false).unwrap_or_else(|| loopback(interfaces)), port)),
        RpcHost::Address(address) if address.is_unspecified() => {
            let reachable = if address.is_ipv4() {
                best(interfaces.iter().filter(|i| i.ip().is_ipv4()), false)
                    .unwrap_or(Found::ip(Ipv4Addr::LOCALHOST.into()))
            } else {
                // A socket on :: takes connections of both families.
                best(interfaces.iter(), true).unwrap_or(Found::ip(Ipv6Addr::LOCALHOST.into()))
            };
            Ok(Listening { bind: SocketAddr::new(*address, port), advertise: Some(reachable.advertised()) })
        }
        RpcHost::Address(address) => Ok(at(Found::ip(*address), port)),
        RpcHost::Interface(name) => {
            let mine = || interfaces.iter().filter(|interface| interface.name == *name);
            let found = best(mine(), false).or_else(|| mine().next().map(Found::of));
            found.map(|found| at(found, port)).ok_or_else(|| no_such(name, interfaces))
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Found {
    ip: IpAddr,
    /// The interface of a link-local address, which means nothing without it.
    scope: Option<(String, u32)>,
}

impl Found {
    fn ip(ip: IpAddr) -> Self {
        Self { ip, scope: None }
    }

    fn of(interface: &Interface) -> Self {
        let ip = interface.ip();
        let scope = is_link_local(ip).then(|| (interface.name.clone(), interface.index.unwrap_or(0)));
        Self { ip, scope: scope.filter(|_| ip.is_ipv6()) }
    }

    fn advertised(&self) -> String {
        match &self.scope {
            Some((name, _)) => format!("{}%{name}", self.ip),
            None => self.ip.to_string(),
        }
    }
}

fn at(found: Found, port: u16) -> Listening {
    let advertise = found.scope.is_some().then(|| found.advertised());
    let bind = match (found.ip, found.scope) {
        (IpAddr::V6(ip), Some((_, index))) => SocketAddrV6::new(ip, port, 0, index).into(),
        (ip, _) => SocketAddr::new(ip, port),
    };
    Listening { bind, advertise }
}

/// The address that others are likeliest to reach: never loopback; of what is up first, link-local ones last, and of the
/// preferred family first.
fn best<'a>(interfaces: impl Iterator<Item = &'a Interface>, prefer_ipv6: bool) -> Option<Found> {
    let candidates = interfaces.filter(|interface| !interface.is_loopback());
    let rank = |interface: &&Interface| {
        let ip = interface.ip();
        (!interface.is_oper_up(), is_link_local(ip), ip.is_ipv6() != prefer_ipv6)
    };
    candidates.min_by_key(rank).map(Found::of)
}

fn loopback(interfaces: &[Interface]) -> Found {
    let addresses: Vec<IpAddr> = interfaces.iter().filter(|i| i.is_loopback()).map(Interface::ip).collect();
    let only_ipv6 = !addresses.is_empty() && addresses.iter().all(IpAddr::is_ipv6);
    Found::ip(if only_ipv6 { Ipv6Addr::LOCALHOST.into() } else { Ipv4Addr::LOCALHOST.into() })
}

fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

fn no_such(name: &str, interfaces: &[Interface]) -> Error {
    let names: BTreeSet<&str> = interfaces.iter().map(|interface| interface.name.as_str()).collect();
    let names = Vec::from_iter(names).join(", ");
    let what = format!(
        "{TCP_RPC_HOST}=\"{name}\" is neither an address nor a network interface of this host; its interfaces are {names}"
    );
    Error::new(ErrorKind::InvalidArgument, Delivery::NotSent, what)
}

#[cfg(test)]
mod tests {
    use if_addrs::{IfAddr, IfOperStatus, Ifv4Addr, Ifv6Addr};

    use super::*;

    fn wanted(text: &str) -> RpcHost {
        text.parse().map_or_else(|_| RpcHost::Interface(text.to_owned()), RpcHost::Address)
    }

    fn interface(name: &str, ip: &str, status: IfOperStatus) -> Interface {
        let addr = match ip.parse().unwrap() {
            IpAddr::V4(ip) => IfAddr::V4(Ifv4Addr { ip, netmask: Ipv4Addr::BROADCAST, prefixlen: 32, broadcast: None }),
            IpAddr::V6(ip) => {
                IfAddr::V6(Ifv6Addr { ip, netmask: Ipv6Addr::UNSPECIFIED, prefixlen: 64, broadcast: None })
            }
        };
        let is_p2p = false;
        Interface { name: name.to_owned(), addr, index: Some(3), oper_status: status, is_p2p }
    }

    fn host() -> Vec<Interface> {
        [
            ("lo", "127.0.0.1", IfOperStatus::Up),
            ("lo", "::1", IfOperStatus::Up),
            ("bridge0", "172.17.0.1", IfOperStatus::Down),
            ("eth0", "fe80::1", IfOperStatus::Up),
            ("eth0", "fd00::2", IfOperStatus::Up),
            ("eth0", "10.0.0.2", IfOperStatus::Up),
            ("ll0", "fe80::9", IfOperStatus::Up),
        ]
        .map(|(name, ip, status)| interface(name, ip, status))
        .to_vec()
    }

    /// What is bound and what others are told.
    fn resolved(text: &str, interfaces: &[Interface]) -> (String, Option<String>) {
        let found = resolve(&wanted(text), 9000, interfaces).unwrap();
        (found.bind.to_string(), found.advertise)
    }

    #[test]
    fn an_address_an_interface_and_the_wildcards() {
        for (text, bind, advertise) in [
            ("10.0.0.2", "10.0.0.2:9000", None),
            ("fd00::2", "[fd00::2]:9000", None),
            ("::1", "[::1]:9000", None),
            ("eth0", "10.0.0.2:9000", None),
            ("lo", "127.0.0.1:9000", None),
            ("ll0", "[fe80::9%3]:9000", Some("fe80::9%ll0")),
            ("0.0.0.0", "0.0.0.0:9000", Some("10.0.0.2")),
            ("::", "[::]:9000", Some("fd00::2")),
        ] {
            assert_eq!(resolved(text, &host()), (bind.to_owned(), advertise.map(str::to_owned)), "{text}");
        }
    }

    #[test]
    fn the_detected_address_can_be_reached_by_others() {
        let found = |interfaces: &[Interface]| resolve(&RpcHost::Auto, 0, interfaces).unwrap().bind.ip().to_string();
        assert_eq!(found(&host()), "10.0.0.2");
        assert_eq!(found(&host()[..3]), "172.17.0.1");
        assert_eq!(found(&host()[..2]), "127.0.0.1");
        assert_eq!(found(&[]), "127.0.0.1");
    }

    /// Case A18: a host with IPv6 only.
    #[test]
    fn a_host_without_ipv4() {
        let host: Vec<Interface> = host().into_iter().filter(|interface| interface.ip().is_ipv6()).collect();
        let bind = |interfaces: &[Interface]| resolve(&RpcHost::Auto, 1, interfaces).unwrap().bind.to_string();
        assert_eq!(bind(&host), "[fd00::2]:1");
        assert_eq!(bind(&host[..1]), "[::1]:1");
        assert_eq!(resolved("::", &host[..1]).1.as_deref(), Some("::1"));
    }

    #[test]
    fn a_dual_stack_wildcard_on_a_host_without_ipv6() {
        let host: Vec<Interface> = host().into_iter().filter(|interface| interface.ip().is_ipv4()).collect();
        assert_eq!(resolved("::", &host).1.as_deref(), Some("10.0.0.2"));
    }

    #[test]
    fn an_interface_that_is_not_there() {
        let error = resolve(&wanted("eth7"), 0, &host()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert!(["eth7", "bridge0", "eth0", "ll0", "lo"].iter().all(|name| error.message().contains(name)), "{error}");
    }
}
