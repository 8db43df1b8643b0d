//! A store that is full: of requests that wait, and of those that were answered.

use std::sync::Arc;
use std::time::Duration;

use plane_core::{Delivery, ErrorKind, Request, RequestPlaneClient, Response, handler_fn};
use plane_nats::{NatsClient, ReplayFrom};
use plane_testkit::nats::NatsServer as Nats;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use crate::world::{Worker, any, call, client, config, endpoint, in_time, open, store};

const ROOM: u64 = 256 * 1024;
const LARGE: usize = 20 * 1024;

/// Requests that wait are never dropped for new ones: those are refused at once, by the name of the limit.
#[tokio::test]
async fn a_full_store_refuses_at_once_and_drops_nothing() {
    let nats = Nats::start();
    let config = config(&nats, store().max_bytes(ROOM).unwrap()).request_timeout(Duration::from_secs(50)).unwrap();
    let client = Arc::new(client(&config));
    let mut calls = JoinSet::new();
    let refused = loop {
        let client = client.clone();
        let call = calls.spawn(async move { call(&client, "work", vec![1; LARGE]).await });
        // The first to end is refused: nobody runs them.
        match tokio::time::timeout(Duration::from_millis(200), calls.join_next()).await {
            Ok(ended) => break ended.unwrap().unwrap().unwrap_err(),
            Err(_) => assert!(!call.is_finished()),
        }
    };
    assert_eq!((refused.kind(), refused.delivery()), (ErrorKind::ResourceExhausted, Delivery::NotExecuted));
    assert!(refused.message().contains("DYN_NATS_STORE_MAX_BYTES"), "{refused}");
    let waiting = calls.len();
    assert_eq!(open(&config).await.stats().await.unwrap().stored, waiting as u64);
    let echo = handler_fn(|request: Request, _| async { Ok(Response::new(request.body)) });
    let _worker = Worker::start(&config).await.with("work", echo).await;
    while let Some(answer) = in_time(calls.join_next()).await {
        assert_eq!(answer.unwrap().unwrap().len(), LARGE);
    }
}

/// Five times what the store holds.
async fn flow_through(client: &NatsClient) {
    let mut answered = 0;
    while answered < 5 * usize::try_from(ROOM).unwrap() / LARGE {
        match call(client, "work", vec![1; LARGE]).await {
            Ok(answer) => {
                assert_eq!(answer.len(), LARGE);
                answered += 1;
            }
            // Faster than room is made; it is, soon.
            Err(error) => assert_eq!(error.kind(), ErrorKind::ResourceExhausted, "{error}"),
        }
    }
}

/// What was answered makes room for what is new: many times the store goes through it.
#[tokio::test]
async fn history_makes_room() {
    let nats = Nats::start();
    let config = config(&nats, store().max_bytes(ROOM).unwrap());
    let echo = handler_fn(|request: Request, _| async { Ok(Response::new(request.body)) });
    let _worker = Worker::start(&config).await.with("work", echo).await;
    in_time(flow_through(&client(&config))).await;
    let stats = open(&config).await.stats().await.unwrap();
    assert!(stats.bytes <= ROOM && stats.stored > 0, "{stats:?}");
}

/// What waits stays, however old it is, and does not keep what was answered after it.
#[tokio::test]
async fn history_makes_room_around_what_waits() {
    let nats = Nats::start();
    let config = config(&nats, store().max_bytes(ROOM).unwrap());
    let (started, mut starts) = mpsc::channel(4);
    let gate = Arc::new(Semaphore::new(0));
    let gated = handler_fn({
        let gate = gate.clone();
        move |request: Request, _| {
            let (gate, started) = (gate.clone(), started.clone());
            async move {
                started.send(()).await.unwrap();
                let _pass = gate.acquire().await.unwrap();
                Ok(Response::new(request.body))
            }
        }
    });
    let echo = handler_fn(|request: Request, _| async { Ok(Response::new(request.body)) });
    let _worker = Worker::start(&config).await.with("gated", gated).await.with("work", echo).await;
    let client = Arc::new(client(&config));
    let waiting = tokio::spawn({
        let client = client.clone();
        async move { call(&client, "gated", vec![1; LARGE]).await }
    });
    in_time(starts.recv()).await.unwrap();
    // Nobody has ever taken this one.
    let request = Request::new(endpoint("nobody"), "x").with_timeout(Duration::from_millis(100));
    client.call(&any(), request).await.unwrap_err();
    in_time(flow_through(&client)).await;
    let store = open(&config).await;
    let again = in_time(async {
        loop {
            match store.replay(&endpoint("gated"), ReplayFrom::Sequence(1), |_| {}).await {
                Ok(again) => return again,
                // Room is made soon.
                Err(error) => assert_eq!(error.kind(), ErrorKind::ResourceExhausted, "{error}"),
            }
        }
    });
    assert_eq!(again.await.requests, 1);
    gate.add_permits(2);
    assert_eq!(in_time(waiting).await.unwrap().unwrap().len(), LARGE);
    let echo = handler_fn(|request: Request, _| async { Ok(Response::new(request.body)) });
    let _late = Worker::start(&config).await.with("nobody", echo).await;
    in_time(async {
        // It is still there, and now its time is over.
        while store.stats().await.unwrap().dead == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}
