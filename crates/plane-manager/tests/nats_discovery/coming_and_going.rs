//! Instances that come and go while all is well.

use std::time::Instant;

use plane_core::ErrorKind;
use plane_manager::{Discovery, NatsDiscovery, NatsDiscoveryConfig};
use plane_testkit::nats::NatsServer;

use crate::place::{
    TTL, Worker, backend, bucket, connection, endpoint, ids, instance, until, until_deleted, until_renewed,
};

#[tokio::test]
async fn instances_come_and_go_between_backends() {
    let server = NatsServer::start();
    let (here, there) = (backend(&server), backend(&server));
    let (mut watch, mut all) = (there.watch(&endpoint()), there.watch_all());
    let other = there.watch(&"test.backend.GENERATE".parse().unwrap());
    let one = here.publish(instance(1)).await.unwrap();
    // Ready means that others can find it.
    assert_eq!(there.list().await.unwrap(), [instance(1)]);
    assert_eq!(until(&mut watch, |set| set.len() == 1).await, [1]);
    let two = here.publish(instance(2)).await.unwrap();
    assert_eq!(until(&mut watch, |set| set.len() == 2).await, [1, 2]);
    assert_eq!(watch.borrow()[1], instance(2));
    drop(one);
    assert_eq!(until(&mut watch, |set| set.len() == 1).await, [2]);
    assert_eq!(until(&mut all, |set| set.len() == 1).await, [2]);
    two.withdraw();
    until(&mut watch, |set| set.is_empty()).await;
    assert!(there.list().await.unwrap().is_empty());
    // Case B10: upper and lower case stay different.
    assert!(!other.has_changed().unwrap());
}

#[tokio::test]
async fn who_comes_late_finds_those_who_were_there() {
    let server = NatsServer::start();
    let here = backend(&server);
    let _one = here.publish(instance(1)).await.unwrap();
    let gone = here.publish(instance(2)).await.unwrap();
    gone.withdraw();
    here.flush().await;
    let there = backend(&server);
    assert_eq!(until(&mut there.watch(&endpoint()), |set| !set.is_empty()).await, [1]);
}

/// The last that is heard of a backend is what it withdrew.
#[tokio::test]
async fn a_backend_that_is_dropped_still_withdraws() {
    let server = NatsServer::start();
    let (here, there) = (backend(&server), backend(&server));
    let mut watch = there.watch(&endpoint());
    let one = here.publish(instance(1)).await.unwrap();
    until(&mut watch, |set| set.len() == 1).await;
    let bucket = bucket(&server).await;
    drop(one);
    drop(here);
    until(&mut watch, |set| set.is_empty()).await;
    until_deleted(&bucket, &instance(1)).await;
}

#[tokio::test]
async fn what_is_announced_here_is_seen_here_at_once() {
    let server = NatsServer::start();
    let discovery = backend(&server);
    let watch = discovery.watch(&endpoint());
    let one = discovery.publish(instance(1)).await.unwrap();
    assert_eq!(watch.borrow().len(), 1);
    let again = discovery.publish(instance(1)).await.unwrap_err();
    assert_eq!(again.kind(), ErrorKind::AlreadyExists);
    drop(one);
    assert_eq!(watch.borrow().len(), 0);
}

/// A withdrawn instance does not come back here, and one that is announced again is not withdrawn in its place.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_instance_again_and_again() {
    let server = NatsServer::start();
    let (here, there) = (backend(&server), backend(&server));
    let (watch, mut far) = (here.watch(&endpoint()), there.watch(&endpoint()));
    for round in 0..200 {
        let published = here.publish(instance(1)).await.unwrap();
        assert_eq!(watch.borrow().len(), 1, "{round}");
        assert_eq!(there.list().await.unwrap().len(), 1, "{round}");
        drop(published);
        assert_eq!(watch.borrow().len(), 0, "{round}");
    }
    here.flush().await;
    assert!(there.list().await.unwrap().is_empty());
    let _last = here.publish(instance(2)).await.unwrap();
    assert_eq!(until(&mut far, |set| ids(set) == [2]).await, [2]);
}

#[tokio::test]
async fn a_killed_process_disappears_and_the_others_stay() {
    let server = NatsServer::start();
    let (discovery, living) = (backend(&server), backend(&server));
    let mut watch = discovery.watch(&endpoint());
    let _one = living.publish(instance(1)).await.unwrap();
    let worker = Worker::start(&server, vec![instance(2), instance(3)]).await;
    until(&mut watch, |set| set.len() == 3).await;
    drop(worker);
    let died = Instant::now();
    until(&mut watch, |set| set.len() < 3).await;
    assert_eq!(until(&mut watch, |set| set.len() == 1).await, [1]);
    // One and a half times the expiry, with room for a busy machine.
    assert!(died.elapsed() < 5 * TTL, "{:?}", died.elapsed());
    assert_eq!(ids(&discovery.list().await.unwrap()), [1]);
}

/// Case C10: what is said about one instance does not wake those who wait for others, and a renewal wakes nobody.
#[tokio::test]
async fn an_event_about_one_instance_leaves_the_others_alone() {
    let server = NatsServer::start();
    let (here, there) = (backend(&server), backend(&server));
    let mut other = instance(7);
    other.endpoint = "test.backend.other".parse().unwrap();
    let mut watch = there.watch(&endpoint());
    let mut watch_other = there.watch(&other.endpoint);
    let _one = here.publish(instance(1)).await.unwrap();
    let _other = here.publish(other.clone()).await.unwrap();
    until(&mut watch, |set| set.len() == 1).await;
    until(&mut watch_other, |set| set.len() == 1).await;
    let two = here.publish(instance(2)).await.unwrap();
    until(&mut watch, |set| set.len() == 2).await;
    drop(two);
    until(&mut watch, |set| set.len() == 1).await;
    until_renewed(&bucket(&server).await, &instance(1), 3).await;
    assert!(!watch_other.has_changed().unwrap() && !watch.has_changed().unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_instances() {
    let server = NatsServer::start();
    // A debug build on a busy machine takes a second to renew them all.
    let usual = || NatsDiscovery::new(connection(&server), NatsDiscoveryConfig::default());
    let (here, there) = (usual(), usual());
    let mut watch = there.watch(&endpoint());
    let publishing = (1..=1_000).map(|id| here.publish(instance(id)));
    let published = futures_util::future::try_join_all(publishing).await.unwrap();
    until(&mut watch, |set| set.len() == 1_000).await;
    assert_eq!(there.list().await.unwrap().len(), 1_000);
    // They outlive their expiry, without a single one missing in between.
    until_renewed(&bucket(&server).await, &instance(500), 4).await;
    assert!(!watch.has_changed().unwrap());
    assert_eq!(watch.borrow().len(), 1_000);
    drop(published);
    until(&mut watch, |set| set.is_empty()).await;
    here.flush().await;
    assert!(there.list().await.unwrap().is_empty());
}
