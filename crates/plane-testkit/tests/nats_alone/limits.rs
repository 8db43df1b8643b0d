//! Large messages, and more of them than anybody reads.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;
use futures_util::poll;
use plane_core::{
    Body, Delivery, ErrorKind, InstanceId, Request, RequestPlaneClient, RequestPlaneServer, Response, handler_fn,
};
use plane_testkit::nats::{NatsServer as Nats, NatsServerOptions};
use tokio::sync::mpsc;

use crate::world::{World, any, config, endpoint, in_time, until_served};

/// A producer that could not send for so long waits for its reader.
const STALLED: Duration = Duration::from_millis(500);

/// Case B2: a small limit of the server, both directions, with chunking and without.
#[tokio::test]
async fn messages_over_max_payload_are_chunked_or_refused() {
    let nats = Nats::with(NatsServerOptions { max_payload: Some(4_096), ..NatsServerOptions::default() });
    let world = World::start(config(&nats)).await;
    for size in [3_000, 3_800, 3_900, 4_095, 4_096, 4_097, 100_000, 3_000_000] {
        in_time(world.echo(vec![7; size])).await.unwrap();
    }
    let whole = World::start(config(&nats).chunking(false).prefix("whole").unwrap()).await;
    let call = |size: usize| {
        let address = whole.server.address();
        let client = &whole.client;
        async move { client.call(&address, Request::new(endpoint("echo"), vec![7; size])).await }
    };
    in_time(call(3_000)).await.unwrap();
    let error = in_time(call(4_097)).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::MessageTooLarge, Delivery::NotSent));
    assert!(error.message().contains("4096"), "{error}");
    in_time(call(3_000)).await.unwrap();
}

/// Threat E8: the limit is read anew after a reconnect.
#[tokio::test]
async fn a_lowered_max_payload_is_noticed() {
    let mut nats = Nats::start();
    let world = World::start(config(&nats)).await;
    in_time(world.echo(vec![7; 100_000])).await.unwrap();
    nats.restart_with_max_payload(8_192);
    in_time(until_served(&world)).await;
    in_time(world.echo(vec![7; 100_000])).await.unwrap();
}

/// Case B4: answers that nobody reads. Each producer waits for credit; what was sent is all there when it is read, though it
/// is more than the client library keeps for a subscription unless told otherwise.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_consumers_lose_nothing_and_hold_their_producers() {
    const STREAMS: u64 = 8;
    const MESSAGES: u64 = 20_000;
    let nats = Nats::start();
    let world = World::start(config(&nats)).await;
    let (held, mut holding) = mpsc::channel(64);
    let produce = handler_fn(move |_, _| {
        let held = held.clone();
        async move {
            let (sender, body) = Body::channel(1);
            tokio::spawn(async move {
                for number in 0..MESSAGES {
                    let mut sending = pin!(sender.send(number.to_be_bytes().to_vec()));
                    if poll!(&mut sending).is_pending() && tokio::time::timeout(STALLED, &mut sending).await.is_err() {
                        // For the first time only: it is told once.
                        let _ = held.try_send(number);
                        sending.await?;
                    }
                }
                sender.finish().await
            });
            Ok(Response::new(body))
        }
    });
    let _produce =
        world.server.register(endpoint("produce"), InstanceId::new(1).unwrap(), Arc::new(produce)).await.unwrap();
    let address = any();
    let calls = (0..STREAMS).map(|_| world.client.call(&address, Request::new(endpoint("produce"), "go")));
    let answers = in_time(try_join_all(calls)).await.unwrap();
    for _ in 0..STREAMS {
        let sent = in_time(holding.recv()).await.unwrap();
        assert!((1_000..MESSAGES).contains(&sent), "held after {sent}");
    }
    for mut answer in answers {
        for number in 0..MESSAGES {
            let message = in_time(answer.next()).await.unwrap().unwrap();
            assert_eq!(message, number.to_be_bytes()[..]);
        }
        assert!(in_time(answer.next()).await.is_none());
    }
}
