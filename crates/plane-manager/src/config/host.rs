//! Where a server listens, and what it tells others to dial.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use if_addrs::Interface;

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RpcHost {
    /// The first address of this host that others can reach; the loopback address if there is none.
    Auto,
    /// This address. `0.0.0.0` and `::` listen on all and tell others one that they can reach.
    Address(IpAddr),
    /// The address of the network interface of this name.
    Interface(String),
}

impl RpcHost {
    pub(super) const ACCEPTED: &str =
        "an IPv4 or IPv6 address of this host, the name of one of its network interfaces (eth0), 0.0.0.0 or ::";

    pub(super) fn parse(text: &str) -> Option<Self> {
        let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
        if let Ok(address) = bare.parse() {
            return Some(Self::Address(address));
        }
        // What systems accept as the name of an interface; whether it exists is known when a server starts.
        let named = text.len() <= 64 && text.chars().all(|c| c.is_ascii_alphanumeric() || "_-.@".contains(c));
        let looks_numeric = text.chars().all(|c| c.is_ascii_digit() || c == '.');
        (named && !looks_numeric).then(|| Self::Interface(text.to_owned()))
    }
}

/// What to bind and what to tell others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listening {
    pub(crate) bind: SocketAddr,
    /// `None` if the bound address is the one to tell.
    pub(crate) advertise: Option<String>,
}

/// Finds what to bind among these interfaces.
///
/// # Errors
/// The names of the interfaces that there are, if the one wanted is not among them.
pub(crate) fn resolve(host: &RpcHost, port: u16, interfaces: &[Interface]) -> Result<Listening, Vec<String>> {
    match host {
        RpcHost::Auto => Ok(at(best(interfaces, |_| true).unwrap_or_else(|| loopback(interfaces)), port)),
        RpcHost::Address(address) if address.is_unspecified() => {
            // A socket on 0.0.0.0 takes no IPv6 connection, one on :: may take both.
            let reachable = if address.is_ipv4() {
                best(interfaces, |found| found.ip.is_ipv4()).unwrap_or(Found::ip(Ipv4Addr::LOCALHOST.into()))
            } else {
                best(interfaces, |found| found.ip.is_ipv6()).unwrap_or(Found::ip(Ipv6Addr::LOCALHOST.into()))
            };
            let bind = SocketAddr::new(*address, port);
            Ok(Listening { bind, advertise: Some(reachable.advertised()) })
        }
        RpcHost::Address(address) => Ok(at(Found::ip(*address), port)),
        RpcHost::Interface(name) => {
            let mine: Vec<Interface> = interfaces.iter().filter(|i| i.name == *name).cloned().collect();
            let found = best(&mine, |_| true).or_else(|| mine.first().map(Found::of));
            found.map(|found| at(found, port)).ok_or_else(|| names(interfaces))
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

/// The address that others are likeliest to reach: IPv4 before IPv6, link-local ones last, loopback never.
fn best(interfaces: &[Interface], wanted: impl Fn(&Found) -> bool) -> Option<Found> {
    let candidates = interfaces.iter().filter(|interface| !interface.is_loopback()).map(Found::of).filter(wanted);
    candidates.min_by_key(|found| (is_link_local(found.ip), found.ip.is_ipv6()))
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

fn names(interfaces: &[Interface]) -> Vec<String> {
    let mut names: Vec<String> = interfaces.iter().map(|interface| interface.name.clone()).collect();
    names.sort();
    names.dedup();
    names
}
