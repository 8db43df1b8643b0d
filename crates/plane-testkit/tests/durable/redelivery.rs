//! Stored requests that NATS gives to servers again though they were answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use plane_core::{Authorizer, Code, ErrorKind, Handler, Request, RequestPlaneClient, Response, Status, handler_fn};
use plane_nats::Credentials;
use plane_testkit::nats::{NatsServer as Nats, NatsServerOptions};

use crate::process::WorkerProcess;
use crate::world::{Worker, any, call, client, config, endpoint, in_time, open, store};

/// Who says nothing else may not acknowledge anything.
const USERS: &str = "authorization { users = [
    { user: all, password: x }
    { user: mute, password: x, permissions: { publish: { deny: \"$JS.ACK.>\" } } } ] }
no_auth_user: mute\n";

/// The same with another user who may not read anything out of the store.
const BLIND: &str = "authorization { users = [
    { user: all, password: x }
    { user: blind, password: x, permissions: { publish: { deny: \"$JS.API.STREAM.MSG.GET.>\" } } } ] }\n";

/// The same without that.
const SEEING: &str = "authorization { users = [ { user: all, password: x }, { user: blind, password: x } ] }\n";

fn credentials(user: &str) -> Credentials {
    Credentials::UserPassword { user: user.to_owned(), password: "x".to_owned() }
}

/// Answers with what came, and counts.
fn counted() -> (Arc<AtomicU64>, impl Handler) {
    let runs = Arc::new(AtomicU64::new(0));
    let counting = runs.clone();
    let handler = handler_fn(move |request: Request, _| {
        counting.fetch_add(1, Ordering::SeqCst);
        async { Ok(Response::new(request.body)) }
    });
    (runs, handler)
}

/// How often NATS has given requests of this endpoint to servers.
async fn deliveries(nats: &Nats, endpoint: &str) -> u64 {
    let plain = async_nats::ConnectOptions::with_user_and_password("all".to_owned(), "x".to_owned());
    let jetstream = async_nats::jetstream::new(plain.connect(nats.url()).await.unwrap());
    let stream = jetstream.get_stream("plane-requests=plane").await.unwrap();
    stream.consumer_info(&format!("test=durable={endpoint}")).await.unwrap().delivered.consumer_sequence
}

/// Threat E17: every acknowledgement of a request that was answered is lost, and then the server is killed. NATS gives it
/// to servers again and again; its handler runs once.
#[tokio::test]
async fn a_request_whose_acknowledgement_is_lost_is_run_once() {
    let nats = Nats::with(NatsServerOptions { configuration: USERS.to_owned(), ..NatsServerOptions::default() });
    let config = config(&nats, store()).credentials(credentials("all"));
    let mut first = WorkerProcess::start(&nats.url()).await;
    let client = client(&config);
    assert_eq!(in_time(call(&client, "work", "once")).await.unwrap(), "once");
    assert_eq!(in_time(first.next()).await.unwrap(), "start once");
    // More often than a request is tried.
    in_time(async { while deliveries(&nats, "work").await < 5 {} }).await;
    assert_eq!(in_time(call(&client, "work", "next")).await.unwrap(), "next");
    assert_eq!(in_time(first.next()).await.unwrap(), "start next");
    first.kill();
    let (runs, counted) = counted();
    let _second = Worker::start(&config).await.with("work", counted).await;
    let store = open(&config).await;
    in_time(async {
        while store.stats().await.unwrap().pending > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!((runs.load(Ordering::SeqCst), store.stats().await.unwrap().dead), (0, 0));
    assert_eq!(in_time(call(&client, "work", "new")).await.unwrap(), "new");
    assert_eq!(runs.load(Ordering::SeqCst), 1);
}

/// Threat E20: a worker that cannot learn whether a request was answered asks until it can. NATS counts what is given back
/// for that like a try, so the request would be a dead letter that nobody ever ran.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn looking_whether_a_request_was_answered_is_no_try() {
    let mut nats = Nats::with(NatsServerOptions { configuration: BLIND.to_owned(), ..NatsServerOptions::default() });
    let config = config(&nats, store());
    let all = config.clone().credentials(credentials("all"));
    let client = client(&all);
    let calling = tokio::spawn(async move { call(&client, "echo", "in the end").await });
    let store = open(&all).await;
    in_time(async { while store.stats().await.unwrap().stored == 0 {} }).await;
    let echo = handler_fn(|request: Request, _| async { Ok(Response::new(request.body)) });
    let worker = Worker::start(&config.credentials(credentials("blind"))).await.with("echo", echo).await;
    let refused = || nats.log().iter().filter(|line| line.contains("STREAM.MSG.GET")).count();
    // More often than a request is tried.
    in_time(async {
        while refused() < 10 {
            tokio::task::yield_now().await
        }
    })
    .await;
    assert_eq!(deliveries(&nats, "echo").await, 1);
    nats.restart_with_configuration(SEEING);
    assert_eq!(in_time(calling).await.unwrap().unwrap(), "in the end");
    assert_eq!(open(&all).await.stats().await.unwrap().dead, 0);
    drop(worker);
}

/// The time in which a worker looks counts against the request's deadline like the time in the store.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_whose_time_passes_while_a_worker_looks_is_not_run() {
    let mut nats = Nats::with(NatsServerOptions { configuration: BLIND.to_owned(), ..NatsServerOptions::default() });
    let config = config(&nats, store());
    let all = config.clone().credentials(credentials("all"));
    let client = client(&all);
    let calling = tokio::spawn(async move {
        let request = Request::new(endpoint("echo"), "late").with_timeout(Duration::from_secs(1));
        client.call(&any(), request).await?.message().await
    });
    let store = open(&all).await;
    in_time(async { while store.stats().await.unwrap().stored == 0 {} }).await;
    let (runs, counted) = counted();
    let worker = Worker::start(&config.credentials(credentials("blind"))).await.with("echo", counted).await;
    assert_eq!(in_time(calling).await.unwrap().unwrap_err().kind(), ErrorKind::DeadlineExceeded);
    nats.restart_with_configuration(SEEING);
    let store = open(&all).await;
    in_time(async { while store.stats().await.unwrap().dead == 0 {} }).await;
    let letter = store.dead_letters(None, 0, 1).await.unwrap().remove(0);
    assert_eq!((letter.reason.code(), runs.load(Ordering::SeqCst)), (Code::DEADLINE_EXCEEDED, 0));
    drop(worker);
}

/// What a worker's authorizer forbids waits for one that allows it, however often NATS gives it to the first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stored_request_that_one_worker_forbids_waits_for_another() {
    let nats = Nats::start();
    let config = config(&nats, store());
    let strict = config.clone().authorizer(Authorizer::new(|_, _| false));
    let never = handler_fn(async |_, _| -> Result<Response, Status> { panic!("it is forbidden") });
    let forbidding = Worker::start(&strict).await.with("echo", never).await;
    let client = client(&config);
    let calling = tokio::spawn(async move { call(&client, "echo", "allowed in the end").await });
    // More often than a request is tried.
    in_time(async { while deliveries(&nats, "echo").await < 5 {} }).await;
    let echo = handler_fn(|request: Request, _| async { Ok(Response::new(request.body)) });
    let allowing = Worker::start(&config).await.with("echo", echo).await;
    assert_eq!(in_time(calling).await.unwrap().unwrap(), "allowed in the end");
    assert_eq!(open(&config).await.stats().await.unwrap().dead, 0);
    drop((forbidding, allowing));
}
