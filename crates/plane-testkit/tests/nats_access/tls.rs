//! TLS between this side and the NATS server.

use std::path::{Path, PathBuf};

use plane_core::ErrorKind;
use plane_nats::{NatsConfig, Tls};
use plane_testkit::nats::NatsServer as Nats;
use plane_testkit::{Authority, CertificateFiles};

use crate::world::{config, nats, refused, works};

/// A NATS server that speaks TLS, and knows its clients by their certificates if they must have one.
fn nats_at(authority: &Authority, place: &str, verify: bool) -> Nats {
    let CertificateFiles { certificate, key } = authority.sign(place);
    let ca = authority.roots();
    nats(&format!("tls {{ cert_file: {certificate:?}, key_file: {key:?}, ca_file: {ca:?}, verify: {verify} }}"))
}

/// A certificate of a client, and its key.
fn identity(authority: &Authority) -> (PathBuf, PathBuf) {
    let CertificateFiles { certificate, key } = authority.sign("client");
    (certificate, key)
}

fn trusting(nats: &Nats, roots: &Path) -> NatsConfig {
    config(nats).tls(Tls { required: true, roots: Some(roots.to_owned()), identity: None })
}

#[tokio::test]
async fn a_server_with_tls() {
    let (authority, other) = (Authority::new(), Authority::new());
    let nats = nats_at(&authority, "127.0.0.1", false);
    works(trusting(&nats, &authority.roots())).await;
    // As the server asks for it.
    works(config(&nats).tls(Tls { required: false, roots: Some(authority.roots()), identity: None })).await;
    refused(trusting(&nats, &other.roots()), ErrorKind::Unauthenticated).await;
    // Nobody vouches for it.
    refused(config(&nats), ErrorKind::Unauthenticated).await;
    let elsewhere = nats_at(&authority, "127.0.0.2", false);
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
    let nats = nats_at(&authority, "127.0.0.1", true);
    let with = |identity: Option<(PathBuf, PathBuf)>| {
        config(&nats).tls(Tls { required: true, roots: Some(authority.roots()), identity })
    };
    works(with(Some(identity(&authority)))).await;
    refused(with(None), ErrorKind::Unauthenticated).await;
    refused(with(Some(identity(&other))), ErrorKind::Unauthenticated).await;
    let missing = (authority.path("missing.pem"), authority.path("missing.key"));
    refused(with(Some(missing)), ErrorKind::InvalidArgument).await;
}
