//! The dialler's side of a handshake.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use plane_core::{Delivery, Error, ErrorKind, Health, Refusal};
use rustls::client::danger::ServerCertVerifier;
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::pki_types::ServerName;
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, ClientConnection};
use tokio::net::TcpStream;

use super::config::Trust;
use super::explain::{OTHER_PROTOCOL, explain};
use super::files::{self, Role};
use super::reload::Reloading;
use super::session::Session;
use super::unverified::Unverified;
use super::{ALPN, TlsClientConfig};
use crate::failure::Failure;
use crate::stranger::Speaker;

/// Speaks TLS as a client.
#[derive(Debug)]
pub(crate) struct Connector {
    source: TlsClientConfig,
    name: Option<ServerName<'static>>,
    config: Reloading<ClientConfig>,
}

impl PartialEq for Connector {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Eq for Connector {}

impl Connector {
    /// # Errors
    /// `InvalidArgument` naming the variable and what cannot be used.
    pub(crate) fn new(source: TlsClientConfig) -> Result<Self, Error> {
        let name = source.server_name.as_deref().map(parse_name).transpose().map_err(|name| {
            let what = format!("DYN_TCP_TLS_SERVER_NAME: {:?} is neither a DNS name nor an address", name);
            Error::new(ErrorKind::InvalidArgument, Delivery::NotSent, what)
        })?;
        let mut files: Vec<PathBuf> = Vec::new();
        if let Trust::Roots(roots) = &source.trust {
            files.push(roots.clone());
        }
        if let Some(identity) = &source.identity {
            files.extend([identity.certificate.clone(), identity.key.clone()]);
        }
        let from = source.clone();
        let config = Reloading::new(files, move || load(&from))?;
        if source.trust == Trust::Anyone {
            tracing::warn!(
                "TLS without verification (DYN_TCP_TLS_INSECURE_SKIP_VERIFY): whoever is between this side and its \
                 servers can read and change everything"
            );
        }
        Ok(Self { source, name, config })
    }

    /// Whether every server is taken at its word.
    pub(crate) fn is_unverified(&self) -> bool {
        self.source.trust == Trust::Anyone
    }

    /// Whether servers without TLS are refused.
    pub(crate) fn is_required(&self) -> bool {
        self.source.required
    }

    /// Degraded while the files that are there are not those that are used.
    pub(crate) fn health(&self) -> Health {
        self.config.health()
    }

    /// Shakes hands with the server at this host.
    ///
    /// # Cancel safety
    /// The connection is closed.
    pub(crate) async fn connect(&self, host: &str, stream: TcpStream) -> Result<Session, Failure> {
        let name = match &self.name {
            Some(name) => name.clone(),
            None => parse_name(host).map_err(|host| {
                let what = format!("{host:?} is no name that a certificate can have; set DYN_TCP_TLS_SERVER_NAME");
                Failure::new(ErrorKind::InvalidArgument, what)
            })?,
        };
        let tls = ClientConnection::new(self.config.current(), name);
        let tls = tls.map_err(|error| Failure::new(ErrorKind::Internal, format!("cannot speak TLS: {error}")))?;
        let session = Session::new(stream, tls);
        session.handshake().await.map_err(|error| lost(&error))?;
        if !session.has_alpn(ALPN) {
            return Err(Failure::new(ErrorKind::Protocol, OTHER_PROTOCOL).because(Refusal::Tls));
        }
        Ok(session)
    }

    /// Why nothing can be called over TLS with these settings.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        if self.source.trust == Trust::Nobody { Err(without_roots()) } else { Ok(()) }
    }
}

/// What is missing to call a server at a `tls://` address.
pub(crate) fn without_roots() -> Failure {
    let what = "the server speaks TLS, and this side has no root that tells which servers to trust: set DYN_TCP_TLS_CA";
    Failure::new(ErrorKind::FailedPrecondition, what)
}

/// The scope of a link-local address (`fe80::1%eth0`) belongs to the host that dials and is in no certificate.
fn parse_name(host: &str) -> Result<ServerName<'static>, &str> {
    let name = host.split_once('%').map_or(host, |(address, _)| address);
    ServerName::try_from(name.to_owned()).map_err(|_| host)
}

fn lost(error: &io::Error) -> Failure {
    explain(error, Speaker::Dialler).unwrap_or_else(|| {
        let text = if error.kind() == io::ErrorKind::UnexpectedEof {
            "the server closed the connection during the TLS handshake".to_owned()
        } else {
            format!("the connection was lost during the TLS handshake: {error}")
        };
        Failure::new(ErrorKind::Unavailable, text)
    })
}

/// What the library does not take, although each file by itself is in order.
pub(super) fn unusable(error: impl std::error::Error) -> Error {
    Error::new(ErrorKind::InvalidArgument, Delivery::NotSent, format!("DYN_TCP_TLS_*: {error}"))
}

fn load(source: &TlsClientConfig) -> Result<ClientConfig, Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(unusable)?;
    let verifier: Option<Arc<dyn ServerCertVerifier>> = match &source.trust {
        Trust::Roots(file) => {
            let roots = Arc::new(files::roots(Role::Roots, file)?);
            Some(WebPkiServerVerifier::builder_with_provider(roots, provider.clone()).build().map_err(unusable)?)
        }
        Trust::Anyone => Some(Arc::new(Unverified(provider.clone()))),
        Trust::Nobody => None,
    };
    let builder = match verifier {
        Some(verifier) => builder.dangerous().with_custom_certificate_verifier(verifier),
        None => builder.with_root_certificates(rustls::RootCertStore::empty()),
    };
    let mut config = match &source.identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let certified = files::identity(identity, &provider)?;
            builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(certified)))
        }
    };
    config.alpn_protocols = vec![ALPN.to_vec()];
    // Each connection checks who the server is: a session that is resumed is not checked again.
    config.resumption = Resumption::disabled();
    Ok(config)
}
