//! What travels on NATS, as a program sees it that has only docs/nats.md; and handlers that are trusted to be quick.

use std::sync::Arc;
use std::time::Duration;

use async_nats::{HeaderMap, Message};
use futures_util::{StreamExt, stream};
use plane_core::{
    AbortReason, Address, Body, Context, EndpointId, Error, ErrorKind, Handler, InstanceId, Registration, Request,
    RequestPlaneClient, RequestPlaneServer, Response, Status, handler_fn,
};
use plane_nats::{NatsClient, NatsConfig, NatsConnection, NatsServer};
use plane_testkit::nats::NatsServer as Nats;
use tokio::sync::{Notify, mpsc};

/// Far more than anything here takes, for a machine that is busy.
const IN_TIME: Duration = Duration::from_secs(30);

async fn in_time<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(IN_TIME, work).await.expect("in time")
}

fn endpoint() -> EndpointId {
    EndpointId::new("test", "nats", "wire").unwrap()
}

const SUBJECT: &str = "plane.test.nats.wire";

fn any() -> Address {
    "nats://plane".parse().unwrap()
}

fn connection(nats: &Nats) -> NatsConnection {
    NatsConnection::new(NatsConfig::default().servers([nats.url()]).unwrap())
}

async fn serve(nats: &Nats, handler: impl Handler) -> (NatsServer, Registration) {
    let (server, driver) = NatsServer::bind(&connection(nats)).await.unwrap();
    tokio::spawn(driver);
    let registration = server.register(endpoint(), InstanceId::new(1).unwrap(), Arc::new(handler)).await.unwrap();
    (server, registration)
}

fn header<'a>(message: &'a Message, name: &str) -> Option<&'a str> {
    message.headers.as_ref()?.get(name).map(async_nats::HeaderValue::as_str)
}

#[tokio::test]
async fn a_call_with_default_settings_is_a_plain_request() {
    let nats = Nats::start();
    let plain = async_nats::connect(nats.url()).await.unwrap();
    let mut requests = plain.subscribe(SUBJECT).await.unwrap();
    plain.flush().await.unwrap();
    let client = NatsClient::new(&connection(&nats));
    let at = any();
    for _ in 0..2 {
        let answering = async {
            let request = requests.next().await.unwrap();
            assert_eq!((request.headers, &request.payload[..]), (None, &b"hello"[..]));
            let reply = request.reply.unwrap();
            assert!(reply.rsplit('.').next().unwrap().starts_with('+'), "{reply}");
            plain.publish(reply, "there".into()).await.unwrap();
        };
        let (answer, ()) =
            in_time(async { tokio::join!(client.call(&at, Request::new(endpoint(), "hello")), answering) }).await;
        assert_eq!(answer.unwrap().message().await.unwrap(), "there");
    }
}

#[tokio::test]
async fn items_that_are_ready_share_a_payload_and_one_alone_has_no_header() {
    let nats = Nats::start();
    let gate = Arc::new(Notify::new());
    let opened = gate.clone();
    let (_server, _registration) = serve(
        &nats,
        handler_fn(move |_, _| {
            let gate = gate.clone();
            let ready = stream::iter(["a", "", "bcd"].map(Ok::<_, Error>));
            let last = stream::once(async move {
                gate.notified().await;
                Ok("e")
            });
            async { Ok(Response::new(Body::stream(ready.chain(last)))) }
        }),
    )
    .await;
    let plain = async_nats::connect(nats.url()).await.unwrap();
    let inbox = plain.new_inbox();
    let mut answers = plain.subscribe(inbox.clone()).await.unwrap();
    plain.publish_with_reply(SUBJECT, inbox, "go".into()).await.unwrap();
    let first = in_time(answers.next()).await.unwrap();
    assert_eq!((header(&first, "Plane-Sizes"), &first.payload[..]), (Some("1 0 3"), &b"abcd"[..]));
    let control = first.reply.as_deref().and_then(|reply| reply.strip_suffix(".+0")).unwrap();
    opened.notify_one();
    let mut second = in_time(answers.next()).await.unwrap();
    while header(&second, "Plane-Beat").is_some() {
        second = in_time(answers.next()).await.unwrap();
    }
    assert_eq!((&second.headers, &second.payload[..]), (&None, &b"e"[..]));
    assert_eq!(second.reply.as_deref(), Some(&*format!("{control}.+1")));
    let end = in_time(answers.next()).await.unwrap();
    let counts = ["Plane-Status", "Plane-Seq", "Plane-Count"].map(|name| header(&end, name).unwrap());
    assert_eq!(counts, ["0", "2", "4"]);
}

/// Answers `quick` at once, waits for an abort with `wait`, and fails in two ways.
fn moody(aborted: mpsc::Sender<AbortReason>) -> impl Handler {
    handler_fn(move |request: Request, context: Context| {
        let aborted = aborted.clone();
        async move {
            match &request.body.message().await?[..] {
                b"wait" => {
                    let reason = context.aborted().await;
                    let _ = aborted.send(reason).await;
                    Err(reason.status())
                }
                b"panic" => panic!("as asked"),
                b"fail" => Err(Status::invalid_argument("as asked")),
                other => Ok(Response::new(other.to_vec())),
            }
        }
    })
}

/// Two callers that say they are the same can neither answer nor end each other's calls.
#[tokio::test]
async fn calls_with_one_reply_subject_have_controls_of_their_own() {
    let nats = Nats::start();
    let (report, mut aborted) = mpsc::channel(4);
    let (server, _registration) = serve(&nats, moody(report)).await;
    let plain = async_nats::connect(nats.url()).await.unwrap();
    let mut answers = plain.subscribe("inbox.token.*").await.unwrap();
    for _ in 0..2 {
        plain.publish_with_reply(SUBJECT, "inbox.token.+1", "wait".into()).await.unwrap();
    }
    let mut controls = Vec::new();
    while controls.len() < 2 {
        let beat = in_time(answers.next()).await.unwrap();
        controls.extend(beat.reply.filter(|control| !controls.contains(control)));
    }
    assert_eq!(controls.iter().filter(|control| control.ends_with(".token-1")).count(), 1, "{controls:?}");
    let mut abort = HeaderMap::new();
    abort.insert("Plane-Abort", "1");
    for (control, left) in controls.into_iter().zip([1, 0]) {
        plain.publish_with_headers(control, abort.clone(), "".into()).await.unwrap();
        assert_eq!(in_time(aborted.recv()).await, Some(AbortReason::Cancelled));
        in_time(async {
            while server.stats().in_flight > left {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

/// A handler that was quick often enough is polled where its call was read. Nothing else about it changes.
#[tokio::test]
async fn a_trusted_handler_may_still_wait_fail_and_panic() {
    let nats = Nats::start();
    let (report, mut aborted) = mpsc::channel(4);
    let (server, _registration) = serve(&nats, moody(report)).await;
    let client = Arc::new(NatsClient::new(&connection(&nats)));
    let call = |message: &'static str| {
        let (client, at) = (client.clone(), any());
        async move { client.call(&at, Request::new(endpoint(), message)).await?.message().await }
    };
    for _ in 0..32 {
        assert_eq!(in_time(call("quick")).await.unwrap(), "quick");
    }
    let waiting = tokio::spawn(call("wait"));
    // Its handler was started before those of the calls that come after it.
    assert_eq!(in_time(call("quick")).await.unwrap(), "quick");
    assert_eq!(in_time(call("fail")).await.unwrap_err().kind(), ErrorKind::InvalidArgument);
    assert_eq!(in_time(call("panic")).await.unwrap_err().kind(), ErrorKind::Internal);
    assert_eq!(in_time(call("quick")).await.unwrap(), "quick");
    let at = any();
    let late = Request::new(endpoint(), "wait").with_timeout(Duration::from_millis(200));
    assert_eq!(in_time(client.call(&at, late)).await.unwrap_err().kind(), ErrorKind::DeadlineExceeded);
    assert_eq!(in_time(aborted.recv()).await, Some(AbortReason::DeadlineExceeded));
    waiting.abort();
    assert_eq!(in_time(aborted.recv()).await, Some(AbortReason::Cancelled));
    in_time(async {
        while server.stats().in_flight > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let stats = server.stats();
    assert_eq!((stats.started, stats.completed, stats.failed, stats.cancelled), (38, 34, 2, 2));
}

/// Threat C20: a request whose time is over when it arrives is refused, and its handler is not started.
#[tokio::test]
async fn a_request_whose_time_is_over_on_arrival_is_refused() {
    let nats = Nats::start();
    let (started, mut starts) = mpsc::channel(1);
    let handler = handler_fn(move |_: Request, _| {
        let _ = started.try_send(());
        async { Ok(Response::new("started")) }
    });
    let (server, _registration) = serve(&nats, handler).await;
    let plain = async_nats::connect(nats.url()).await.unwrap();
    let mut headers = HeaderMap::new();
    headers.insert("Plane-Timeout-Us", "0");
    let reply = in_time(plain.request_with_headers(SUBJECT, headers, "late".into())).await.unwrap();
    assert_eq!(header(&reply, "Plane-Status"), Some("4"));
    assert_eq!(header(&reply, "Plane-Not-Executed"), Some("1"));
    assert!(starts.try_recv().is_err());
    assert_eq!(server.stats().in_flight, 0);
}
