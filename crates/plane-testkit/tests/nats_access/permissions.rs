//! Threat E21: a subject that NATS does not let a user use is an error that says so, not a time limit.

use plane_core::{Delivery, ErrorKind, Health, RequestPlaneClient, RequestPlaneServer};
use plane_nats::{Credentials, NatsConfig};
use plane_testkit::nats::NatsServer as Nats;

use crate::world::{bind, call, client, config, nats, register};

const USERS: &str = "authorization { users = [
    { user: all, password: x }
    { user: mute, password: x, permissions: { publish: { deny: \"plane.test.access.secret\" } } }
    { user: deaf, password: x, permissions: { subscribe: { deny: \"_INBOX.>\" } } }
    { user: narrow, password: x, permissions: { subscribe: { deny: \"plane.test.access.secret\" } } }
    { user: narrower, password: x, permissions: { subscribe: { deny: \"plane.test.access.secret.*\" } } }
    { user: outsider, password: x, permissions: { subscribe: { deny: \"plane.>\" } } }
    { user: silent, password: x, permissions: { publish: { deny: \"plane.>\" } } } ] }";

fn config_of(nats: &Nats, user: &str) -> NatsConfig {
    config(nats).credentials(Credentials::UserPassword { user: user.to_owned(), password: "x".to_owned() })
}

#[tokio::test]
async fn calling_what_may_not_be_called() {
    let nats = nats(USERS);
    let server = bind(config_of(&nats, "all")).await.unwrap();
    let _registrations = [register(&server, "echo").await.unwrap(), register(&server, "secret").await.unwrap()];
    let mute = client(config_of(&nats, "mute"));
    call(&mute, "echo").await.unwrap();
    let error = call(&mute, "secret").await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::PermissionDenied, Delivery::NotExecuted));
    call(&mute, "echo").await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calling_without_being_able_to_hear_the_answer() {
    let nats = nats(USERS);
    let server = bind(config_of(&nats, "all")).await.unwrap();
    let _registration = register(&server, "echo").await.unwrap();
    let deaf = client(config_of(&nats, "deaf"));
    // NATS may say so after the first call was sent; from then on none is.
    for deliveries in [&[Delivery::Unknown, Delivery::NotSent][..], &[Delivery::NotSent]] {
        let error = call(&deaf, "echo").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error:?}");
        assert!(deliveries.contains(&error.delivery()), "{error:?}");
        assert!(matches!(deaf.health(), Health::Degraded(_)));
    }
    // With an inbox that it may listen to.
    call(&client(config_of(&nats, "deaf").inbox_prefix("inbox.of.deaf").unwrap()), "echo").await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn serving_what_may_not_be_served() {
    let nats = nats(USERS);
    for user in ["narrow", "narrower"] {
        let server = bind(config_of(&nats, user)).await.unwrap();
        let error = register(&server, "secret").await.unwrap_err();
        assert_eq!((error.kind(), error.delivery()), (ErrorKind::PermissionDenied, Delivery::NotSent), "{error:?}");
        // Nothing is left of it, and the others are served.
        let _registration = register(&server, "echo").await.unwrap();
        call(&client(config_of(&nats, "all")), "echo").await.unwrap();
        assert_eq!(call(&client(config_of(&nats, "all")), "secret").await.unwrap_err().kind(), ErrorKind::Unavailable);
        assert_eq!(server.stats().in_flight, 0);
    }
    for user in ["outsider", "silent"] {
        let error = bind(config_of(&nats, user)).await.unwrap_err();
        assert_eq!((error.kind(), error.delivery()), (ErrorKind::PermissionDenied, Delivery::NotSent), "{error:?}");
    }
}
