//! Certificates of servers, and whom clients believe.

use std::time::{Duration, Instant};

use plane_core::{ErrorKind, Health, RequestPlaneClient};
use plane_tcp::TlsClientConfig;
use plane_testkit::{Authority, CertificateFiles};
use rcgen::{ExtendedKeyUsagePurpose, date_time_ymd};

use crate::world::{HERE, World, client, echo, refused, trusting, with_tls, works};

/// A client that believes the authority is refused by its own judgement of this certificate; gives back what is said.
async fn disbelieved(authority: &Authority, files: &CertificateFiles) -> String {
    let mut world = World::start(with_tls(files)).await;
    let said = refused(&trusting(authority), &world.address, ErrorKind::Unauthenticated).await;
    world.nobody_called();
    said
}

/// Threat D3: the error names the date.
#[tokio::test]
async fn a_certificate_that_has_expired_or_is_not_valid_yet() {
    let authority = Authority::new();
    let said = disbelieved(&authority, &authority.sign_expired(HERE)).await;
    assert!(said.contains("2020-02-29"), "{said}");
    let early = authority.sign_with(HERE, |params| params.not_before = date_time_ymd(2090, 1, 31));
    let said = disbelieved(&authority, &early).await;
    assert!(said.contains("2090-01-31"), "{said}");
}

/// Threat D4: each names the variable that would put it right.
#[tokio::test]
async fn a_certificate_of_somebody_else() {
    let (authority, other) = (Authority::new(), Authority::new());
    let said = disbelieved(&authority, &authority.sign("127.0.0.2")).await;
    assert!(said.contains("127.0.0.1") && said.contains("DYN_TCP_TLS_SERVER_NAME"), "{said}");
    let said = disbelieved(&authority, &other.sign(HERE)).await;
    assert!(said.contains("DYN_TCP_TLS_CA"), "{said}");
    let said = disbelieved(&authority, &authority.self_signed(HERE)).await;
    assert!(said.contains("DYN_TCP_TLS_CA"), "{said}");
    let for_clients = |params: &mut rcgen::CertificateParams| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    };
    let said = disbelieved(&authority, &authority.sign_with(HERE, for_clients)).await;
    assert!(said.contains("serverAuth"), "{said}");
}

/// Threat D4: an address whose server is not believed is not dialled again and again, however many calls there are.
#[tokio::test]
async fn a_server_that_is_not_believed_is_not_dialled_without_end() {
    let (authority, other) = (Authority::new(), Authority::new());
    let world = World::start(with_tls(&other.sign(HERE))).await;
    let client = trusting(&authority);
    let until = Instant::now() + Duration::from_secs(2);
    let mut calls = 0_u64;
    while Instant::now() < until {
        let error = echo(&client, &world.address, "hi").await.expect_err("no answer");
        assert_eq!(error.kind(), ErrorKind::Unauthenticated);
        calls += 1;
    }
    // With pauses of 0 to 50 ms, 0 to 100 ms and so on, half of that on average, this is far more than two seconds bring.
    let dials = client.stats().dials;
    assert!(calls > 1_000 && dials < 100, "{dials} dials for {calls} calls");
    assert!(matches!(client.health(), Health::Unavailable(_)), "{:?}", client.health());
}

/// One name for all servers, which are found by their addresses.
#[tokio::test]
async fn a_server_is_known_by_the_name_that_was_set() {
    let authority = Authority::new();
    let world = World::start(with_tls(&authority.sign("workers.internal"))).await;
    let named = |name: &str| client(TlsClientConfig::new(authority.roots()).server_name(name));
    works(&named("workers.internal"), &world.address).await;
    refused(&named("others.internal"), &world.address, ErrorKind::Unauthenticated).await;
    refused(&trusting(&authority), &world.address, ErrorKind::Unauthenticated).await;
}

/// A certificate between the server's own and the root stands behind it in the same file.
#[tokio::test]
async fn a_chain_of_certificates() {
    let authority = Authority::new();
    let between = authority.intermediate();
    let files = between.sign(HERE);
    let alone = World::start(with_tls(&files)).await;
    refused(&trusting(&authority), &alone.address, ErrorKind::Unauthenticated).await;
    let mut chain = std::fs::read(&files.certificate).unwrap();
    chain.extend(std::fs::read(between.roots()).unwrap());
    std::fs::write(&files.certificate, chain).unwrap();
    let world = World::start(with_tls(&files)).await;
    works(&trusting(&authority), &world.address).await;
}

/// Threat D9: verification can be switched off by its own name alone, and shows.
#[tokio::test]
async fn verification_that_was_switched_off_shows() {
    let authority = Authority::new();
    let world = World::start(with_tls(&authority.self_signed("elsewhere"))).await;
    let careful = trusting(&authority);
    refused(&careful, &world.address, ErrorKind::Unauthenticated).await;
    assert_eq!(careful.stats().tls_unverified, 0);
    let careless = client(TlsClientConfig::insecure_skip_verify());
    works(&careless, &world.address).await;
    assert_eq!(careless.stats().tls_unverified, 1);
}
