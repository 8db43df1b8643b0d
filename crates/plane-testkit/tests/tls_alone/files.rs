//! Files that cannot be used, and files that change.

use std::path::Path;

use plane_core::{Error, ErrorKind, Health, RequestPlaneServer};
use plane_tcp::{ClientConfig, TlsClientConfig, TlsIdentity, TlsServerConfig};
use plane_testkit::Authority;

use crate::world::{HERE, World, client, identity, plain, refused, trusting, with_tls, works};

/// What cannot be used is refused at start, naming the variable and the file.
#[track_caller]
fn assert_refused<T: std::fmt::Debug>(configured: Result<T, Error>, variable: &str, file: &Path) {
    let error = configured.expect_err("unusable");
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    let said = error.to_string();
    assert!(said.contains(variable) && said.contains(file.to_str().unwrap()), "{said}");
}

/// Threat D6: a key of another certificate, a file that is not there, one that is empty or no PEM, and each for both.
#[test]
fn files_that_cannot_be_used_are_refused_at_start() {
    let authority = Authority::new();
    let good = authority.sign(HERE);
    let (missing, empty, garbage) = (authority.path("missing"), authority.path("empty"), authority.path("garbage"));
    std::fs::write(&empty, "").unwrap();
    std::fs::write(&garbage, "-----BEGIN CERTIFICATE-----\n????\n-----END CERTIFICATE-----\n").unwrap();
    let server = |identity, clients: Option<&Path>| {
        let tls = TlsServerConfig::new(identity);
        plain().tls(clients.into_iter().fold(tls, |tls, file| tls.client_roots(file)))
    };
    let caller = |roots: &Path, identity| ClientConfig::default().tls(TlsClientConfig::new(roots).identity(identity));
    let roots = authority.roots();
    let other_key = authority.sign(HERE).key;
    let of = |certificate: &Path, key: &Path| TlsIdentity::new(certificate, key);
    assert_refused(server(of(&good.certificate, &other_key), None), "DYN_TCP_TLS_KEY", &other_key);
    assert_refused(caller(&roots, of(&good.certificate, &other_key)), "DYN_TCP_TLS_KEY", &other_key);
    for bad in [&missing, &empty, &garbage, &good.key] {
        assert_refused(server(of(bad, &good.key), None), "DYN_TCP_TLS_CERT", bad);
        assert_refused(server(identity(&good), Some(bad)), "DYN_TCP_TLS_CLIENT_CA", bad);
        assert_refused(caller(bad, identity(&good)), "DYN_TCP_TLS_CA", bad);
    }
    for bad in [&missing, &empty, &good.certificate] {
        assert_refused(server(of(&good.certificate, bad), None), "DYN_TCP_TLS_KEY", bad);
        assert_refused(caller(&roots, of(&good.certificate, bad)), "DYN_TCP_TLS_KEY", bad);
    }
}

/// A name that no certificate can have is refused at start.
#[test]
fn a_name_that_is_none_is_refused_at_start() {
    let tls = TlsClientConfig::new(Authority::new().roots()).server_name("not a name");
    let error = ClientConfig::default().tls(tls).expect_err("no name");
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert!(error.to_string().contains("DYN_TCP_TLS_SERVER_NAME"), "{error}");
}

/// TLS is for TCP.
#[test]
fn a_unix_socket_has_no_tls() {
    let authority = Authority::new();
    let config = plane_tcp::ServerConfig::new(plane_tcp::Listen::Unix(authority.path("s.sock")));
    let error = config.tls(TlsServerConfig::new(identity(&authority.sign(HERE)))).expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
}

/// Threat D10: who connects after a certificate was replaced gets the new one, and who is connected notices nothing.
#[tokio::test]
async fn a_certificate_that_is_replaced() {
    let (old, new) = (Authority::new(), Authority::new());
    let files = old.sign(HERE);
    let world = World::start(with_tls(&files)).await;
    let before = trusting(&old);
    works(&before, &world.address).await;
    new.sign(HERE).replace(&files);
    works(&trusting(&new), &world.address).await;
    refused(&trusting(&old), &world.address, ErrorKind::Unauthenticated).await;
    works(&before, &world.address).await;
    assert_eq!(plane_core::RequestPlaneClient::stats(&before).dials, 1);
}

/// Threat D10: new files that cannot be used leave the old ones in use, which shows, until they can be.
#[tokio::test]
async fn a_certificate_that_is_replaced_by_a_broken_one() {
    let (old, new) = (Authority::new(), Authority::new());
    let (files, replacement) = (old.sign(HERE), new.sign(HERE));
    let world = World::start(with_tls(&files)).await;
    assert_eq!(world.server.health(), Health::Ready);
    // Half of the pair, as when somebody copies one file after the other.
    std::fs::copy(&replacement.certificate, &files.certificate).unwrap();
    works(&trusting(&old), &world.address).await;
    let Health::Degraded(why) = world.server.health() else { panic!("{:?}", world.server.health()) };
    assert!(why.contains("DYN_TCP_TLS_KEY"), "{why}");
    std::fs::remove_file(&files.key).unwrap();
    works(&trusting(&old), &world.address).await;
    std::fs::copy(&replacement.key, &files.key).unwrap();
    works(&trusting(&new), &world.address).await;
    assert_eq!(world.server.health(), Health::Ready);
}

/// Threat D10: the roots of clients, and their own certificates, are read again as well.
#[tokio::test]
async fn what_a_client_has_is_replaced() {
    let (old, new) = (Authority::new(), Authority::new());
    let (roots, mine) = (old.path("trusted.pem"), old.sign("client"));
    std::fs::copy(old.roots(), &roots).unwrap();
    let caller = client(TlsClientConfig::new(&roots).identity(identity(&mine)));
    let server = |authority: &Authority| {
        let tls = TlsServerConfig::new(identity(&authority.sign(HERE))).client_roots(authority.roots());
        plain().tls(tls).expect("files in order")
    };
    let (first, second) = (World::start(server(&old)).await, World::start(server(&new)).await);
    works(&caller, &first.address).await;
    refused(&caller, &second.address, ErrorKind::Unauthenticated).await;
    std::fs::copy(new.roots(), &roots).unwrap();
    new.sign("client").replace(&mine);
    // Another address of the same server: the first one may not be dialled again yet.
    let third = World::start(server(&new)).await;
    works(&caller, &third.address).await;
}
