//! A store that is full: of requests that wait, and of those that were answered.

use std::sync::Arc;
use std::time::Duration;

use plane_core::{Delivery, ErrorKind, Request, Response, handler_fn};
use plane_testkit::nats::NatsServer as Nats;
use tokio::task::JoinSet;

use crate::world::{Worker, call, client, config, in_time, open, store};

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
    assert!(refused.message().contains("max_bytes"), "{refused}");
    let waiting = calls.len();
    assert_eq!(open(&config).await.stats().await.unwrap().stored, waiting as u64);
    let echo = handler_fn(|request: Request, _| async { Ok(Response::new(request.body)) });
    let _worker = Worker::start(&config).await.with("work", echo).await;
    while let Some(answer) = in_time(calls.join_next()).await {
        assert_eq!(answer.unwrap().unwrap().len(), LARGE);
    }
}

/// What was answered makes room for what is new: many times the store goes through it.
#[tokio::test]
async fn history_makes_room() {
    let nats = Nats::start();
    let config = config(&nats, store().max_bytes(ROOM).unwrap());
    let echo = handler_fn(|request: Request, _| async { Ok(Response::new(request.body)) });
    let _worker = Worker::start(&config).await.with("work", echo).await;
    let client = client(&config);
    let mut answered = 0;
    in_time(async {
        while answered < 5 * usize::try_from(ROOM).unwrap() / LARGE {
            match call(&client, "work", vec![1; LARGE]).await {
                Ok(answer) => {
                    assert_eq!(answer.len(), LARGE);
                    answered += 1;
                }
                // Faster than room is made; it is, soon.
                Err(error) => assert_eq!(error.kind(), ErrorKind::ResourceExhausted, "{error}"),
            }
        }
    })
    .await;
    let stats = open(&config).await.stats().await.unwrap();
    assert!(stats.bytes <= ROOM && stats.stored > 0, "{stats:?}");
}
