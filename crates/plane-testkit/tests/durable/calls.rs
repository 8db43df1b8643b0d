//! Calls that go through the store, while nothing breaks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::stream;
use plane_core::{
    Address, Body, Delivery, ErrorKind, Handler, Headers, InstanceId, Request, RequestPlaneClient, RequestPlaneServer,
    Response, Status, handler_fn,
};
use plane_nats::Credentials;
use plane_testkit::nats::{NatsServer as Nats, NatsServerOptions};
use tokio::sync::{Notify, mpsc};

use crate::world::{Worker, any, call, call_as, client, config, endpoint, in_time, open, store, without_jetstream};

fn echo() -> impl Handler {
    handler_fn(|request: Request, _| async { Ok(Response { headers: request.headers, body: request.body }) })
}

#[tokio::test]
async fn a_stored_request_is_answered_and_stays_in_the_history() {
    let nats = Nats::start();
    let config = config(&nats, store());
    let worker = Worker::start(&config).await.with("echo", echo()).await;
    assert_eq!(worker.server.address(), any());
    let client = client(&config);
    let mut request = Request::new(endpoint("echo"), "hello");
    request.headers.insert("x-tag", "a".parse().unwrap());
    let response = in_time(client.call(&any(), request)).await.unwrap();
    assert_eq!(response.headers.get("x-tag").unwrap(), "a");
    assert_eq!(in_time(response.message()).await.unwrap(), "hello");
    let empty = in_time(client.call(&any(), Request::new(endpoint("echo"), Body::empty()))).await.unwrap();
    assert!(in_time(empty.body.message()).await.is_err());
    let stats = open(&config).await.stats().await.unwrap();
    assert_eq!((stats.stored, stats.dead), (2, 0));
}

/// A request is stored without anybody to run it, and run when somebody comes.
#[tokio::test]
async fn a_request_waits_for_its_first_worker() {
    let nats = Nats::start();
    let config = config(&nats, store());
    let client = Arc::new(client(&config));
    let waiting = tokio::spawn({
        let client = client.clone();
        async move { call(&client, "echo", "early").await }
    });
    let stored = open(&config).await;
    in_time(async {
        while stored.stats().await.unwrap().stored == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let _worker = Worker::start(&config).await.with("echo", echo()).await;
    assert_eq!(in_time(waiting).await.unwrap().unwrap(), "early");
}

#[tokio::test]
async fn answers_stream_with_more_than_one_window() {
    let nats = Nats::start();
    let config = config(&nats, store()).credit(10_000).unwrap();
    let count = handler_fn(|_, _| async {
        let items = stream::iter((0..500).map(|_| Ok::<_, Status>(vec![7; 1_000])));
        Ok(Response::new(Body::stream(items)))
    });
    let _worker = Worker::start(&config).await.with("count", count).await;
    let client = client(&config);
    let mut response = in_time(client.call(&any(), Request::new(endpoint("count"), "go"))).await.unwrap();
    let mut read = 0;
    while let Some(item) = in_time(response.next()).await {
        assert_eq!(item.unwrap().len(), 1_000);
        read += 1;
    }
    assert_eq!(read, 500);
}

/// What cannot be one stored message is refused before anything is sent.
#[tokio::test]
async fn what_cannot_be_stored_is_refused_by_name() {
    let nats = Nats::start();
    let config = config(&nats, store());
    let client = client(&config);
    let stream = Body::stream(stream::iter([Ok::<_, Status>("a"), Ok("b")]));
    let mut to_one = Request::new(endpoint("echo"), "a");
    to_one.instance = InstanceId::new(1);
    let mut bad_key = Request::new(endpoint("echo"), "a");
    bad_key.headers.insert("idempotency-key", "a.b".parse().unwrap());
    let server: Address = "nats://plane.@0000000000000001".parse().unwrap();
    let large = vec![0; 1024 * 1024];
    for (address, request, kind) in [
        (any(), Request::new(endpoint("echo"), stream), ErrorKind::InvalidArgument),
        (any(), Request::new(endpoint("echo"), large), ErrorKind::MessageTooLarge),
        (any(), to_one, ErrorKind::InvalidArgument),
        (any(), bad_key, ErrorKind::InvalidArgument),
        (server, Request::new(endpoint("echo"), "a"), ErrorKind::InvalidArgument),
    ] {
        let error = in_time(client.call(&address, request)).await.unwrap_err();
        assert_eq!((error.kind(), error.delivery()), (kind, Delivery::NotSent), "{error}");
    }
    // A key becomes a part of subjects (threat E11).
    for key in ["", "a b", "*", ">", ".", "a..b", "@a", "+1", &"x".repeat(65)] {
        let error = in_time(call_as(&client, key, "echo", "a")).await.unwrap_err();
        assert_eq!((error.kind(), error.delivery()), (ErrorKind::InvalidArgument, Delivery::NotSent), "{key:?}");
    }
    assert_eq!(open(&config).await.stats().await.unwrap().stored, 0);
}

/// One id within the window is one run, and both callers are answered: the one that comes while it runs, and the one
/// that comes later.
#[tokio::test]
async fn the_same_key_twice_is_run_once() {
    let nats = Nats::start();
    let config = config(&nats, store());
    let runs = Arc::new(AtomicU64::new(0));
    let (started, mut starts) = mpsc::channel(8);
    let go = Arc::new(Notify::new());
    let once = handler_fn({
        let (runs, go) = (runs.clone(), go.clone());
        move |_: Request, _| {
            let (runs, go, started) = (runs.clone(), go.clone(), started.clone());
            async move {
                let run = runs.fetch_add(1, Ordering::SeqCst);
                started.send(()).await.unwrap();
                go.notified().await;
                let mut headers = Headers::new();
                headers.insert("x-run", run.into());
                Ok(Response { headers, body: format!("run {run}").into() })
            }
        }
    });
    let _worker = Worker::start(&config).await.with("once", once).await;
    let (first, second) = (Arc::new(client(&config)), Arc::new(client(&config)));
    let calling = |client: &Arc<plane_nats::NatsClient>| {
        let client = client.clone();
        tokio::spawn(async move { call_as(&client, "order-7", "once", "go").await })
    };
    let one = calling(&first);
    in_time(starts.recv()).await.unwrap();
    let two = calling(&second);
    // The second has been stored, or found to be stored, once it listens for the answer of the first.
    in_time(async {
        while second.stats().in_flight == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    go.notify_one();
    assert_eq!(in_time(one).await.unwrap().unwrap(), "run 0");
    assert_eq!(in_time(two).await.unwrap().unwrap(), "run 0");
    assert_eq!(in_time(call_as(&first, "order-7", "once", "go")).await.unwrap(), "run 0");
    assert_eq!(runs.load(Ordering::SeqCst), 1);
    assert_eq!(open(&config).await.stats().await.unwrap().stored, 1);
}

/// A request that no worker can read is given up unrun, and its caller is told that.
#[tokio::test]
async fn what_nobody_can_run_is_not_executed() {
    let nats = Nats::start();
    let config = config(&nats, store());
    let _worker = Worker::start(&config).await.with("echo", echo()).await;
    let plain = async_nats::connect(nats.url()).await.unwrap();
    let mut inbox = plain.subscribe("inbox").await.unwrap();
    plain.flush().await.unwrap();
    let mut headers = async_nats::HeaderMap::new();
    headers.insert("Plane-Version", "9");
    headers.insert("Plane-Reply", "inbox");
    plain.publish_with_headers("plane.@stored.test.durable.echo", headers, "x".into()).await.unwrap();
    let end = in_time(futures_util::StreamExt::next(&mut inbox)).await.unwrap().headers.unwrap();
    assert_eq!(
        (end.get("Plane-Status").unwrap().as_str(), end.get("Plane-Not-Executed").unwrap().as_str()),
        ("12", "1")
    );
    assert_eq!(open(&config).await.stats().await.unwrap().dead, 1);
}

/// Threat E18: after the window the same key is a new request.
#[tokio::test]
async fn after_the_window_a_key_is_new() {
    let nats = Nats::start();
    let window = std::time::Duration::from_millis(100);
    let config = config(&nats, store().duplicate_window(window).unwrap());
    let runs = Arc::new(AtomicU64::new(0));
    let count = handler_fn({
        let runs = runs.clone();
        move |_, _| {
            let run = runs.fetch_add(1, Ordering::SeqCst) + 1;
            async move { Ok(Response::new(run.to_string())) }
        }
    });
    let _worker = Worker::start(&config).await.with("count", count).await;
    let client = client(&config);
    let mut last = in_time(call_as(&client, "key", "count", "go")).await.unwrap();
    assert_eq!(last, "1");
    in_time(async {
        while last == "1" {
            last = call_as(&client, "key", "count", "go").await.unwrap();
        }
    })
    .await;
    assert_eq!((&last[..], runs.load(Ordering::SeqCst)), (&b"2"[..], 2));
}

/// Threat E21.
#[tokio::test]
async fn a_user_that_may_not_store_is_told_so() {
    let configuration = "authorization { users: [{ user: ann, password: x, permissions: { publish: \
                         { deny: \"plane.@stored.>\" } } }] }\n";
    let options = NatsServerOptions { configuration: configuration.to_owned(), ..NatsServerOptions::default() };
    let nats = Nats::with(options);
    let credentials = Credentials::UserPassword { user: "ann".to_owned(), password: "x".to_owned() };
    let config = config(&nats, store()).credentials(credentials);
    let error = in_time(call(&client(&config), "echo", "a")).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::PermissionDenied, Delivery::NotExecuted), "{error}");
}

/// The subjects that docs/nats.md lists are enough for callers and workers.
#[tokio::test]
async fn the_permissions_that_are_written_down_are_enough() {
    let allowed = [
        "plane.>",
        "_INBOX.>",
        "$SRV.>",
        "$JS.API.STREAM.INFO.*",
        "$JS.API.STREAM.CREATE.*",
        "$JS.API.STREAM.MSG.GET.*",
        "$JS.API.CONSUMER.INFO.plane-requests=plane.>",
        "$JS.API.CONSUMER.CREATE.plane-requests=plane.>",
        "$JS.API.CONSUMER.MSG.NEXT.plane-requests=plane.>",
        "$JS.API.CONSUMER.LIST.plane-requests=plane",
        "$JS.API.STREAM.PURGE.plane-requests=plane",
        "$JS.ACK.plane-requests=plane.>",
    ]
    .map(|subject| format!("\"{subject}\""))
    .join(", ");
    let permissions = format!("{{ publish: [{allowed}], subscribe: [\"plane.>\", \"_INBOX.>\", \"$SRV.>\"] }}");
    let user = format!("{{ user: ann, password: x, permissions: {permissions} }}");
    let configuration = format!("authorization {{ users: [{user}] }}\n");
    let nats = Nats::with(NatsServerOptions { configuration, ..NatsServerOptions::default() });
    let credentials = Credentials::UserPassword { user: "ann".to_owned(), password: "x".to_owned() };
    let config = config(&nats, store()).credentials(credentials);
    let fail = handler_fn(|_, _| async { Err(Status::invalid_argument("bad")) });
    let _worker = Worker::start(&config).await.with("echo", echo()).await.with("fail", fail).await;
    let client = client(&config);
    assert_eq!(in_time(call(&client, "echo", "a")).await.unwrap(), "a");
    assert_eq!(in_time(call(&client, "fail", "a")).await.unwrap_err().kind(), ErrorKind::InvalidArgument);
    let store = open(&config).await;
    in_time(async {
        while store.stats().await.unwrap().pending > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(store.dead_letters(None, 0, 2).await.unwrap().len(), 1);
}

/// What was streamed to its first caller is not kept, and not run again for another.
#[tokio::test]
async fn the_same_key_after_a_stream_says_that_it_was_run() {
    let nats = Nats::start();
    let config = config(&nats, store());
    let count = handler_fn(|request: Request, _| async {
        let message = request.body.message().await.map_err(Status::from)?;
        let items = stream::iter((0..3).map(|_| Ok::<_, Status>("item")));
        Ok(if message == "none" { Response::default() } else { Response::new(Body::stream(items)) })
    });
    let _worker = Worker::start(&config).await.with("count", count).await;
    let client = client(&config);
    let request = |message: &'static str| {
        let mut request = Request::new(endpoint("count"), message);
        request.headers.insert("idempotency-key", message.parse().unwrap());
        request
    };
    let mut response = in_time(client.call(&any(), request("many"))).await.unwrap();
    while let Some(item) = in_time(response.next()).await {
        item.unwrap();
    }
    let error = in_time(client.call(&any(), request("many"))).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::AlreadyExists, Delivery::Executed), "{error}");
    // An answer without a message is kept whole.
    for _ in 0..2 {
        let mut response = in_time(client.call(&any(), request("none"))).await.unwrap();
        assert!(in_time(response.next()).await.is_none());
    }
}

/// A client that knows nothing of the plane can store a request, and what becomes of it is seen.
#[tokio::test]
async fn a_plain_client_can_store_a_request() {
    let nats = Nats::start();
    let config = config(&nats, store());
    let (ran, mut runs) = mpsc::channel(8);
    let work = handler_fn(move |request: Request, _| {
        let ran = ran.clone();
        async move {
            let message = request.body.message().await.map_err(Status::from)?;
            ran.send(message.clone()).await.unwrap();
            if message == "bad" { Err(Status::invalid_argument("bad")) } else { Ok(Response::default()) }
        }
    });
    let _worker = Worker::start(&config).await.with("work", work).await;
    let plain = async_nats::connect(nats.url()).await.unwrap();
    for message in ["good", "bad"] {
        plain.publish("plane.@stored.test.durable.work", message.into()).await.unwrap();
        assert_eq!(in_time(runs.recv()).await.unwrap(), message);
    }
    let store = open(&config).await;
    let letters = in_time(async {
        loop {
            let letters = store.dead_letters(None, 0, 10).await.unwrap();
            if !letters.is_empty() {
                return letters;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!((letters.len(), &letters[0].payload[..]), (1, &b"bad"[..]));
}

/// Threat E20: a store that somebody has removed is a typed error at once, and made anew for the next call.
#[tokio::test]
async fn a_store_that_is_gone_is_made_anew() {
    let nats = Nats::start();
    let config = config(&nats, store());
    let _worker = Worker::start(&config).await.with("echo", echo()).await;
    let client = client(&config);
    in_time(call(&client, "echo", "a")).await.unwrap();
    let plain = async_nats::connect(nats.url()).await.unwrap();
    async_nats::jetstream::new(plain).delete_stream("plane-requests=plane").await.unwrap();
    match in_time(call(&client, "echo", "b")).await {
        Err(error) => {
            assert_eq!((error.kind(), error.delivery()), (ErrorKind::Unavailable, Delivery::NotSent), "{error}")
        }
        // The worker was quicker.
        Ok(answer) => assert_eq!(answer, "b"),
    }
    assert_eq!(in_time(call(&client, "echo", "c")).await.unwrap(), "c");
}

/// Threat E20.
#[tokio::test]
async fn without_jetstream_a_call_fails_at_once() {
    let nats = without_jetstream();
    let config = config(&nats, store());
    let client = client(&config);
    let error = in_time(call(&client, "echo", "a")).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Unavailable, Delivery::NotSent), "{error}");
    let worker = Worker::start(&config).await;
    let id = InstanceId::new(1).unwrap();
    let error = in_time(worker.server.register(endpoint("echo"), id, Arc::new(echo()))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
}

/// Case B9: two deployments whose prefixes look alike.
#[tokio::test]
async fn prefixes_keep_stores_apart() {
    let nats = Nats::start();
    let at = |prefix: &str| config(&nats, store()).prefix(prefix).unwrap();
    let (one, two) = (at("a.b"), at("a_b"));
    let _worker = Worker::start(&one).await.with("echo", echo()).await;
    let (caller, other) = (client(&one), client(&two));
    let to = |prefix: &str| format!("nats://{prefix}").parse::<Address>().unwrap();
    let answer = in_time(caller.call(&to("a.b"), Request::new(endpoint("echo"), "x"))).await.unwrap();
    assert_eq!(in_time(answer.message()).await.unwrap(), "x");
    let deadline = std::time::Duration::from_millis(500);
    let request = Request::new(endpoint("echo"), "x").with_timeout(deadline);
    let error = in_time(other.call(&to("a_b"), request)).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::DeadlineExceeded, Delivery::Unknown));
    assert_eq!(
        (open(&one).await.stats().await.unwrap().stored, open(&two).await.stats().await.unwrap().stored),
        (1, 1)
    );
}

/// A store with other settings is refused by name, and changed when that is asked for.
#[tokio::test]
async fn settings_that_differ_are_refused_by_name() {
    let nats = Nats::start();
    let first = config(&nats, store());
    let _worker = Worker::start(&first).await.with("echo", echo()).await;
    let second = config(&nats, store().max_bytes(1024 * 1024).unwrap().beat(crate::world::BEAT * 2).unwrap());
    let error = in_time(call(&client(&second), "echo", "a")).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::FailedPrecondition, Delivery::NotSent));
    assert!(error.message().contains("max_bytes"), "{error}");
    plane_nats::RequestStore::apply(&plane_nats::NatsConnection::new(second.clone())).await.unwrap();
    assert_eq!(in_time(call(&client(&second), "echo", "a")).await.unwrap(), "a");
    assert_eq!(open(&second).await.stats().await.unwrap().max_bytes, 1024 * 1024);
}
