//! What survives when workers, the NATS server or the connection to it break.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::{StreamExt as _, stream};
use plane_core::{
    AdmissionLimits, Body, Code, Delivery, ErrorKind, Health, Request, RequestPlaneClient, RequestPlaneServer,
    Response, Status, handler_fn,
};
use plane_nats::NatsClient;
use plane_testkit::nats::NatsServer as Nats;
use plane_testkit::{ChaosProxy, Ending, Faults};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use crate::process::WorkerProcess;
use crate::world::{BEAT, Worker, any, call, client, config, config_at, endpoint, in_time, open, store};

type Answers = JoinSet<(String, Result<bytes::Bytes, plane_core::Error>)>;

/// Calls `name` this often at once.
fn call_all(client: &Arc<NatsClient>, name: &'static str, count: usize) -> Answers {
    let mut answers = JoinSet::new();
    for number in 0..count {
        let client = client.clone();
        answers.spawn(async move {
            let message = number.to_string();
            let answer = call(&client, name, message.clone()).await;
            (message, answer)
        });
    }
    answers
}

/// Each caller has had its own answer.
async fn all_answered(mut answers: Answers, count: usize) {
    let mut answered = BTreeSet::new();
    while let Some(done) = in_time(answers.join_next()).await {
        let (message, answer) = done.unwrap();
        assert_eq!(answer.unwrap(), message);
        answered.insert(message);
    }
    assert_eq!(answered.len(), count);
}

async fn stored(config: &plane_nats::NatsConfig, count: u64) {
    let store = open(config).await;
    in_time(async {
        while store.stats().await.unwrap().stored < count {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// A worker killed in the middle of 100 stored requests loses none, and each caller is answered.
#[tokio::test]
async fn a_killed_worker_loses_no_request() {
    let nats = Nats::start();
    let config = config(&nats, store());
    let mut first = WorkerProcess::start(&nats.url()).await;
    let client = Arc::new(client(&config));
    let answers = call_all(&client, "work", 100);
    for _ in 0..20 {
        in_time(first.next()).await.expect("it works");
    }
    first.kill();
    let _second = WorkerProcess::start(&nats.url()).await;
    all_answered(answers, 100).await;
    let stats = open(&config).await.stats().await.unwrap();
    assert_eq!((stats.stored, stats.dead), (100, 0));
}

/// What a dead worker had is given to another after three missed beats, not after NATS's own 30 s.
#[tokio::test]
async fn a_dead_workers_request_is_run_again_within_three_beats() {
    let nats = Nats::start();
    let config = config(&nats, store());
    let mut first = WorkerProcess::start(&nats.url()).await;
    let client = Arc::new(client(&config));
    let mut answer = tokio::spawn({
        let client = client.clone();
        async move { client.call(&any(), Request::new(endpoint("drip"), "silent")).await }
    });
    first.said("drip").await;
    let mut second = WorkerProcess::start(&nats.url()).await;
    let killed = Instant::now();
    first.kill();
    second.said("drip").await;
    let took = killed.elapsed();
    assert!(took < 3 * BEAT + Duration::from_secs(5), "{took:?}");
    // It has begun, and begins anew without its caller noticing.
    let _response = in_time(&mut answer).await.unwrap().unwrap();
}

/// An answer is never put together of two runs.
#[tokio::test]
async fn a_stream_that_was_read_ends_typed_when_its_worker_dies() {
    let nats = Nats::start();
    let keepalive = Duration::from_millis(500);
    let config = config(&nats, store()).keepalive(keepalive, keepalive).unwrap();
    let first = WorkerProcess::start(&nats.url()).await;
    let client = client(&config);
    let mut response = in_time(client.call(&any(), Request::new(endpoint("drip"), "go"))).await.unwrap();
    assert_eq!(in_time(response.next()).await.unwrap().unwrap(), "item");
    let _second = WorkerProcess::start(&nats.url()).await;
    first.kill();
    let error = in_time(response.next()).await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Disconnected, Delivery::Executed), "{error}");
    assert!(response.next().await.is_none());
}

/// The NATS server killed with requests stored and running loses none, and each caller is answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_nats_server_loses_no_request() {
    let mut nats = Nats::start();
    let config = config(&nats, store()).admission(AdmissionLimits { running: 8, queued: 0 });
    let (gate, runs) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicU64::new(0)));
    let gated = handler_fn({
        let (gate, runs) = (gate.clone(), runs.clone());
        move |request: Request, _| {
            let (gate, runs) = (gate.clone(), runs.clone());
            async move {
                runs.fetch_add(1, Ordering::SeqCst);
                let _pass = gate.acquire().await.unwrap();
                Ok(Response::new(request.body))
            }
        }
    });
    let worker = Worker::start(&config).await.with("gated", gated).await;
    let client = Arc::new(client(&config));
    let answers = call_all(&client, "gated", 100);
    stored(&config, 100).await;
    in_time(async {
        while runs.load(Ordering::SeqCst) < 8 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    nats.restart();
    gate.add_permits(100);
    all_answered(answers, 100).await;
    assert_eq!(open(&config).await.stats().await.unwrap().dead, 0);
    drop(worker);
}

/// Calls that are made while NATS is killed and comes back are answered, or say that they were certainly not sent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_made_while_nats_restarts_are_answered_or_not_sent() {
    let mut nats = Nats::start();
    let config = config(&nats, store());
    let echo = handler_fn(|request: Request, _| async { Ok(Response::new(request.body)) });
    let _worker = Worker::start(&config).await.with("echo", echo).await;
    let client = Arc::new(client(&config));
    let answered = Arc::new(AtomicU64::new(0));
    let mut callers = JoinSet::new();
    for caller in 0..8 {
        let (client, answered) = (client.clone(), answered.clone());
        callers.spawn(async move {
            let mut left = 100;
            while left > 0 {
                let message = format!("{caller} {left}");
                match call(&client, "echo", message.clone()).await {
                    Ok(answer) => {
                        assert_eq!(answer, message);
                        answered.fetch_add(1, Ordering::SeqCst);
                        left -= 1;
                    }
                    Err(error) => {
                        let seen = (error.kind(), error.delivery());
                        assert_eq!(seen, (ErrorKind::Unavailable, Delivery::NotSent), "{error:?}");
                        tokio::task::yield_now().await;
                    }
                }
            }
        });
    }
    for restart in 1..=2 {
        in_time(async {
            while answered.load(Ordering::SeqCst) < restart * 200 {
                tokio::task::yield_now().await;
            }
        })
        .await;
        nats.restart();
    }
    while let Some(caller) = in_time(callers.join_next()).await {
        caller.unwrap();
    }
    assert_eq!(open(&config).await.stats().await.unwrap().dead, 0);
}

/// A stream that had not begun when NATS was killed comes whole.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_had_not_begun_survives_nats() {
    let mut nats = Nats::start();
    let config = config(&nats, store()).accept_notice(Duration::from_millis(10)).unwrap();
    let (started, mut starts) = mpsc::channel(8);
    let gate = Arc::new(Semaphore::new(0));
    let gated = handler_fn({
        let gate = gate.clone();
        move |_, _| {
            let (gate, started) = (gate.clone(), started.clone());
            async move {
                started.send(()).await.unwrap();
                let _pass = gate.acquire().await.unwrap();
                Ok(Response::new(Body::stream(stream::iter((0..3).map(|_| Ok::<_, Status>("item"))))))
            }
        }
    });
    let worker = Worker::start(&config).await.with("gated", gated).await;
    let worker = worker.with("echo", handler_fn(|request: Request, _| async { Ok(Response::new(request.body)) })).await;
    let client = Arc::new(client(&config));
    let answer = tokio::spawn({
        let client = client.clone();
        async move { client.call(&any(), Request::new(endpoint("gated"), "go")).await }
    });
    in_time(starts.recv()).await.unwrap();
    let connected = async |is_connected: bool| {
        while [worker.server.health(), client.health()].iter().any(|now| (*now == Health::Ready) != is_connected) {
            tokio::task::yield_now().await;
        }
    };
    nats.kill();
    in_time(connected(false)).await;
    nats.restart();
    in_time(connected(true)).await;
    // Once this is answered, both listen again.
    in_time(call(&client, "echo", "x")).await.unwrap();
    gate.add_permits(1);
    let mut response = in_time(answer).await.unwrap().unwrap();
    for _ in 0..3 {
        assert_eq!(in_time(response.next()).await.unwrap().unwrap(), "item");
    }
    assert!(in_time(response.next()).await.is_none());
}

/// An answer that was sent while its caller was cut off is looked up when the connection is back.
#[tokio::test]
async fn a_caller_that_was_cut_off_finds_its_answer() {
    let nats = Nats::start();
    let direct = config(&nats, store());
    let proxy = ChaosProxy::start(([127, 0, 0, 1], nats.port()).into()).await.unwrap();
    let cut_off = config_at(&format!("nats://{}", proxy.address()), store());
    let (started, mut starts) = mpsc::channel(8);
    let gate = Arc::new(Semaphore::new(0));
    let runs = Arc::new(AtomicU64::new(0));
    let gated = handler_fn({
        let (gate, runs) = (gate.clone(), runs.clone());
        move |request: Request, _| {
            let (gate, runs, started) = (gate.clone(), runs.clone(), started.clone());
            async move {
                runs.fetch_add(1, Ordering::SeqCst);
                started.send(()).await.unwrap();
                let _pass = gate.acquire().await.unwrap();
                Ok(Response::new(request.body))
            }
        }
    });
    let worker = Worker::start(&direct).await.with("gated", gated).await;
    let client = Arc::new(client(&cut_off));
    let answer = tokio::spawn(async move { call(&client, "gated", "x").await });
    in_time(starts.recv()).await.unwrap();
    proxy.set_both(Faults::black_hole());
    proxy.end_all(Ending::Reset);
    gate.add_permits(1);
    in_time(async {
        while worker.server.stats().completed == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    proxy.set_both(Faults::none());
    proxy.end_all(Ending::Reset);
    assert_eq!(in_time(answer).await.unwrap().unwrap(), "x");
    assert_eq!(runs.load(Ordering::SeqCst), 1);
}

/// A server that leaves gives back what it could not finish, and that is no try: here only one is allowed.
#[tokio::test]
async fn a_server_that_leaves_gives_its_requests_back() {
    let nats = Nats::start();
    let config = config(&nats, store().max_attempts(1).unwrap());
    let (started, mut starts) = mpsc::channel(8);
    let hang = handler_fn(move |_, _| {
        let started = started.clone();
        async move {
            started.send(()).await.unwrap();
            std::future::pending::<Result<Response, Status>>().await
        }
    });
    let first = Worker::start(&config).await.with("work", hang).await;
    let client = Arc::new(client(&config));
    let answers = call_all(&client, "work", 10);
    for _ in 0..10 {
        in_time(starts.recv()).await.unwrap();
    }
    let report = in_time(first.server.drain(Instant::now())).await;
    assert_eq!(report.aborted, 10);
    let echo = handler_fn(|request: Request, _| async { Ok(Response::new(request.body)) });
    let second = Worker::start(&config).await.with("work", echo).await;
    all_answered(answers, 10).await;
    assert_eq!(open(&config).await.stats().await.unwrap().dead, 0);
    // One that drains with time for it finishes what it has.
    let answers = call_all(&client, "work", 10);
    stored(&config, 20).await;
    let third = Worker::start(&config)
        .await
        .with("work", handler_fn(|request: Request, _| async { Ok(Response::new(request.body)) }))
        .await;
    assert_eq!(in_time(second.server.drain(Instant::now() + crate::world::IN_TIME)).await.aborted, 0);
    all_answered(answers, 10).await;
    drop(third);
}

/// A request whose time is over before anybody could start it is not run.
#[tokio::test]
async fn a_deadline_passes_in_the_store() {
    let nats = Nats::start();
    let config = config(&nats, store());
    let client = client(&config);
    let request = Request::new(endpoint("late"), "x").with_timeout(Duration::from_millis(300));
    let error = in_time(client.call(&any(), request)).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::DeadlineExceeded, Delivery::Unknown));
    let runs = Arc::new(AtomicU64::new(0));
    let late = handler_fn({
        let runs = runs.clone();
        move |request: Request, _| {
            runs.fetch_add(1, Ordering::SeqCst);
            async move { Ok(Response::new(request.body)) }
        }
    });
    let _worker = Worker::start(&config).await.with("late", late).await;
    let store = open(&config).await;
    let letter = in_time(async {
        loop {
            if let Some(letter) = store.dead_letters(None, 0, 1).await.unwrap().pop() {
                return letter;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!((letter.reason.code(), letter.endpoint), (Code::DEADLINE_EXCEEDED, endpoint("late")));
    assert_eq!(runs.load(Ordering::SeqCst), 0);
}

/// A caller that goes away leaves its work stored, and the work is done.
#[tokio::test]
async fn work_goes_on_without_its_caller() {
    let nats = Nats::start();
    let config = config(&nats, store()).credit(1_024).unwrap();
    let done = Arc::new(Semaphore::new(0));
    let items = handler_fn({
        let done = done.clone();
        move |_, _| {
            let done = done.clone();
            async move {
                // Far more than the credit of a caller that does not read.
                let items = stream::iter(0..100).map(|_| Ok::<_, Status>(vec![7; 1_000]));
                let last = stream::once(async move {
                    done.add_permits(1);
                    Ok(Vec::new())
                });
                Ok(Response::new(Body::stream(items.chain(last))))
            }
        }
    });
    let _worker = Worker::start(&config).await.with("items", items).await;
    let client = client(&config);
    let mut response = in_time(client.call(&any(), Request::new(endpoint("items"), "go"))).await.unwrap();
    in_time(response.next()).await.unwrap().unwrap();
    drop(response);
    in_time(done.acquire()).await.unwrap().forget();
    let store = open(&config).await;
    in_time(async {
        while store.stats().await.unwrap().pending > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(client.stats().in_flight, 0);
}
