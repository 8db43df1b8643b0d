//! What a server and a client are set to, as files.

use std::path::PathBuf;

/// PEM files that say who this side is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsIdentity {
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
}

impl TlsIdentity {
    /// The certificate, followed by those between it and its root if there are any, and its private key.
    pub fn new(certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        Self { certificate: certificate.into(), key: key.into() }
    }
}

/// How a server speaks TLS. Its address then begins with `tls://`, and it takes no connection without TLS.
///
/// Files that change are read again by the next handshake; connections that are open go on. If the new ones cannot be
/// used, the old ones are, with a warning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsServerConfig {
    pub(super) identity: TlsIdentity,
    pub(super) client_roots: Option<PathBuf>,
}

impl TlsServerConfig {
    /// A server with this identity, for any client.
    #[must_use]
    pub fn new(identity: TlsIdentity) -> Self {
        Self { identity, client_roots: None }
    }

    /// Takes only clients with a certificate that one of the roots in this PEM file has signed (mutual TLS). Without
    /// it, clients are not asked who they are.
    #[must_use]
    pub fn client_roots(mut self, file: impl Into<PathBuf>) -> Self {
        self.client_roots = Some(file.into());
        self
    }
}

/// How a client speaks TLS to the servers at `tls://` addresses. Its files are read again as those of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsClientConfig {
    pub(super) trust: Trust,
    pub(super) identity: Option<TlsIdentity>,
    pub(super) server_name: Option<String>,
    pub(super) required: bool,
}

/// Which servers are believed to be who they say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trust {
    /// Those that a root in this PEM file vouches for.
    Roots(PathBuf),
    /// All.
    Anyone,
    /// None: there is nothing to go by.
    Nobody,
}

impl TlsClientConfig {
    /// A client of servers whose certificate one of the roots in this PEM file has signed.
    ///
    /// The roots of the system are not among them: those sign for anybody, and servers of a plane are one's own.
    pub fn new(roots: impl Into<PathBuf>) -> Self {
        Self::trusting(Trust::Roots(roots.into()))
    }

    /// **Takes every server at its word**: whoever is between this side and the servers can read and change everything.
    /// For trials alone. It is logged whenever a client is set to it, and
    /// [`ClientStats::tls_unverified`](plane_core::ClientStats::tls_unverified) tells of it.
    #[must_use]
    pub fn insecure_skip_verify() -> Self {
        Self::trusting(Trust::Anyone)
    }

    /// A client that trusts no server, for one that has other settings of TLS and no roots: to call a server at a `tls://`
    /// address fails and says what is missing.
    #[must_use]
    pub fn without_roots() -> Self {
        Self::trusting(Trust::Nobody)
    }

    fn trusting(trust: Trust) -> Self {
        Self { trust, identity: None, server_name: None, required: false }
    }

    /// Who this side is to servers that ask.
    #[must_use]
    pub fn identity(mut self, identity: TlsIdentity) -> Self {
        self.identity = Some(identity);
        self
    }

    /// The DNS name or address that the certificate of every server must have; by default the host of its address.
    ///
    /// For servers that are found by addresses that their certificates do not name: give all of them one name more.
    #[must_use]
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.server_name = Some(name.into());
        self
    }

    /// Whether a server at a `tcp://` address is refused; it is not by default. Unix sockets never leave the machine and
    /// are always taken.
    #[must_use]
    pub fn required(mut self, required: bool) -> Self {
        self.required = required;
        self
    }
}
