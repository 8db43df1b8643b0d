//! `NATS_SERVER`: where NATS is. What could never be connected to is refused here, at the start.

use std::net::{Ipv4Addr, Ipv6Addr};

use percent_encoding::percent_decode_str;

pub(super) const SERVERS: &str = "nats://host:port or tls://host:port, or several of them separated by commas";

/// As in the domain name system, a name and a part of one.
const LONGEST_HOST: usize = 253;
const LONGEST_LABEL: usize = 63;

/// `host:port` is taken for `nats://host:port`, as other programs for NATS do.
pub(super) fn parse_servers(text: &str) -> Option<Vec<String>> {
    let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
    let servers: Vec<(String, &str)> = entries.map(parse_server).collect::<Option<_>>()?;
    let mut users = servers.iter().map(|(_, user)| *user).filter(|user| !user.is_empty());
    // They are one cluster, to which this process is one user.
    let first = users.next();
    let is_one_user = users.all(|user| Some(user) == first);
    (!servers.is_empty() && is_one_user).then(|| servers.into_iter().map(|(url, _)| url).collect())
}

/// The URL, and who it says to log in as.
fn parse_server(text: &str) -> Option<(String, &str)> {
    let (scheme, rest) = text.split_once("://").unwrap_or(("nats", text));
    let (user, place) = rest.rsplit_once('@').unwrap_or(("", rest));
    let (is_host, port) = match place.strip_prefix('[') {
        Some(inner) => {
            let (address, after) = inner.split_once(']')?;
            let port = if after.is_empty() { None } else { Some(after.strip_prefix(':')?) };
            (address.parse::<Ipv6Addr>().is_ok(), port)
        }
        None => {
            let (name, port) = place.split_once(':').map_or((place, None), |(name, port)| (name, Some(port)));
            (is_name(name), port)
        }
    };
    let holds = matches!(scheme, "nats" | "tls") && is_user(user) && is_host && port.is_none_or(is_port);
    holds.then(|| (format!("{scheme}://{rest}"), user))
}

/// A name that a resolver could know, or an IPv4 address.
fn is_name(text: &str) -> bool {
    let is_label = |label: &str| {
        (1..=LONGEST_LABEL).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    let name = text.strip_suffix('.').unwrap_or(text);
    // What ends with a number is an address, not a name.
    let is_number = |label: &str| label.bytes().all(|byte| byte.is_ascii_digit());
    let looks_numeric = name.rsplit('.').next().is_some_and(is_number);
    name.len() <= LONGEST_HOST && name.split('.').all(is_label) && (!looks_numeric || text.parse::<Ipv4Addr>().is_ok())
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok_and(|port| port > 0)
}

/// A user and a password, or a token, as a URL has them: what would end them there is written as `%2F` and the like.
fn is_user(text: &str) -> bool {
    !text.contains(|c: char| c.is_control() || "/?#".contains(c)) && percent_decode_str(text).decode_utf8().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_that_could_be_there_are_accepted() {
        for (text, url) in [
            ("localhost", "nats://localhost"),
            ("nats://10.0.0.1:4222", "nats://10.0.0.1:4222"),
            ("tls://nats_1.eu-west.example.:65535", "tls://nats_1.eu-west.example.:65535"),
            ("nats://[2001:db8::1]:1", "nats://[2001:db8::1]:1"),
            ("[::1]", "nats://[::1]"),
            ("nats://ann:p%40 \u{e9}@h:1", "nats://ann:p%40 \u{e9}@h:1"),
            ("nats://t0ken@h", "nats://t0ken@h"),
        ] {
            assert_eq!(parse_servers(text).as_deref(), Some(&[url.to_owned()][..]), "{text}");
        }
        assert!(parse_servers("ann:x@a,b,ann:x@c").is_some_and(|servers| servers.len() == 3));
    }

    #[test]
    fn hosts_that_cannot_be_are_refused() {
        let long = "x".repeat(64);
        for host in [
            "",
            ".",
            "a..b",
            ".a",
            "a b",
            "a\tb",
            "a\0b",
            "a\u{7f}b",
            "[",
            "]",
            "[]",
            "a]",
            "[a]",
            "[1.2.3.4]",
            "[::1",
            "[::1]x",
            "::1",
            "[fe80::1%eth0]",
            "<h>",
            "a|b",
            "a^b",
            "a%20b",
            "a\\b",
            "\"h\"",
            "$HOST",
            "${HOST}",
            "*",
            "b\u{fc}cher",
            "1",
            "10.0.0",
            "10.0.0.256",
            "4222",
            &long,
            &[&*long; 5].join("."),
        ] {
            for url in [format!("nats://{host}:4222"), format!("tls://{host}"), format!("nats://u:p@{host}:1")] {
                assert_eq!(parse_servers(&url), None, "{url}");
            }
        }
        for url in
            ["nats://h:", "h:+1", "h:1:2", "h:0", "h:65536", "nats://u/x@h", "nats://%ff@h", "nats://u\n@h", "a@b,c@d"]
        {
            assert_eq!(parse_servers(url), None, "{url}");
        }
    }

    /// Every character at every place: what is accepted can be connected to, as far as its form goes.
    #[cfg(feature = "nats")]
    #[test]
    fn the_transport_takes_every_server_that_is_accepted() {
        let mut accepted = 0;
        for c in (0..=0x100).filter_map(char::from_u32) {
            for url in [
                format!("nats://{c}"),
                format!("a{c}b:1"),
                format!("{c}@h"),
                format!("u{c}p:q@h"),
                format!("[:{c}:1]"),
                format!("h:{c}1"),
                format!("{c}tls://h"),
                format!("%{c}0@h,h"),
                format!("u@h,{c}@h"),
            ] {
                let Some(servers) = parse_servers(&url) else { continue };
                accepted += 1;
                plane_nats::NatsConfig::default().servers(&servers).unwrap_or_else(|error| panic!("{url:?}: {error}"));
            }
        }
        assert!(accepted > 500, "{accepted}");
    }
}
