//! Where a server listens.

use std::net::IpAddr;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_neither_is_refused() {
        for text in ["10.0.0", "10.0.0.256", "1", "a b", "http://x", "10.0.0.1:80", "[eth0]", "x/y", "\u{e9}"] {
            assert_eq!(RpcHost::parse(text), None, "{text}");
        }
    }
}
