//! Calls over TCP to what is found on NATS.

use std::time::{Duration, Instant};

use plane_core::{Context, Health, Request, Response, Transport, handler_fn};
use plane_manager::{Config, NetworkManager, Strictness};
use plane_testkit::nats::NatsServer;

use crate::place::{backend, endpoint, until};

fn manager(server: &NatsServer) -> NetworkManager {
    let vars = [("DYN_TCP_RPC_HOST".to_owned(), "127.0.0.1".to_owned())];
    let config = Config::from_vars(vars, Strictness::Strict).unwrap();
    NetworkManager::builder().config(config).discovery(backend(server)).build().unwrap()
}

fn echo() -> impl plane_core::Handler {
    handler_fn(|request: Request, _: Context| async move { Ok(Response::new(request.body)) })
}

/// Case B1: a call made the moment discovery shows an instance succeeds, 1,000 times of 1,000.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_shown_can_be_called() {
    let server = NatsServer::start();
    let (worker, frontend) = (manager(&server), manager(&server));
    let client = frontend.client(endpoint());
    let mut watch = frontend.discovery().watch(&endpoint());
    for round in 0..1_000 {
        let service = worker.serve(endpoint(), echo()).await.unwrap();
        until(&mut watch, |set| !set.is_empty()).await;
        let answer = client.direct(service.instance().id).call("x").await;
        assert_eq!(answer.unwrap().message().await.unwrap(), "x", "{round}");
        drop(service);
        until(&mut watch, |set| set.is_empty()).await;
    }
    assert_eq!((frontend.mode(), frontend.health()), (Transport::Tcp, Health::Ready));
}

/// An outage of the registry is none of the calls.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_go_on_without_the_registry() {
    let mut server = NatsServer::start();
    let (worker, frontend) = (manager(&server), manager(&server));
    let client = frontend.client(endpoint());
    let _service = worker.serve(endpoint(), echo()).await.unwrap();
    client.ready(Duration::from_secs(20)).await.unwrap();
    server.kill();
    let unavailable = async {
        while !matches!(frontend.health(), Health::Unavailable(_)) {
            assert_eq!(client.call("x").await.unwrap().message().await.unwrap(), "x");
        }
    };
    tokio::time::timeout(Duration::from_secs(20), unavailable).await.unwrap();
    for _ in 0..100 {
        assert_eq!(client.call("x").await.unwrap().message().await.unwrap(), "x");
    }
    server.restart();
    let ready = async {
        while frontend.health() != Health::Ready {
            assert_eq!(client.call("x").await.unwrap().message().await.unwrap(), "x");
        }
    };
    tokio::time::timeout(Duration::from_secs(20), ready).await.unwrap();
    assert_eq!(frontend.drain(Instant::now() + Duration::from_secs(5)).await.aborted, 0);
}

/// The same variables in every process, one more on whichever plane: that is all a deployment needs.
#[tokio::test]
async fn variables_alone_set_it_up_for_either_plane() {
    let server = NatsServer::start();
    let manager = |plane: &str, prefix: &str| {
        let vars = [
            ("DYN_REQUEST_PLANE", plane),
            ("DYN_DISCOVERY_BACKEND", "nats"),
            ("NATS_SERVER", &server.url()),
            ("DYN_NATS_PREFIX", prefix),
            ("DYN_TCP_RPC_HOST", "127.0.0.1"),
        ];
        let vars = vars.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let config = Config::from_vars(vars, Strictness::Strict).unwrap();
        NetworkManager::builder().config(config).build().unwrap()
    };
    for plane in ["tcp", "nats"] {
        let (worker, frontend, stranger) = (manager(plane, "a.b"), manager(plane, "a.b"), manager(plane, "a-b"));
        let service = worker.serve(endpoint(), echo()).await.unwrap();
        assert_eq!(service.instance().address.transport().to_string(), plane);
        let answer = frontend.client(endpoint()).call("x").await.unwrap().message().await.unwrap();
        assert_eq!(answer, "x");
        // Case B9: other prefixes, other instances.
        let others = stranger.client(endpoint());
        let _strange = stranger.serve(endpoint(), echo()).await.unwrap();
        others.ready(Duration::from_secs(20)).await.unwrap();
        assert_eq!(others.instances().len(), 1);
        // Who drains is gone for others once that is done.
        worker.drain(Instant::now() + Duration::from_secs(5)).await;
        assert!(frontend.discovery().list().await.unwrap().is_empty());
        stranger.drain(Instant::now() + Duration::from_secs(5)).await;
    }
}
