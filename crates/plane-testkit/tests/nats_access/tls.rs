//! TLS between this side and the NATS server.

use std::path::{Path, PathBuf};

use plane_core::ErrorKind;
use plane_nats::{NatsConfig, Tls};
use plane_testkit::nats::NatsServer as Nats;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tempfile::TempDir;

use crate::world::{config, nats, refused, works};

/// One that signs certificates, in a directory of its own.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    directory: TempDir,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("ca.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
        Self { issuer: Issuer::new(params, key), directory }
    }

    fn roots(&self) -> PathBuf {
        self.path("ca.pem")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The files of a certificate for a place, and its key.
    fn sign(&self, place: &str) -> (PathBuf, PathBuf) {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new([place.to_owned()]).unwrap().signed_by(&key, &self.issuer).unwrap();
        let (certificate_path, key_path) = (self.path(&format!("{place}.pem")), self.path(&format!("{place}.key")));
        std::fs::write(&certificate_path, certificate.pem()).unwrap();
        std::fs::write(&key_path, key.serialize_pem()).unwrap();
        (certificate_path, key_path)
    }

    /// A NATS server that speaks TLS, and knows its clients by their certificates if they must have one.
    fn nats(&self, place: &str, verify: bool) -> Nats {
        let (certificate, key) = self.sign(place);
        let ca = self.roots();
        nats(&format!("tls {{ cert_file: {certificate:?}, key_file: {key:?}, ca_file: {ca:?}, verify: {verify} }}"))
    }
}

fn trusting(nats: &Nats, roots: &Path) -> NatsConfig {
    config(nats).tls(Tls { required: true, roots: Some(roots.to_owned()), identity: None })
}

#[tokio::test]
async fn a_server_with_tls() {
    let (authority, other) = (Authority::new(), Authority::new());
    let nats = authority.nats("127.0.0.1", false);
    works(trusting(&nats, &authority.roots())).await;
    // As the server asks for it.
    works(config(&nats).tls(Tls { required: false, roots: Some(authority.roots()), identity: None })).await;
    refused(trusting(&nats, &other.roots()), ErrorKind::Unauthenticated).await;
    // Nobody vouches for it.
    refused(config(&nats), ErrorKind::Unauthenticated).await;
    let elsewhere = authority.nats("127.0.0.2", false);
    refused(trusting(&elsewhere, &authority.roots()), ErrorKind::Unauthenticated).await;
}

#[tokio::test]
async fn a_server_without_tls() {
    let authority = Authority::new();
    let nats = nats("");
    refused(trusting(&nats, &authority.roots()), ErrorKind::Unavailable).await;
    refused(trusting(&nats, &authority.path("missing.pem")), ErrorKind::InvalidArgument).await;
}

#[tokio::test]
async fn a_server_that_knows_its_clients_by_certificate() {
    let (authority, other) = (Authority::new(), Authority::new());
    let nats = authority.nats("127.0.0.1", true);
    let with = |identity: Option<(PathBuf, PathBuf)>| {
        config(&nats).tls(Tls { required: true, roots: Some(authority.roots()), identity })
    };
    works(with(Some(authority.sign("client")))).await;
    refused(with(None), ErrorKind::Unauthenticated).await;
    refused(with(Some(other.sign("client"))), ErrorKind::Unauthenticated).await;
    let missing = (authority.path("missing.pem"), authority.path("missing.key"));
    refused(with(Some(missing)), ErrorKind::InvalidArgument).await;
}
