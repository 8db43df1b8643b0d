//! The first connection to NATS, which all who need it wait for together.

use std::time::Duration;

use plane_core::{Delivery, ErrorKind};
use plane_nats::{NatsConfig, NatsConnection};
use plane_testkit::nats::NatsServer as Nats;
use plane_testkit::{ChaosProxy, Direction, Faults};
use tokio::task::JoinSet;

/// Far more than anything here takes, for a machine that is busy.
const IN_TIME: Duration = Duration::from_secs(60);

/// A NATS server that says nothing yet, and a connection to it with this much time for an attempt.
async fn silent(connect_timeout: Duration) -> (Nats, ChaosProxy, NatsConnection) {
    let nats = Nats::start();
    let proxy = ChaosProxy::start(([127, 0, 0, 1], nats.port()).into()).await.unwrap();
    proxy.set(Direction::ToClient, Faults::half_open());
    let config = NatsConfig::default().servers([format!("nats://{}", proxy.address())]).unwrap();
    let connection = NatsConnection::new(config.connect_timeout(connect_timeout).unwrap());
    (nats, proxy, connection)
}

/// Else callers with less time than it takes to connect would never be connected.
#[tokio::test]
async fn an_attempt_outlives_the_caller_that_began_it() {
    let (_nats, proxy, connection) = silent(IN_TIME).await;
    tokio::select! {
        _ = connection.client() => panic!("nobody has answered"),
        _ = proxy.connection(0) => {}
    }
    let next = tokio::spawn(async move { connection.client().await.map(drop) });
    proxy.set(Direction::ToClient, Faults::none());
    tokio::time::timeout(IN_TIME, next).await.unwrap().unwrap().unwrap();
    assert_eq!(proxy.connections().len(), 1);
}

/// Else the last of many would hear of it only after an attempt for each.
#[tokio::test]
async fn callers_that_wait_for_the_same_attempt_fail_together() {
    let (_nats, proxy, connection) = silent(Duration::from_millis(200)).await;
    let mut callers = JoinSet::new();
    for _ in 0..20 {
        let connection = connection.clone();
        callers.spawn(async move { connection.client().await.map(drop) });
    }
    for failed in callers.join_all().await {
        let error = failed.unwrap_err();
        assert_eq!((error.kind(), error.delivery()), (ErrorKind::Unavailable, Delivery::NotSent));
        assert!(error.to_string().contains("DYN_NATS_CONNECT_TIMEOUT"), "{error}");
    }
    assert_eq!(proxy.connections().len(), 1);
    // Whoever comes later is not told of it.
    proxy.set(Direction::ToClient, Faults::none());
    tokio::time::timeout(IN_TIME, connection.client()).await.unwrap().unwrap();
    assert_eq!(proxy.connections().len(), 2);
}
