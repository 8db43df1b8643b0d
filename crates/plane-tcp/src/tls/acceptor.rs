//! The listener's side of a handshake.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use plane_core::{Error, ErrorKind, Health, Identity, Refusal};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::SingleCertAndKey;
use rustls::{ServerConfig, ServerConnection};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::explain::{OTHER_PROTOCOL, date, explain};
use super::files::{self, Role};
use super::reload::Reloading;
use super::session::Session;
use super::{ALPN, TlsServerConfig, identity};
use crate::failure::Failure;
use crate::linger::linger;
use crate::stranger::{Speaker, begins_plane, begins_tls, looks_like};

/// A fatal alert: this port expects a TLS hello first. What any client of the plane without TLS understands.
const ALERT: [u8; 7] = [0x15, 0x03, 0x03, 0x00, 0x02, 0x02, 0x0a];

/// Speaks TLS as a server.
#[derive(Debug)]
pub(crate) struct Acceptor {
    source: TlsServerConfig,
    config: Reloading<ServerConfig>,
}

impl PartialEq for Acceptor {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Eq for Acceptor {}

impl Acceptor {
    /// # Errors
    /// `InvalidArgument` naming the variable and the file that cannot be used.
    pub(crate) fn new(source: TlsServerConfig) -> Result<Self, Error> {
        let mut files: Vec<PathBuf> = vec![source.identity.certificate.clone(), source.identity.key.clone()];
        files.extend(source.client_roots.clone());
        let from = source.clone();
        Ok(Self { source, config: Reloading::new(files, move || load(&from))? })
    }

    /// Degraded while the files that are there are not those that are used.
    pub(crate) fn health(&self) -> Health {
        self.config.health()
    }

    /// Shakes hands.
    ///
    /// # Cancel safety
    /// The connection is closed.
    pub(crate) async fn accept(&self, mut stream: TcpStream) -> Result<(Session, Identity), Failure> {
        let mut first = [0; 32];
        let seen = stream.peek(&mut first).await.map_err(|error| lost(&error))?;
        let first = &first[..seen];
        if begins_plane(first) {
            // It may be gone already.
            let _ = stream.write_all(&ALERT).await;
            linger(&stream).await;
            let what = "the peer speaks plane/1 without TLS, and this port takes TLS alone (DYN_TCP_TLS_CERT is set)";
            return Err(Failure::new(ErrorKind::Protocol, what).because(Refusal::Tls));
        }
        if !begins_tls(first) && !first.is_empty() {
            let what = format!("the peer does not speak TLS; it looks like {}", looks_like(first));
            return Err(Failure::new(ErrorKind::Protocol, what).because(Refusal::Tls));
        }
        let tls = ServerConnection::new(self.config.current());
        let tls = tls.map_err(|error| Failure::new(ErrorKind::Internal, format!("cannot speak TLS: {error}")))?;
        let session = Session::new(stream, tls);
        match self.greet(&session).await {
            Ok(identity) => Ok((session, identity)),
            Err(failure) => {
                session.finish();
                linger(session.stream()).await;
                Err(failure)
            }
        }
    }

    async fn greet(&self, session: &Session) -> Result<Identity, Failure> {
        session.handshake().await.map_err(|error| lost(&error))?;
        if !session.has_alpn(ALPN) {
            return Err(Failure::new(ErrorKind::Protocol, OTHER_PROTOCOL).because(Refusal::Tls));
        }
        match session.peer_certificate(identity::whose) {
            None => Ok(Identity::Unknown),
            Some(Some(whose)) => Ok(Identity::Certificate(whose)),
            Some(None) => {
                let what = "the peer's certificate is trusted, and whom it is for cannot be read";
                Err(Failure::new(ErrorKind::Unauthenticated, what).because(Refusal::Tls))
            }
        }
    }
}

fn lost(error: &io::Error) -> Failure {
    explain(error, Speaker::Listener).unwrap_or_else(|| {
        Failure::new(ErrorKind::Unavailable, format!("the connection was lost during the TLS handshake: {error}"))
    })
}

fn load(source: &TlsServerConfig) -> Result<ServerConfig, Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let certified = files::identity(&source.identity, &provider)?;
    if let Some(end) = certified.end_entity_cert().ok().and_then(|certificate| identity::expired(certificate)) {
        let file = source.identity.certificate.display();
        tracing::warn!("the certificate in {file} (DYN_TCP_TLS_CERT) expired on {}", date(end));
    }
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(super::connector::unusable)?;
    let clients: Arc<dyn ClientCertVerifier> = match &source.client_roots {
        None => WebPkiClientVerifier::no_client_auth(),
        Some(file) => {
            let roots = Arc::new(files::roots(Role::ClientRoots, file)?);
            WebPkiClientVerifier::builder_with_provider(roots, provider).build().map_err(super::connector::unusable)?
        }
    };
    let mut config =
        builder.with_client_cert_verifier(clients).with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    config.alpn_protocols = vec![ALPN.to_vec()];
    // Whoever connects proves who it is, each time: a session that is resumed is not checked again.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}
