//! What others put into the bucket, and others in buckets of their own.

use plane_core::{Address, ErrorKind};
use plane_manager::{Discovery, NatsDiscovery, NatsDiscoveryConfig};
use plane_testkit::nats::NatsServer;

use crate::place::{backend, bucket, connection, endpoint, ids, instance, until, until_renewed};

#[tokio::test]
async fn values_that_make_no_sense_are_skipped() {
    let server = NatsServer::start();
    let (here, there) = (backend(&server), backend(&server));
    let mut watch = there.watch(&endpoint());
    let good = here.publish(instance(1)).await.unwrap();
    until(&mut watch, |set| set.len() == 1).await;
    let bucket = bucket(&server).await;
    let text = bucket.get("test.backend.generate.0000000000000001").await.unwrap().unwrap();
    for (key, value) in [
        ("test.backend.generate.0000000000000002", &b""[..]),
        ("test.backend.generate.0000000000000003", b"\xff\x00\xfe"),
        ("test.backend.generate.0000000000000004", &text),
        ("test.backend.generate.0000000000000005", &text[..text.len() / 2]),
        ("test.backend.generate.0000000000000006", &[b'['; 60_000]),
        ("test.backend.generate.1", &text),
        ("TEST.backend.generate.0000000000000001", &text),
        ("one", b"[1,2,3]"),
        ("a/b=c", b"{}"),
    ] {
        bucket.put(key, value.to_vec().into()).await.unwrap();
    }
    bucket.delete("one").await.unwrap();
    assert_eq!(there.list().await.unwrap(), [instance(1)]);
    // The watch lives on, and so does who comes only now.
    let _two = here.publish(instance(9)).await.unwrap();
    assert_eq!(until(&mut watch, |set| set.len() == 2).await, [1, 9]);
    let late = backend(&server);
    assert_eq!(until(&mut late.watch(&endpoint()), |set| set.len() == 2).await, [1, 9]);
    drop(good);
    assert_eq!(until(&mut watch, |set| set.len() == 1).await, [9]);
}

/// What somebody else wrote over a key does not keep its owner from it.
#[tokio::test]
async fn a_key_that_was_spoilt_is_mended() {
    let server = NatsServer::start();
    let (here, there) = (backend(&server), backend(&server));
    let _one = here.publish(instance(1)).await.unwrap();
    let bucket = bucket(&server).await;
    for spoil in [true, false] {
        let key = "test.backend.generate.0000000000000001";
        if spoil {
            bucket.put(key, "?".into()).await.unwrap();
        } else {
            bucket.delete(key).await.unwrap();
        }
        assert!(there.list().await.unwrap().is_empty());
        until_renewed(&bucket, &instance(1), 1).await;
        assert_eq!(there.list().await.unwrap(), [instance(1)]);
    }
}

/// A worker that is started again under a fixed id, while the one before it still ends.
#[tokio::test]
async fn the_last_to_announce_an_id_has_it() {
    let server = NatsServer::start();
    let (before, after, frontend) = (backend(&server), backend(&server), backend(&server));
    let mut watch = frontend.watch(&endpoint());
    let old = before.publish(instance(1)).await.unwrap();
    until(&mut watch, |set| set.len() == 1).await;
    let mut moved = instance(1);
    moved.address = Address::mem("elsewhere");
    let _new = after.publish(moved.clone()).await.unwrap();
    until(&mut watch, |set| set[0] == moved).await;
    // The old one renews nothing that is not its own any more, and takes nothing with it when it goes.
    until_renewed(&bucket(&server).await, &moved, 4).await;
    drop(old);
    before.flush().await;
    assert_eq!(frontend.list().await.unwrap(), [moved.clone()]);
    let _other = before.publish(instance(2)).await.unwrap();
    assert_eq!(until(&mut watch, |set| set.len() == 2).await, [1, 2]);
    assert_eq!(watch.borrow()[0], moved);
}

/// Case B9: two deployments with different prefixes never see each other.
#[tokio::test]
async fn prefixes_keep_deployments_apart() {
    let server = NatsServer::start();
    let of = |prefix| NatsDiscovery::new(connection(&server), NatsDiscoveryConfig::for_prefix(prefix).unwrap());
    let (a, b) = (of("team.a"), of("team-a"));
    let (mut watch_a, mut watch_b) = (a.watch_all(), b.watch_all());
    let _one = a.publish(instance(1)).await.unwrap();
    let _two = b.publish(instance(2)).await.unwrap();
    let again = a.publish(instance(2)).await.unwrap();
    assert_eq!(until(&mut watch_a, |set| set.len() == 2).await, [1, 2]);
    drop(again);
    assert_eq!(until(&mut watch_a, |set| set.len() == 1).await, [1]);
    assert_eq!(until(&mut watch_b, |set| !set.is_empty()).await, [2]);
    assert_eq!((ids(&a.list().await.unwrap()), ids(&b.list().await.unwrap())), (vec![1], vec![2]));
}

#[tokio::test]
async fn too_much_metadata_is_refused() {
    let server = NatsServer::start();
    let discovery = backend(&server);
    let mut large = instance(1);
    large.metadata.insert("key".to_owned(), "x".repeat(64 * 1024));
    assert_eq!(discovery.publish(large).await.unwrap_err().kind(), ErrorKind::InvalidArgument);
    // It may be announced once it fits, and what fits the limit fits the bucket.
    let mut fits = instance(1);
    fits.metadata.insert("key".to_owned(), "x".repeat(65_000));
    let _published = discovery.publish(fits.clone()).await.unwrap();
    assert_eq!(discovery.list().await.unwrap(), [fits]);
}
