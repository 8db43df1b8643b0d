//! Certificates of clients, and whom servers take.

use std::net::IpAddr;

use plane_core::{ErrorKind, Identity, Refusal, RequestPlaneServer};
use plane_tcp::{ServerConfig, TcpClient, TlsClientConfig, TlsServerConfig};
use plane_testkit::{Authority, CertificateFiles};
use rcgen::{DnType, SanType};

use crate::world::{HERE, World, client, identity, plain, refused, trusting, until, with_tls, works};

/// A server that takes only clients whom this authority vouches for.
fn taking(clients: &Authority, files: &CertificateFiles) -> ServerConfig {
    plain().tls(TlsServerConfig::new(identity(files)).client_roots(clients.roots())).expect("files in order")
}

fn showing(authority: &Authority, files: &CertificateFiles) -> TcpClient {
    client(TlsClientConfig::new(authority.roots()).identity(identity(files)))
}

/// Threat D5: whoever is not known is refused before a byte of the protocol is read, and told why.
#[tokio::test]
async fn clients_without_the_right_certificate_are_refused() {
    let (authority, other) = (Authority::new(), Authority::new());
    let mut world = World::start(taking(&authority, &authority.sign(HERE))).await;
    for (caller, word) in [
        (trusting(&authority), "DYN_TCP_TLS_CERT"),
        (showing(&authority, &other.sign("client")), "DYN_TCP_TLS_CLIENT_CA"),
        (showing(&authority, &authority.self_signed("client")), "DYN_TCP_TLS_CLIENT_CA"),
        (showing(&authority, &authority.sign_expired("client")), "expired"),
    ] {
        let said = refused(&caller, &world.address, ErrorKind::Unauthenticated).await;
        assert!(said.contains(word), "{said}");
        // A connection is in the server's table from its hello on.
        assert_eq!(world.server.stats().connections, 0);
    }
    world.nobody_called();
    until(|| world.server.stats().refusals.of(Refusal::Tls) == 4).await;
    works(&showing(&authority, &authority.sign("client")), &world.address).await;
}

/// Servers and clients may have different authorities.
#[tokio::test]
async fn an_authority_of_servers_and_one_of_clients() {
    let (servers, clients) = (Authority::new(), Authority::new());
    let world = World::start(taking(&clients, &servers.sign(HERE))).await;
    works(&showing(&servers, &clients.sign("client")), &world.address).await;
    refused(&showing(&servers, &servers.sign("client")), &world.address, ErrorKind::Unauthenticated).await;
}

/// What a verified certificate says of its holder reaches the handler.
#[tokio::test]
async fn the_handler_is_told_who_calls() {
    let authority = Authority::new();
    let mut world = World::start(taking(&authority, &authority.sign(HERE))).await;
    let files = authority.sign_with("router.internal", |params| {
        params.distinguished_name.push(DnType::OrganizationName, "Example");
        params.subject_alt_names.push(SanType::URI("spiffe://example/router".try_into().unwrap()));
        params.subject_alt_names.push(SanType::IpAddress(IpAddr::from([10, 0, 0, 7])));
    });
    works(&showing(&authority, &files), &world.address).await;
    let caller = world.callers.recv().await.expect("a call");
    let who = caller.certificate().expect("a certificate");
    assert_eq!(who.dns, ["router.internal"]);
    assert_eq!(who.uris, ["spiffe://example/router"]);
    assert_eq!(who.ips, [IpAddr::from([10, 0, 0, 7])]);
    assert!(who.subject.contains("CN=router.internal") && who.subject.contains("O=Example"), "{}", who.subject);
}

/// A server that does not ask learns nothing, even from a client that has a certificate.
#[tokio::test]
async fn nobody_is_believed_unasked() {
    let authority = Authority::new();
    let mut world = World::start(with_tls(&authority.sign(HERE))).await;
    works(&showing(&authority, &authority.sign("client")), &world.address).await;
    assert_eq!(world.callers.recv().await, Some(Identity::Unknown));
}
