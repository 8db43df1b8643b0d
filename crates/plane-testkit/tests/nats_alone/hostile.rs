//! Requests and answers that no correct peer makes.

use plane_core::{
    AbortReason, Code, Delivery, Error, ErrorKind, Refusal, Request, RequestPlaneClient, RequestPlaneServer,
    ServerStats,
};
use plane_testkit::nats::NatsServer as Nats;

use crate::world::{World, any, config, endpoint, in_time};

/// A request of a plain client, and the code that the answer carries.
async fn code_of(plain: &async_nats::Client, subject: &str, headers: async_nats::HeaderMap) -> Option<Code> {
    let answer = in_time(plain.request_with_headers(subject.to_owned(), headers, "hi".into())).await.unwrap();
    let code = answer.headers.as_ref().and_then(|headers| headers.get("Plane-Status"))?;
    code.as_str().parse().ok().map(Code)
}

fn numbered(count: usize, value: &str) -> async_nats::HeaderMap {
    let mut headers = async_nats::HeaderMap::new();
    (0..count).for_each(|number| headers.insert(format!("x-{number}"), value));
    headers
}

/// Threats A25 and A26: more headers than a map can hold, more than the limit of either kind, names twice, and ids and
/// versions that are none. Each is refused typed and counted, and the server goes on.
#[tokio::test]
async fn hostile_requests_are_refused_alone() {
    let nats = Nats::start();
    let world = World::start(config(&nats)).await;
    let plain = async_nats::connect(nats.url()).await.unwrap();
    let echo = "plane.test.nats.echo";
    assert_eq!(code_of(&plain, echo, numbered(64, "")).await, None);
    let mut same = async_nats::HeaderMap::new();
    (0..10_000).for_each(|number| same.append("x-same", number.to_string()));
    for bomb in [numbered(65, ""), numbered(40_000, ""), numbered(1, &"v".repeat(17 << 10)), same] {
        assert_eq!(code_of(&plain, echo, bomb).await, Some(Code::HEADERS_TOO_LARGE));
    }
    let mut strange = async_nats::HeaderMap::new();
    strange.insert("Plane-Request-Id", "a.b > *");
    assert_eq!(code_of(&plain, echo, strange).await, Some(Code::INVALID_ARGUMENT));
    let mut later = async_nats::HeaderMap::new();
    later.insert("Plane-Version", "2");
    assert_eq!(code_of(&plain, echo, later).await, Some(Code::UNIMPLEMENTED));
    in_time(world.echo("still here")).await.unwrap();
    let ServerStats { refused, refusals, in_flight, .. } = world.server.stats();
    assert_eq!((refusals.of(Refusal::Headers), refusals.of(Refusal::InvalidCall)), (4, 2));
    assert_eq!((refused, in_flight), (6, 0));
}

/// Threat A25, from the other side: a service that answers with a header bomb ends its own call.
#[tokio::test]
async fn a_hostile_answer_ends_its_call_alone() {
    let nats = Nats::start();
    let world = World::start(config(&nats)).await;
    let plain = async_nats::connect(nats.url()).await.unwrap();
    let mut requests = plain.subscribe("plane.test.nats.scripted").await.unwrap();
    plain.flush().await.unwrap();
    let address = any();
    let call = world.client.call(&address, Request::new(endpoint("scripted"), "go"));
    let answer = async {
        let request = futures_util::StreamExt::next(&mut requests).await.unwrap();
        let reply = request.reply.unwrap();
        plain.publish_with_headers(reply, numbered(40_000, ""), "x".into()).await.unwrap();
    };
    let (answered, ()) = in_time(async { tokio::join!(call, answer) }).await;
    let error: Error = answered.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Protocol, Delivery::Executed));
    in_time(world.echo("still here")).await.unwrap();
    assert_eq!(world.client.stats().in_flight, 0);
}

/// A client makes no more calls at once than it may: one more fails at once, and there is room again after one has ended.
#[tokio::test]
async fn one_call_too_many_fails_alone() {
    let nats = Nats::start();
    let mut world = World::start(config(&nats).max_calls(1).unwrap()).await;
    let address = any();
    let mut hangs = Box::pin(world.client.call(&address, Request::new(endpoint("hang"), "go")));
    tokio::select! {
        _ = &mut hangs => panic!("it hangs"),
        started = in_time(world.started.recv()) => started.unwrap(),
    }
    let error = world.echo("one more").await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::ResourceExhausted, Delivery::NotSent));
    drop(hangs);
    in_time(world.aborted.recv()).await.unwrap();
    in_time(world.echo("again")).await.unwrap();
}

/// Whoever may talk to a call may do so without end: nothing of it is kept, and others go on. Who may is for the NATS
/// server to say (docs/nats.md, "Permissions").
#[tokio::test]
async fn a_flood_of_words_to_a_call_is_taken_as_it_comes() {
    let nats = Nats::start();
    let mut world = World::start(config(&nats)).await;
    let plain = async_nats::connect(nats.url()).await.unwrap();
    let mut answers = plain.subscribe("inbox.token.*").await.unwrap();
    plain.publish_with_reply("plane.test.nats.hang", "inbox.token.+1", "go".into()).await.unwrap();
    let beat = in_time(futures_util::StreamExt::next(&mut answers)).await.unwrap();
    let control = beat.reply.unwrap();
    let words = ["Plane-Stop", "Plane-Credit", "Plane-Seq", "Plane-Status", "Plane-Unknown"];
    for number in 0..50_000 {
        let mut headers = async_nats::HeaderMap::new();
        headers.insert(words[number % words.len()], u32::MAX.to_string());
        plain.publish_with_headers(control.clone(), headers, "".into()).await.unwrap();
        if number % 10_000 == 0 {
            in_time(world.echo("beside it")).await.unwrap();
        }
    }
    let mut abort = async_nats::HeaderMap::new();
    abort.insert("Plane-Abort", "1");
    plain.publish_with_headers(control, abort, "".into()).await.unwrap();
    assert_eq!(in_time(world.aborted.recv()).await, Some(AbortReason::Cancelled));
    in_time(world.echo("after it")).await.unwrap();
    in_time(async {
        while world.server.stats().in_flight > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}
