//! Who is at the other side ([`Peer`]), and what it has proven of itself ([`Identity`]).

use std::fmt;
use std::net::IpAddr;

/// The other side of a connection, shared by its calls.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Peer {
    /// Where it is, as the transport shows it: `127.0.0.1:41234`, `unix`, `mem`.
    pub address: String,
    /// What it calls itself: name and version of its implementation. Anybody can call itself anything.
    pub agent: String,
    /// What it has proven.
    pub identity: Identity,
}

impl Peer {
    /// A peer at this address that calls itself this, and has proven nothing.
    pub fn new(address: impl Into<String>, agent: impl Into<String>) -> Self {
        Self { address: address.into(), agent: agent.into(), identity: Identity::Unknown }
    }

    /// The same, having proven this.
    #[must_use]
    pub fn with_identity(mut self, identity: Identity) -> Self {
        self.identity = identity;
        self
    }
}

/// What the other side has proven of itself, as far as its transport can tell.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Identity {
    /// Nothing: TCP without client certificates, and NATS, which knows its users and does not tell.
    #[default]
    Unknown,
    /// It holds the key of a certificate that was verified.
    Certificate(CertificateIdentity),
    /// It is a process of this machine, as the operating system tells: over Unix sockets.
    Process(ProcessIdentity),
    /// It is this process: the in-process transport.
    Own,
}

impl Identity {
    /// What its verified certificate says, if it showed one.
    #[must_use]
    pub fn certificate(&self) -> Option<&CertificateIdentity> {
        match self {
            Self::Certificate(certificate) => Some(certificate),
            _ => None,
        }
    }

    /// Which process of this machine it is, if the operating system tells.
    #[must_use]
    pub fn process(&self) -> Option<&ProcessIdentity> {
        match self {
            Self::Process(process) => Some(process),
            _ => None,
        }
    }
}

/// For messages: the first name of a certificate, or what else there is. Control characters are escaped.
impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("an unknown peer"),
            Self::Certificate(CertificateIdentity { subject, dns, uris, .. }) => {
                let name = uris.first().or(dns.first()).unwrap_or(subject);
                write!(f, "the holder of the certificate \"{}\"", name.escape_debug())
            }
            Self::Process(ProcessIdentity { uid, .. }) => write!(f, "a process of user {uid}"),
            Self::Own => f.write_str("this process"),
        }
    }
}

/// Whom a verified certificate is for. Kinds of names that have no field here are left out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct CertificateIdentity {
    /// Its subject, in the form of RFC 4514: `CN=router,O=Example`. May be empty.
    pub subject: String,
    /// DNS names among its subject alternative names.
    pub dns: Vec<String>,
    /// URIs among them, such as `spiffe://example/router`.
    pub uris: Vec<String>,
    /// Addresses among them.
    pub ips: Vec<IpAddr>,
}

/// A process, as the operating system tells when it connects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProcessIdentity {
    /// Its effective user.
    pub uid: u32,
    /// Its effective group.
    pub gid: u32,
    /// Its id, where the system tells it. It may have ended since, and another may have the id by now.
    pub pid: Option<i32>,
}

impl ProcessIdentity {
    /// A process of this user and group.
    #[must_use]
    pub fn new(uid: u32, gid: u32, pid: Option<i32>) -> Self {
        Self { uid, gid, pid }
    }
}
