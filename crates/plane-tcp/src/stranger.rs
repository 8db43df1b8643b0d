//! Peers that speak something else: what their first bytes look like.

#[cfg(any(feature = "tls", test))]
use plane_core::frame::PREFACE;

/// Which side speaks, for what is said of a wrong peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Speaker {
    Dialler,
    Listener,
}

/// Whether these bytes begin a connection of this protocol, without TLS.
#[cfg(any(feature = "tls", test))]
pub(crate) fn begins_plane(bytes: &[u8]) -> bool {
    let known = bytes.len().min(PREFACE.len() - 1);
    known > 0 && bytes[..known] == PREFACE[..known]
}

/// Whether these bytes begin a TLS connection.
pub(crate) fn begins_tls(bytes: &[u8]) -> bool {
    matches!(bytes, [0x16] | [0x16, 0x03, ..])
}

/// Whether these bytes are what a TLS server says to somebody who does not speak TLS.
pub(crate) fn is_tls_alert(bytes: &[u8]) -> bool {
    matches!(bytes, [0x15, 0x03, ..])
}

/// What the first bytes of a stranger look like.
pub(crate) fn looks_like(bytes: &[u8]) -> &'static str {
    const HTTP: [&[u8]; 9] =
        [b"GET ", b"POST ", b"PUT ", b"HEAD ", b"DELETE ", b"OPTIONS ", b"PATCH ", b"CONNECT /", b"HTTP/"];
    let begins = |with: &[u8]| bytes.starts_with(with) || (!bytes.is_empty() && with.starts_with(bytes));
    match bytes {
        _ if begins(b"CONNECT {") => "a NATS client",
        _ if begins(b"INFO {") => "a NATS server (its clients set DYN_REQUEST_PLANE=nats)",
        _ if begins(b"PRI * HTTP/2") => "HTTP/2",
        _ if HTTP.iter().any(|method| begins(method)) => "HTTP",
        _ if begins_tls(bytes) => "TLS",
        _ if is_tls_alert(bytes) => "a TLS alert",
        _ if begins(b"SSH-") => "SSH",
        _ if bytes.iter().all(|b| b.is_ascii_graphic() || b.is_ascii_whitespace()) => "a text protocol",
        _ => "none of the protocols known here",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Case A4 and threat A28: strangers are recognised in their first bytes.
    #[test]
    fn strangers_are_recognised() {
        for (bytes, expected) in [
            (&b"GET / HTTP/1.1\r\n"[..], "HTTP"),
            (b"HTTP/1.1 400 Bad Request\r\n", "HTTP"),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HTTP/2"),
            (b"\x16\x03\x01\x02\x00\x01", "TLS"),
            (b"\x16", "TLS"),
            (b"CONNECT {\"verbose\":false}", "a NATS client"),
            (b"INFO {\"server_id\":", "a NATS server (its clients set DYN_REQUEST_PLANE=nats)"),
            (b"SSH-2.0-OpenSSH_9.2", "SSH"),
            (b"hello there", "a text protocol"),
            (b"\x00\x01\xff\x80", "none of the protocols known here"),
        ] {
            assert_eq!(looks_like(bytes), expected, "{}", bytes.escape_ascii());
            assert!(!begins_plane(bytes));
        }
        assert!(begins_plane(b"P") && begins_plane(b"PLANE\0\0\x01\0") && !begins_plane(b""));
    }
}
