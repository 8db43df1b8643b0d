//! Calls from programs that do not know the plane, to whatever server answers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use plane_core::{
    AbortReason, Address, Body, Delivery, ErrorKind, InstanceId, Request, RequestPlaneClient, RequestPlaneServer,
    Status,
};
use plane_nats::{NatsConnection, NatsServer};
use plane_testkit::nats::NatsServer as Nats;

use crate::world::{IN_TIME, World, any, config, echo, endpoint, in_time};

/// A client that knows nothing of the plane is answered with plain replies.
#[tokio::test]
async fn a_plain_client_can_call() {
    let nats = Nats::start();
    let world = World::start(config(&nats)).await;
    let plain = async_nats::connect(nats.url()).await.unwrap();
    for subject in ["plane.test.nats.echo", "plane.test.nats.echo.0000000000000001"] {
        let answer = in_time(plain.request(subject, "hello".into())).await.unwrap();
        assert_eq!((answer.payload, answer.headers), ("hello".into(), None));
    }
    let Address::Nats(server) = world.server.address() else { panic!("not a NATS address") };
    let refused = in_time(plain.request(format!("{server}.test.nats.unknown"), "hello".into())).await.unwrap();
    let headers = refused.headers.unwrap();
    assert_eq!(headers.get("Nats-Service-Error-Code").unwrap().as_str(), "404");
    assert!(headers.get("Nats-Service-Error").is_some());
}

/// Case B5: a million requests that nobody waits for leave nothing behind.
#[tokio::test]
async fn requests_without_a_reply_subject_leave_nothing() {
    let nats = Nats::start();
    let world = World::start(config(&nats)).await;
    let plain = async_nats::connect(nats.url()).await.unwrap();
    for _ in 0..100 {
        for _ in 0..10_000 {
            plain.publish("plane.test.nats.echo", "hello".into()).await.unwrap();
        }
        // Behind them on the same connection, so that they have been taken in.
        in_time(plain.request("plane.test.nats.echo", "hello".into())).await.unwrap();
    }
    let stats = world.server.stats();
    assert_eq!((stats.started, stats.in_flight), (100, 0));
}

/// Case B1: any server of an endpoint, with nobody there.
#[tokio::test]
async fn nobody_there_is_unavailable_at_once() {
    let nats = Nats::start();
    let world = World::start(config(&nats)).await;
    world.echo("warm").await.unwrap();
    let began = Instant::now();
    let error = world.client.call(&any(), Request::new(endpoint("nobody"), "go")).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Unavailable, Delivery::NotSent));
    assert!(began.elapsed() < Duration::from_secs(5), "without waiting for a time limit");
}

/// Streams to any server: abort, credit and request messages find the one that answers.
#[tokio::test]
async fn calls_to_any_server_stream_and_abort() {
    let nats = Nats::start();
    let mut world = World::start(config(&nats)).await;
    let messages = (0..1_000).map(|_| Ok::<_, Status>(vec![7; 10_000]));
    let request = Request::new(endpoint("echo"), Body::stream(futures_util::stream::iter(messages)));
    let mut response = in_time(world.client.call(&any(), request)).await.unwrap();
    let mut read = 0;
    while let Some(message) = in_time(response.next()).await {
        assert_eq!(message.unwrap().len(), 10_000);
        read += 1;
    }
    assert_eq!(read, 1_000);
    {
        let address = any();
        let call = world.client.call(&address, Request::new(endpoint("hang"), "go"));
        tokio::select! {
            _ = call => panic!("it hangs"),
            _ = world.started.recv() => {}
        }
    }
    // Nobody knew who answers when the call was dropped; the server is told once it speaks.
    assert_eq!(in_time(world.aborted.recv()).await, Some(AbortReason::Cancelled));
}

/// A caller that is gone, its connection with it, is found by the server's next word.
#[tokio::test]
async fn a_vanished_caller_aborts_its_handler() {
    let nats = Nats::start();
    let interval = Duration::from_millis(100);
    let mut world = World::start(config(&nats).keepalive(interval, interval).unwrap()).await;
    let plain = async_nats::connect(nats.url()).await.unwrap();
    let inbox = plain.subscribe("vanishing").await.unwrap();
    plain.publish_with_reply("plane.test.nats.hang", "vanishing", "go".into()).await.unwrap();
    in_time(world.started.recv()).await.unwrap();
    drop((inbox, plain));
    assert_eq!(in_time(world.aborted.recv()).await, Some(AbortReason::Disconnected));
}

/// Threat C14: any server may answer, and one that leaves neither refuses nor loses a call, by whichever way it leaves.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_leaves_refuses_no_call() {
    let nats = Nats::start();
    let first = Arc::new(World::start(config(&nats)).await);
    for (round, drains) in [true, false, true, false].into_iter().enumerate() {
        let (second, driver) = NatsServer::bind(&NatsConnection::new(config(&nats))).await.unwrap();
        tokio::spawn(driver);
        let id = InstanceId::new(round as u64 + 2).unwrap();
        let registration = second.register(endpoint("echo"), id, Arc::new(echo())).await.unwrap();
        let callers: Vec<_> = (0..8)
            .map(|caller| {
                let first = first.clone();
                tokio::spawn(async move {
                    for call in 0..300 {
                        first.echo(format!("{caller} {call}")).await.unwrap();
                    }
                })
            })
            .collect();
        while second.stats().completed < 100 {
            tokio::task::yield_now().await;
        }
        let soon = Instant::now() + IN_TIME;
        if drains {
            assert_eq!(second.drain(soon).await.aborted, 0);
        } else {
            assert_eq!(registration.unregister(soon).await.aborted, 0);
        }
        for caller in callers {
            in_time(caller).await.unwrap();
        }
    }
}

/// Case B1: registered means that NATS passes calls on, 1,000 times of 1,000.
#[tokio::test]
async fn a_registered_endpoint_can_be_called_at_once() {
    let nats = Nats::start();
    let world = World::start(config(&nats)).await;
    let handler = Arc::new(echo());
    for id in 1..=1_000 {
        let name = format!("new-{id}");
        let registered = world.server.register(endpoint(&name), InstanceId::new(id).unwrap(), handler.clone()).await;
        let address = if id % 2 == 0 { any() } else { world.server.address() };
        in_time(world.client.call(&address, Request::new(endpoint(&name), "go"))).await.unwrap();
        drop(registered.unwrap());
    }
}
