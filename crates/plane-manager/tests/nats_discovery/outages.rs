//! A registry that goes away, and comes back with or without what it knew.

use std::time::Duration;

use plane_core::ErrorKind;
use plane_manager::{Discovery, InstanceWatch, NatsDiscovery, Published};
use plane_testkit::nats::NatsServer;

use crate::place::{BUCKET, TTL, Worker, backend, endpoint, ids, instance, until, until_ready};

/// A frontend that knows instance 1, which lives through everything, and instance 2 of another worker.
struct Deployment {
    server: NatsServer,
    frontend: NatsDiscovery,
    watch: InstanceWatch,
    living: NatsDiscovery,
    _one: Published,
    mortal: Option<Worker>,
}

impl Deployment {
    async fn start() -> Self {
        let server = NatsServer::start();
        let (frontend, living) = (backend(&server), backend(&server));
        let mut watch = frontend.watch(&endpoint());
        let one = living.publish(instance(1)).await.unwrap();
        let mortal = Worker::start(&server, vec![instance(2)]).await;
        assert_eq!(until(&mut watch, |set| set.len() == 2).await, [1, 2]);
        Self { server, frontend, watch, living, _one: one, mortal: Some(mortal) }
    }

    fn kill_mortal(&mut self) {
        drop(self.mortal.take());
    }

    /// Waits until the outage has lasted longer than anything would live without a renewal, and nothing was forgotten.
    async fn outlast(&self) {
        until_ready(&self.frontend, false).await;
        tokio::time::sleep(3 * TTL).await;
        assert!(!self.watch.has_changed().unwrap());
        assert_eq!(ids(&self.watch.borrow()), [1, 2]);
    }

    /// Waits until the dead one is gone, and the living one was there all the time.
    async fn reconciles(&mut self) {
        let mut always = true;
        let last = until(&mut self.watch, |set| {
            always &= ids(set).contains(&1);
            !ids(set).contains(&2)
        });
        assert_eq!(last.await, [1]);
        assert!(always);
        until_ready(&self.frontend, true).await;
        until_ready(&self.living, true).await;
        assert_eq!(ids(&self.frontend.list().await.unwrap()), [1]);
    }

    /// Those who come after the outage are found as before it.
    async fn goes_on(&mut self) {
        let three = self.living.publish(instance(3)).await.unwrap();
        assert_eq!(until(&mut self.watch, |set| set.len() == 2).await, [1, 3]);
        drop(three);
        assert_eq!(until(&mut self.watch, |set| set.len() == 1).await, [1]);
    }
}

#[tokio::test]
async fn a_restart_forgets_the_dead_and_never_the_living() {
    let mut deployment = Deployment::start().await;
    deployment.server.kill();
    deployment.kill_mortal();
    deployment.outlast().await;
    let refused = deployment.living.publish(instance(3)).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unavailable);
    deployment.server.restart();
    deployment.reconciles().await;
    deployment.goes_on().await;
}

#[tokio::test]
async fn a_lost_store_is_filled_again() {
    let mut deployment = Deployment::start().await;
    deployment.server.kill();
    deployment.kill_mortal();
    deployment.outlast().await;
    deployment.server.restart_empty();
    deployment.reconciles().await;
    deployment.goes_on().await;
}

/// A quick restart: what was known is still stored, or is not, and nobody notices either.
#[tokio::test]
async fn quick_restarts_are_not_noticed() {
    let mut deployment = Deployment::start().await;
    for round in 0..6 {
        if round % 2 == 0 {
            deployment.server.restart();
        } else {
            deployment.server.restart_empty();
        }
        // Announced again by both.
        let late = backend(&deployment.server);
        assert_eq!(until(&mut late.watch(&endpoint()), |set| set.len() == 2).await, [1, 2], "{round}");
        assert!(!deployment.watch.has_changed().unwrap(), "{round}");
    }
    deployment.kill_mortal();
    deployment.reconciles().await;
    deployment.goes_on().await;
}

#[tokio::test]
async fn a_frozen_server_forgets_nobody() {
    let mut deployment = Deployment::start().await;
    deployment.server.freeze();
    deployment.kill_mortal();
    deployment.outlast().await;
    deployment.server.thaw();
    deployment.reconciles().await;
    deployment.goes_on().await;
}

/// What could not be announced in time does not stay.
#[tokio::test]
async fn an_announcement_in_vain_leaves_nothing_behind() {
    let mut deployment = Deployment::start().await;
    deployment.server.freeze();
    let refused = deployment.living.publish(instance(3)).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unavailable);
    deployment.server.thaw();
    deployment.kill_mortal();
    deployment.reconciles().await;
    deployment.goes_on().await;
}

#[tokio::test]
async fn a_bucket_that_is_deleted_is_made_anew() {
    let mut deployment = Deployment::start().await;
    for _ in 0..2 {
        let client = async_nats::connect(deployment.server.url()).await.unwrap();
        async_nats::jetstream::new(client).delete_key_value(BUCKET).await.unwrap();
        let late = backend(&deployment.server);
        assert_eq!(until(&mut late.watch(&endpoint()), |set| set.len() == 2).await, [1, 2]);
        assert!(!deployment.watch.has_changed().unwrap());
    }
    deployment.kill_mortal();
    deployment.reconciles().await;
    deployment.goes_on().await;
}

#[tokio::test]
async fn what_is_withdrawn_during_an_outage_is_gone_after_it() {
    let mut deployment = Deployment::start().await;
    let three = deployment.living.publish(instance(3)).await.unwrap();
    until(&mut deployment.watch, |set| set.len() == 3).await;
    deployment.server.kill();
    until_ready(&deployment.living, false).await;
    drop(three);
    // It cannot be told now, and nobody is kept waiting for that.
    tokio::time::timeout(Duration::from_secs(10), deployment.living.flush()).await.unwrap();
    deployment.server.restart();
    // Well before it would be missed: it was deleted, as soon as that could be said.
    assert_eq!(until(&mut deployment.watch, |set| set.len() == 2).await, [1, 2]);
    let _again = deployment.living.publish(instance(3)).await.unwrap();
    assert_eq!(until(&mut deployment.watch, |set| set.len() == 3).await, [1, 2, 3]);
}
