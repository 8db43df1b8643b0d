//! Servers are services of the NATS micro protocol: what a plain client that knows nothing of the plane is told.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use plane_core::{EndpointId, InstanceId, Registration, Request, RequestPlaneServer, Response, Status, handler_fn};
use plane_nats::{NatsConfig, NatsConnection, NatsServer};
use plane_testkit::nats::{NatsServer as Nats, NatsServerOptions};
use serde_json::{Value, json};

/// Far more than anything here takes, for a machine that is busy.
const IN_TIME: Duration = Duration::from_secs(30);

async fn serve(nats: &Nats) -> NatsServer {
    let config = NatsConfig::default().servers([nats.url()]).unwrap().prefix("deployment").unwrap();
    let (server, driver) = NatsServer::bind(&NatsConnection::new(config)).await.unwrap();
    tokio::spawn(driver);
    server
}

/// Fails if it is asked to.
async fn register(server: &NatsServer, name: &str, instance: u64) -> Registration {
    let handler = handler_fn(|request: Request, _| async {
        let message = request.body.message().await?;
        if message == "fail" { Err(Status::invalid_argument("as asked")) } else { Ok(Response::new(message)) }
    });
    let endpoint = EndpointId::new("test", "micro_1", name).unwrap();
    server.register(endpoint, InstanceId::new(instance).unwrap(), Arc::new(handler)).await.unwrap()
}

/// The answers of all that a question reaches.
async fn ask_all(plain: &async_nats::Client, subject: &str, expected: usize) -> Vec<Value> {
    let inbox = plain.new_inbox();
    let mut answers = plain.subscribe(inbox.clone()).await.unwrap();
    plain.publish_with_reply(subject.to_owned(), inbox, "".into()).await.unwrap();
    let mut all = Vec::new();
    while all.len() < expected {
        let answer = tokio::time::timeout(IN_TIME, answers.next()).await.expect("all answer").unwrap();
        all.push(serde_json::from_slice(&answer.payload).unwrap());
    }
    all
}

async fn ask(plain: &async_nats::Client, subject: &str) -> Value {
    ask_all(plain, subject, 1).await.remove(0)
}

async fn nobody_answers(plain: &async_nats::Client, subject: &str) -> bool {
    let answer = plain.request(subject.to_owned(), "".into()).await;
    answer.is_err_and(|error| error.kind() == async_nats::RequestErrorKind::NoResponders)
}

#[tokio::test]
async fn services_are_found_by_everybody_by_name_and_by_id() {
    let nats = Nats::start();
    let (one, two) = (serve(&nats).await, serve(&nats).await);
    let registrations = [register(&one, "a", 1).await, register(&one, "b", 1).await, register(&two, "a", 2).await];
    let plain = async_nats::connect(nats.url()).await.unwrap();

    let all = ask_all(&plain, "$SRV.PING", 3).await;
    let found: BTreeSet<_> =
        all.iter().map(|answer| format!("{} {}", answer["name"], answer["id"]).replace('"', "")).collect();
    let expected = ["a 0000000000000001", "a 0000000000000002", "b 0000000000000001"];
    assert_eq!(found, expected.map(|service| format!("test-micro_1-{service}")).into());
    for answer in &all {
        assert_eq!(answer["type"], "io.nats.micro.v1.ping_response");
        assert_eq!(answer["version"].as_str().unwrap().split('.').count(), 3);
    }

    let infos = ask_all(&plain, "$SRV.INFO.test-micro_1-a", 2).await;
    assert!(infos.iter().all(|info| info["type"] == "io.nats.micro.v1.info_response"));
    let info = infos.iter().find(|info| info["id"] == "0000000000000002").unwrap();
    let endpoint = json!([{ "name": "a", "subject": "deployment.test.micro_1.a", "queue_group": "plane" }]);
    assert_eq!(info["endpoints"], endpoint);
    assert_eq!(info["metadata"]["endpoint"], "test.micro_1.a");
    assert_eq!(format!("nats://{}", info["metadata"]["server"].as_str().unwrap()), two.address().to_string());

    assert!(nobody_answers(&plain, "$SRV.PING.another").await);
    drop(registrations);
}

#[tokio::test]
async fn counts_are_real() {
    let nats = Nats::start();
    let server = serve(&nats).await;
    let _registration = register(&server, "a", 7).await;
    let _other = register(&server, "b", 7).await;
    let plain = async_nats::connect(nats.url()).await.unwrap();
    let stats = "$SRV.STATS.test-micro_1-a.0000000000000007";
    let before = ask(&plain, stats).await;
    assert_eq!(
        (&before["endpoints"][0]["num_requests"], &before["endpoints"][0]["num_errors"]),
        (&json!(0), &json!(0))
    );
    assert_eq!(before["endpoints"][0]["average_processing_time"], 0);
    for payload in ["ok", "fail", "ok", "fail", "ok"] {
        plain.request("deployment.test.micro_1.a", payload.into()).await.unwrap();
    }
    let after = ask(&plain, stats).await;
    assert_eq!(after["type"], "io.nats.micro.v1.stats_response");
    assert_eq!(after["started"], before["started"]);
    let endpoint = &after["endpoints"][0];
    assert_eq!((&endpoint["num_requests"], &endpoint["num_errors"]), (&json!(5), &json!(2)));
    assert!(endpoint["last_error"].as_str().unwrap().contains("as asked"));
    let (total, average) = (&endpoint["processing_time"], &endpoint["average_processing_time"]);
    assert!(total.as_u64().unwrap() > 0 && average.as_u64().unwrap() <= total.as_u64().unwrap());
    let other = ask(&plain, "$SRV.STATS.test-micro_1-b").await;
    assert_eq!(other["endpoints"][0]["num_requests"], 0);
}

#[tokio::test]
async fn what_has_left_does_not_answer() {
    let nats = Nats::start();
    let server = serve(&nats).await;
    let (_a, b) = (register(&server, "a", 1).await, register(&server, "b", 1).await);
    // A question that comes in the moment of leaving is not answered.
    let options = async_nats::ConnectOptions::new().request_timeout(Some(Duration::from_millis(500)));
    let plain = options.connect(nats.url()).await.unwrap();
    ask_all(&plain, "$SRV.PING", 2).await;
    drop(b);
    // By the driver, in its time.
    while !nobody_answers(&plain, "$SRV.PING.test-micro_1-b").await {
        tokio::task::yield_now().await;
    }
    ask(&plain, "$SRV.PING.test-micro_1-a").await;
    server.drain(Instant::now() + IN_TIME).await;
    for subject in ["$SRV.PING", "$SRV.INFO.test-micro_1-a", "$SRV.STATS.test-micro_1-a.0000000000000001"] {
        assert!(nobody_answers(&plain, subject).await, "{subject}");
    }
}

/// Being found is a service to people; being called does not depend on it.
#[tokio::test]
async fn a_server_that_may_not_be_found_serves() {
    let configuration = "authorization { users = [
        { user: shy, password: x, permissions: { subscribe: { deny: \"$SRV.>\" } } } ] }";
    let nats = Nats::with(NatsServerOptions { configuration: configuration.to_owned(), ..Default::default() });
    let url = format!("nats://shy:x@127.0.0.1:{}", nats.port());
    let config = NatsConfig::default().servers([&url]).unwrap();
    let (server, driver) = NatsServer::bind(&NatsConnection::new(config)).await.unwrap();
    tokio::spawn(driver);
    let _registration = register(&server, "a", 1).await;
    let plain = async_nats::ConnectOptions::with_user_and_password("shy".to_owned(), "x".to_owned());
    let plain = plain.connect(nats.url()).await.unwrap();
    assert_eq!(plain.request("plane.test.micro_1.a", "hello".into()).await.unwrap().payload, "hello");
    assert!(nobody_answers(&plain, "$SRV.PING").await);
}
