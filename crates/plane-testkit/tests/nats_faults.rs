//! What holds on NATS alone: plain clients, the server's limits, and a server that breaks.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use plane_core::{
    AbortReason, Address, Body, Context, Delivery, EndpointId, Error, ErrorKind, Handler, Health, InstanceId,
    Registration, Request, RequestPlaneClient, RequestPlaneServer, Response, Status, handler_fn,
};
use plane_nats::{Credentials, NatsClient, NatsConfig, NatsConnection, NatsServer};
use plane_testkit::nats::{NatsServer as Nats, NatsServerOptions};
use tokio::sync::mpsc;

/// Far more than anything here takes, for a machine that is busy.
const IN_TIME: Duration = Duration::from_secs(30);

async fn in_time<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(IN_TIME, work).await.expect("every call ends in time")
}

fn endpoint(name: &str) -> EndpointId {
    EndpointId::new("test", "nats", name).unwrap()
}

fn config(nats: &Nats) -> NatsConfig {
    NatsConfig::default().servers([nats.url()]).unwrap()
}

fn any() -> Address {
    "nats://plane".parse().unwrap()
}

fn echo() -> impl Handler {
    handler_fn(|request: Request, _| async { Ok(Response { headers: request.headers, body: request.body }) })
}

/// A server with `echo`, and `hang`, which tells why it was aborted.
struct World {
    server: NatsServer,
    client: NatsClient,
    aborted: mpsc::Receiver<AbortReason>,
    started: mpsc::Receiver<()>,
    _registrations: Vec<Registration>,
}

impl World {
    async fn start(config: NatsConfig) -> Self {
        let (server, driver) = NatsServer::bind(&NatsConnection::new(config.clone())).await.unwrap();
        tokio::spawn(driver);
        let (report, aborted) = mpsc::channel(64);
        let (tell, started) = mpsc::channel(64);
        let hang = handler_fn(move |_, context: Context| {
            let (report, tell) = (report.clone(), tell.clone());
            async move {
                let _ = tell.send(()).await;
                let reason = context.aborted().await;
                let _ = report.send(reason).await;
                Err(reason.status())
            }
        });
        let id = InstanceId::new(1).unwrap();
        let registrations = vec![
            server.register(endpoint("echo"), id, Arc::new(echo())).await.unwrap(),
            server.register(endpoint("hang"), id, Arc::new(hang)).await.unwrap(),
        ];
        let client = NatsClient::new(&NatsConnection::new(config));
        Self { server, client, aborted, started, _registrations: registrations }
    }

    async fn echo(&self, message: impl Into<Bytes>) -> Result<(), Error> {
        self.echo_at(&any(), message).await
    }

    async fn echo_at(&self, address: &Address, message: impl Into<Bytes>) -> Result<(), Error> {
        let message = message.into();
        let answer = self.client.call(address, Request::new(endpoint("echo"), message.clone())).await?;
        assert!(answer.message().await? == message);
        Ok(())
    }
}

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

/// Case B5: requests that nobody waits for leave nothing behind.
#[tokio::test]
async fn requests_without_a_reply_subject_leave_nothing() {
    let nats = Nats::start();
    let world = World::start(config(&nats)).await;
    let plain = async_nats::connect(nats.url()).await.unwrap();
    for _ in 0..10_000 {
        plain.publish("plane.test.nats.echo", "hello".into()).await.unwrap();
    }
    // Behind them on the same connection, so that they have been taken in.
    in_time(plain.request("plane.test.nats.echo", "hello".into())).await.unwrap();
    let stats = world.server.stats();
    assert_eq!((stats.started, stats.in_flight), (1, 0));
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

/// Calls until one is answered; whatever comes before is a typed error.
async fn until_served(world: &World) {
    until_served_or(world, &[ErrorKind::Unavailable, ErrorKind::Disconnected]).await;
}

async fn until_served_or(world: &World, expected: &[ErrorKind]) {
    // The subscriptions come back one by one.
    for address in [any(), world.server.address()] {
        while let Err(error) = world.echo_at(&address, "again?").await {
            assert!(expected.contains(&error.kind()), "{error:?}");
            tokio::task::yield_now().await;
        }
    }
}

/// Threats E2 and E5, case B7: a server that is killed ends its calls at once, and everything works again after it
/// came back.
#[tokio::test]
async fn a_killed_server_ends_its_calls_and_comes_back() {
    let mut nats = Nats::start();
    let mut world = World::start(config(&nats)).await;
    for _ in 0..20 {
        let address = world.server.address();
        let call = world.client.call(&address, Request::new(endpoint("hang"), "go"));
        let kill = async {
            in_time(world.started.recv()).await.unwrap();
            nats.kill();
            Instant::now()
        };
        let (ended, killed) = tokio::join!(call, kill);
        assert!(killed.elapsed() < Duration::from_secs(5), "found by the loss, not by a time limit");
        let error = ended.unwrap_err();
        assert_eq!((error.kind(), error.delivery()), (ErrorKind::Disconnected, Delivery::Unknown));
        assert_eq!(in_time(world.aborted.recv()).await, Some(AbortReason::Disconnected));
        // Case B6: nothing is reported as sent meanwhile.
        let error = world.echo("into the void").await.unwrap_err();
        assert_eq!((error.kind(), error.delivery()), (ErrorKind::Unavailable, Delivery::NotSent));
        assert_ne!(world.client.health(), Health::Ready);
        nats.restart();
        in_time(until_served(&world)).await;
    }
    assert_eq!((world.client.stats().in_flight, world.server.stats().in_flight), (0, 0));
}

/// Threat E4: a frozen server is found by the pings.
#[tokio::test]
async fn a_frozen_server_is_found() {
    let nats = Nats::start();
    let interval = Duration::from_millis(200);
    let config = config(&nats).keepalive(interval, interval).unwrap().request_timeout(Duration::from_secs(2)).unwrap();
    let mut world = World::start(config).await;
    let address = any();
    let call = world.client.call(&address, Request::new(endpoint("hang"), "go"));
    let freeze = async {
        in_time(world.started.recv()).await.unwrap();
        nats.freeze();
    };
    let (ended, ()) = in_time(async { tokio::join!(call, freeze) }).await;
    assert_eq!(ended.unwrap_err().kind(), ErrorKind::Disconnected);
    nats.thaw();
    // Until NATS has noticed the connections that were given up, it may pass calls on to one of those.
    let expected = [ErrorKind::Unavailable, ErrorKind::Disconnected, ErrorKind::DeadlineExceeded];
    in_time(until_served_or(&world, &expected)).await;
}

/// Case B6: closing with the server dead takes no time limit.
#[tokio::test]
async fn closing_with_the_server_dead_returns() {
    let mut nats = Nats::start();
    let world = World::start(config(&nats)).await;
    world.echo("warm").await.unwrap();
    nats.kill();
    let began = Instant::now();
    world.client.close(Instant::now() + Duration::from_secs(10)).await;
    assert!(began.elapsed() < Duration::from_secs(5));
}

/// Case B6: wrong credentials fail at once with the reason; right ones work.
#[tokio::test]
async fn wrong_credentials_fail_at_once() {
    let configuration = "authorization { user: ann, password: right }".to_owned();
    let nats = Nats::with(NatsServerOptions { configuration, ..NatsServerOptions::default() });
    let with = |password: &str| {
        let credentials = Credentials::UserPassword { user: "ann".to_owned(), password: password.to_owned() };
        config(&nats).credentials(credentials)
    };
    for wrong in [config(&nats), with("wrong")] {
        let error = in_time(NatsServer::bind(&NatsConnection::new(wrong.clone()))).await.unwrap_err();
        assert_eq!((error.kind(), error.delivery()), (ErrorKind::Unauthenticated, Delivery::NotSent));
        let client = NatsClient::new(&NatsConnection::new(wrong));
        let error = in_time(client.call(&any(), Request::new(endpoint("echo"), "go"))).await.unwrap_err();
        assert_eq!((error.kind(), error.delivery()), (ErrorKind::Unauthenticated, Delivery::NotSent));
    }
    in_time(World::start(with("right")).await.echo("hello")).await.unwrap();
}

/// Threat E21: a subject that NATS does not allow is not a time limit.
#[tokio::test]
async fn a_denied_subject_is_permission_denied() {
    let configuration = "authorization { users = [
        { user: all, password: x }
        { user: few, password: x, permissions: { publish: { deny: \"plane.test.nats.hang\" } } } ] }";
    let options = NatsServerOptions { configuration: configuration.to_owned(), ..NatsServerOptions::default() };
    let nats = Nats::with(options);
    let user = |user: &str| Credentials::UserPassword { user: user.to_owned(), password: "x".to_owned() };
    let _world = World::start(config(&nats).credentials(user("all"))).await;
    let client = NatsClient::new(&NatsConnection::new(config(&nats).credentials(user("few"))));
    in_time(client.call(&any(), Request::new(endpoint("echo"), "go"))).await.unwrap();
    let error = in_time(client.call(&any(), Request::new(endpoint("hang"), "go"))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
}

/// Case B9: two deployments on one server.
#[tokio::test]
async fn prefixes_keep_deployments_apart() {
    let nats = Nats::start();
    let one = World::start(config(&nats).prefix("one").unwrap()).await;
    let client = NatsClient::new(&NatsConnection::new(config(&nats)));
    let at = |address: &str| address.parse::<Address>().unwrap();
    in_time(client.call(&at("nats://one"), Request::new(endpoint("echo"), "go"))).await.unwrap();
    let error = in_time(client.call(&at("nats://two"), Request::new(endpoint("echo"), "go"))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    drop(one);
    // Case B8: an address that would reach more than it names.
    for bad in ["nats://>", "nats://*", "nats://one.>", "nats://a..b", "nats://one.@*"] {
        let error = client.call(&at(bad), Request::new(endpoint("echo"), "go")).await.unwrap_err();
        assert_eq!((error.kind(), error.delivery()), (ErrorKind::InvalidArgument, Delivery::NotSent), "{bad}");
    }
}

/// Case B3, threats E15 and E16: what others put into a stream's inbox.
#[tokio::test]
async fn a_missing_payload_is_never_an_end() {
    let nats = Nats::start();
    let plain = async_nats::connect(nats.url()).await.unwrap();
    let mut requests = plain.subscribe("plane.test.nats.scripted").await.unwrap();
    plain.flush().await.unwrap();
    let client = NatsClient::new(&NatsConnection::new(config(&nats)));
    let headers = |pairs: &[(&str, &str)]| {
        let mut headers = async_nats::HeaderMap::new();
        pairs.iter().for_each(|(name, value)| headers.insert(*name, *value));
        headers
    };
    let gap = [headers(&[("Plane-Seq", "0")]), headers(&[("Plane-Seq", "2")])];
    let short =
        [headers(&[("Plane-Seq", "0")]), headers(&[("Plane-Status", "0"), ("Plane-Seq", "2"), ("Plane-Count", "2")])];
    for script in [gap, short] {
        let answer = async {
            let request = futures_util::StreamExt::next(&mut requests).await.unwrap();
            let reply = request.reply.unwrap();
            for headers in script.iter().chain(&script) {
                plain.publish_with_headers(reply.clone(), headers.clone(), "x".into()).await.unwrap();
            }
        };
        let address = any();
        let call = client.call(&address, Request::new(endpoint("scripted"), "go"));
        let (response, ()) = in_time(async { tokio::join!(call, answer) }).await;
        let mut response = response.unwrap();
        assert_eq!(in_time(response.next()).await.unwrap().unwrap(), "x");
        assert_eq!(in_time(response.next()).await.unwrap().unwrap_err().kind(), ErrorKind::Truncated);
        assert!(response.next().await.is_none());
    }
    assert_eq!(client.stats().in_flight, 0);
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
