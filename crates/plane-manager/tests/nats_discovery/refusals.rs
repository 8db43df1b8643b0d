//! Servers that cannot be used.

use std::time::{Duration, Instant};

use async_nats::jetstream::kv;
use plane_core::{Delivery, Error, ErrorKind, Health};
use plane_manager::{Discovery, NatsDiscovery, NatsDiscoveryConfig};
use plane_nats::{NatsConfig, NatsConnection};
use plane_testkit::nats::{NatsServer, NatsServerOptions};

use crate::place::{BUCKET, TTL, backend, endpoint, instance, until_ready};

fn check(error: &Error, kind: ErrorKind, named: &str) {
    assert_eq!((error.kind(), error.delivery()), (kind, Delivery::NotSent));
    assert!(error.message().contains(named), "{error}");
}

#[tokio::test]
async fn nothing_is_connected_before_it_is_needed() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("nats://ann:hunter2@{nobody}");
    let connection = NatsConnection::new(NatsConfig::default().servers([url]).unwrap());
    let discovery = NatsDiscovery::new(connection, NatsDiscoveryConfig::default());
    assert_eq!(discovery.health(), Health::Ready);
    assert_eq!(discovery.describe(), format!("nats (bucket plane-instances at nats://{nobody})"));
    assert!(!format!("{discovery:?}").contains("hunter2"));
    let error = discovery.publish(instance(1)).await.unwrap_err();
    check(&error, ErrorKind::Unavailable, &nobody.to_string());
    assert!(!error.message().contains("hunter2"), "{error}");
    check(&discovery.list().await.unwrap_err(), ErrorKind::Unavailable, &nobody.to_string());
}

/// Case E20 of the threats: a typed error that names JetStream, and no timeout.
#[tokio::test]
async fn a_server_without_jetstream_is_named() {
    let server = NatsServer::with(NatsServerOptions { without_jetstream: true, ..NatsServerOptions::default() });
    refuses_by_name(&server).await;
}

#[tokio::test]
async fn an_account_without_jetstream_is_named() {
    let configuration = "accounts { A { users: [{ user: a, password: a }] } }\nno_auth_user: a\n".to_owned();
    let server = NatsServer::with(NatsServerOptions { configuration, ..NatsServerOptions::default() });
    refuses_by_name(&server).await;
}

async fn refuses_by_name(server: &NatsServer) {
    let discovery = backend(server);
    let began = Instant::now();
    check(&discovery.publish(instance(1)).await.unwrap_err(), ErrorKind::Unavailable, "JetStream");
    check(&discovery.list().await.unwrap_err(), ErrorKind::Unavailable, "JetStream");
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    let _watch = discovery.watch(&endpoint());
    until_ready(&discovery, false).await;
    let Health::Unavailable(reason) = discovery.health() else { panic!("not unavailable") };
    assert!(reason.contains("JetStream"), "{reason}");
}

#[tokio::test]
async fn a_bucket_that_keeps_everything_is_refused() {
    let server = NatsServer::start();
    make(&server, Duration::ZERO).await;
    check(&backend(&server).publish(instance(1)).await.unwrap_err(), ErrorKind::FailedPrecondition, BUCKET);
}

/// The bucket that is there counts: all who share it must agree.
#[tokio::test]
async fn a_bucket_with_another_expiry_is_used_as_it_is() {
    let server = NatsServer::start();
    make(&server, TTL / 2).await;
    let (here, there) = (backend(&server), backend(&server));
    let mut watch = there.watch(&endpoint());
    let _one = here.publish(instance(1)).await.unwrap();
    crate::place::until(&mut watch, |set| set.len() == 1).await;
    crate::place::until_renewed(&crate::place::bucket(&server).await, &instance(1), 6).await;
    assert!(!watch.has_changed().unwrap());
}

async fn make(server: &NatsServer, max_age: Duration) {
    let client = async_nats::connect(server.url()).await.unwrap();
    let config = kv::Config { bucket: BUCKET.to_owned(), max_age, ..kv::Config::default() };
    async_nats::jetstream::new(client).create_key_value(config).await.unwrap();
}

/// A server whose only user may publish to these subjects, and hear what comes to an inbox of its own.
fn strict(publish: &[&str]) -> (NatsServer, NatsDiscovery) {
    let allowed: Vec<String> = publish.iter().map(|subject| format!("{subject:?}")).collect();
    let configuration = format!(
        "authorization {{ users: [{{ user: a, password: a, permissions: {{ publish: [{}], subscribe: [\"_INBOX_a.>\"] }} }}] }}\n",
        allowed.join(", ")
    );
    let server = NatsServer::with(NatsServerOptions { configuration, ..NatsServerOptions::default() });
    let url = server.url().replace("nats://", "nats://a:a@");
    let config = NatsConfig::default().servers([url]).unwrap().inbox_prefix("_INBOX_a").unwrap();
    let discovery = NatsDiscovery::new(NatsConnection::new(config), NatsDiscoveryConfig::default().ttl(TTL).unwrap());
    (server, discovery)
}

/// What docs/nats.md lists is enough, for whatever discovery does.
#[tokio::test]
async fn the_documented_subjects_are_enough() {
    let text = include_str!("../../../../docs/nats.md");
    let (_, section) = text.split_once("## Discovery on NATS").expect("a section");
    let listed = section.lines().filter_map(|line| line.strip_prefix("| `$")?.split_once('`'));
    let listed: Vec<String> = listed.map(|(subject, _)| format!("${}", subject.replace("<bucket>", BUCKET))).collect();
    assert!(listed.len() > 4, "{listed:?}");
    let subjects: Vec<&str> = listed.iter().map(String::as_str).collect();
    let (server, discovery) = strict(&subjects);
    let mut watch = discovery.watch(&endpoint());
    let one = discovery.publish(instance(1)).await.unwrap();
    let _two = discovery.publish(instance(2)).await.unwrap();
    assert_eq!(discovery.list().await.unwrap().len(), 2);
    crate::place::until(&mut watch, |set| set.len() == 2).await;
    drop(one);
    discovery.flush().await;
    assert_eq!(discovery.list().await.unwrap(), [instance(2)]);
    tokio::time::sleep(2 * TTL).await;
    assert_eq!(discovery.list().await.unwrap(), [instance(2)]);
    assert_eq!(discovery.health(), Health::Ready);
    let log = server.log().concat();
    assert!(!log.contains("Violation"), "{log}");
}

/// Case E21 of the threats: what the user may not do is said, and is no timeout.
#[tokio::test]
async fn a_subject_that_is_not_allowed_is_named() {
    for (allowed, named) in [(&["$JS.API.>"][..], "$KV.plane-instances."), (&["$KV.>"], "$JS.API.")] {
        let (_server, discovery) = strict(allowed);
        let began = Instant::now();
        check(&discovery.publish(instance(1)).await.unwrap_err(), ErrorKind::PermissionDenied, named);
        assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    }
}
