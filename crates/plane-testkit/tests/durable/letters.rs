//! Requests that are given up: their reason, and what can be done about them; and replays.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use plane_core::{Code, Delivery, ErrorKind, Request, Response, Status, handler_fn};
use plane_nats::{ReplayFrom, RequestStore};
use plane_testkit::nats::NatsServer as Nats;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::process::WorkerProcess;
use crate::world::{Worker, call, client, config, endpoint, in_time, open, store};

/// Nothing waits any more.
async fn settled(store: &RequestStore) {
    in_time(async {
        while store.stats().await.unwrap().pending > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// What fails each time is given up with its reason while others flow on; mended, it is requeued and done.
#[tokio::test]
async fn poison_becomes_a_dead_letter_and_others_flow() {
    let nats = Nats::start();
    let config = config(&nats, store());
    let (is_mended, tries) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let (done, mut did) = mpsc::channel(64);
    let work = handler_fn({
        let (is_mended, tries) = (is_mended.clone(), tries.clone());
        move |request: Request, _| {
            let (is_mended, tries, done) = (is_mended.clone(), tries.clone(), done.clone());
            async move {
                let origin = request.headers.clone();
                let message = request.body.message().await.map_err(Status::from)?;
                if message == "hopeless" {
                    return Err(Status::invalid_argument("it is wrong").with_details("x"));
                }
                if message == "poison" && !is_mended.load(Ordering::SeqCst) {
                    tries.fetch_add(1, Ordering::SeqCst);
                    panic!("poisoned");
                }
                if message == "poison" {
                    assert_eq!(origin.get("x-tag").unwrap(), "kept");
                    done.send(()).await.unwrap();
                }
                Ok(Response::new(message))
            }
        }
    });
    let _worker = Worker::start(&config).await.with("work", work).await;
    let client = Arc::new(client(&config));
    let poisoned = tokio::spawn({
        let client = client.clone();
        async move {
            let mut request = Request::new(endpoint("work"), "poison");
            request.headers.insert("x-tag", "kept".parse().unwrap());
            plane_core::RequestPlaneClient::call(&*client, &crate::world::any(), request).await.map(|_| ())
        }
    });
    let mut others = JoinSet::new();
    for number in 0..20 {
        let client = client.clone();
        others.spawn(async move {
            assert_eq!(call(&client, "work", number.to_string()).await.unwrap(), number.to_string())
        });
    }
    while let Some(other) = in_time(others.join_next()).await {
        other.unwrap();
    }
    let error = in_time(poisoned).await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Internal, Delivery::Executed), "{error}");
    assert_eq!(tries.load(Ordering::SeqCst), 3);
    let error = in_time(call(&client, "work", "hopeless")).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::InvalidArgument, Delivery::Executed));
    assert_eq!(error.status().unwrap().details(), "x");

    let store = open(&config).await;
    let letters = store.dead_letters(Some(&endpoint("work")), 0, 10).await.unwrap();
    let [poison, hopeless] = &letters[..] else { panic!("{letters:?}") };
    assert_eq!((&poison.payload[..], poison.attempts, poison.reason.code()), (&b"poison"[..], 3, Code::INTERNAL));
    assert_eq!(poison.headers.get("x-tag").unwrap(), "kept");
    assert_eq!((hopeless.attempts, hopeless.reason.code()), (1, Code::INVALID_ARGUMENT));
    assert!(poison.reason.message().contains("poisoned"), "{}", poison.reason);
    assert!(store.dead_letters(Some(&endpoint("other")), 0, 10).await.unwrap().is_empty());
    assert_eq!(store.dead_letters(None, poison.sequence, 10).await.unwrap().len(), 1);

    is_mended.store(true, Ordering::SeqCst);
    store.requeue(poison.sequence).await.unwrap();
    in_time(did.recv()).await.unwrap();
    assert_eq!(store.requeue(poison.sequence).await.unwrap_err().kind(), ErrorKind::NotFound);
    settled(&store).await;
    assert_eq!(store.stats().await.unwrap().dead, 1);
    // What still fails comes back.
    assert_eq!(store.requeue_all(None).await.unwrap(), 1);
    settled(&store).await;
    in_time(async {
        while store.stats().await.unwrap().dead == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let again = store.dead_letters(None, 0, 10).await.unwrap();
    assert_eq!((again.len(), again[0].payload.as_ref()), (1, &b"hopeless"[..]));
}

/// A request that kills every server that runs it is given up without being run once more.
#[tokio::test]
async fn what_kills_its_servers_becomes_a_dead_letter() {
    let nats = Nats::start();
    let config = config(&nats, store());
    let client = Arc::new(client(&config));
    let killing = tokio::spawn({
        let client = client.clone();
        async move { call(&client, "work", "kill").await }
    });
    for _ in 0..3 {
        let mut worker = WorkerProcess::launch(&nats.url());
        worker.said("start kill").await;
        worker.ended().await;
    }
    let _fourth = WorkerProcess::start(&nats.url()).await;
    let error = in_time(killing).await.unwrap().unwrap_err();
    assert_eq!((error.code(), error.delivery()), (Code::ABORTED, Delivery::Executed), "{error}");
    assert_eq!(in_time(call(&client, "work", "other")).await.unwrap(), "other");
    let letters = open(&config).await.dead_letters(None, 0, 10).await.unwrap();
    assert_eq!((letters.len(), &letters[0].payload[..], letters[0].reason.code()), (1, &b"kill"[..], Code::ABORTED));
}

/// Stored requests are run again from a place or a time, up to the last one at that moment.
#[tokio::test]
async fn requests_are_replayed_from_a_place_and_from_a_time() {
    let nats = Nats::start();
    let config = config(&nats, store());
    let (ran, mut runs) = mpsc::channel(64);
    let work = handler_fn(move |request: Request, _| {
        let ran = ran.clone();
        async move {
            let message = request.body.message().await.map_err(Status::from)?;
            ran.send(message.clone()).await.unwrap();
            Ok(Response::new(message))
        }
    });
    let worker = Worker::start(&config).await.with("work", work).await;
    let echo = handler_fn(|request: Request, _| async { Ok(Response::new(request.body)) });
    let _worker = worker.with("other", echo).await;
    let client = client(&config);
    let mut between = SystemTime::UNIX_EPOCH;
    for number in 0..6 {
        if number == 4 {
            // One server, one machine: its clock is this one. It moves on before the next is stored.
            between = SystemTime::now();
            while SystemTime::now().duration_since(between).unwrap() < Duration::from_millis(2) {
                std::hint::spin_loop();
            }
        }
        in_time(call(&client, "work", number.to_string())).await.unwrap();
        in_time(call(&client, "other", "not replayed")).await.unwrap();
        assert_eq!(runs.recv().await.unwrap(), number.to_string());
    }
    let store = open(&config).await;
    // Each request of "work" is followed by one of "other": 1, 3, 5, 7, 9 and 11.
    let mut heard = Vec::new();
    let from = ReplayFrom::Sequence(7);
    let done = in_time(store.replay(&endpoint("work"), from, |progress| heard.push(progress.last))).await.unwrap();
    assert_eq!((done.requests, done.last, done.until, &heard[..]), (3, 11, 12, &[7, 9, 11][..]));
    assert_eq!(received(&mut runs, 3).await, ["3", "4", "5"]);
    let until_now = in_time(store.replay(&endpoint("work"), ReplayFrom::Time(between), |_| {})).await.unwrap();
    assert_eq!(until_now.requests, 2 + 3);
    assert_eq!(received(&mut runs, 5).await, ["3", "4", "4", "5", "5"]);
    let future = SystemTime::now() + Duration::from_secs(3_600);
    let none = in_time(store.replay(&endpoint("work"), ReplayFrom::Time(future), |_| {})).await.unwrap();
    assert_eq!(none.requests, 0);
    settled(&store).await;
}

/// So many runs, in any order: requests of one endpoint are run beside each other.
async fn received(runs: &mut mpsc::Receiver<bytes::Bytes>, count: usize) -> Vec<bytes::Bytes> {
    let mut received = Vec::new();
    for _ in 0..count {
        received.push(in_time(runs.recv()).await.unwrap());
    }
    received.sort();
    received
}
