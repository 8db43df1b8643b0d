//! What operators look at, and what goes along with a request.

use std::collections::BTreeMap;

use plane_cli::MODEL;
use plane_cli::generate::{FinishReason, GenerateChunk, Usage};
use plane_core::typed::Codec;
use plane_core::{Context, Request, Response, Status, handler_fn};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::deployment::{Deployment, endpoint};
use crate::http::Events;
use crate::scripted::{last, piece, scripted};

#[tokio::test]
async fn models_and_health_follow_the_workers() {
    let plane = Deployment::start().await;
    let unhealthy = plane.get("/health").await;
    assert_eq!(unhealthy.status(), 503);
    let body: Value = unhealthy.json().await.unwrap();
    assert_eq!((&body["endpoint"], &body["models"]), (&json!("test.backend.generate"), &json!({})));

    let a = plane.worker("a", scripted().1).await;
    let (_b1, _b2) = (plane.worker("b", scripted().1).await, plane.worker("b", scripted().1).await);
    let healthy = plane.get("/health").await;
    assert_eq!(healthy.status(), 200);
    assert_eq!(healthy.json::<Value>().await.unwrap()["models"], json!({"a": 1, "b": 2}));
    assert_eq!(models(&plane).await, ["a", "b"]);
    drop(a);
    assert_eq!(models(&plane).await, ["b"]);

    // One that does not say what it serves, as in a static list.
    let silent = handler_fn(|_: Request, _: Context| async { Err(Status::unavailable("not asked here")) });
    let _silent = plane.manager.serve(endpoint(), silent).await.unwrap();
    assert_eq!(models(&plane).await, ["b", "default"]);
}

async fn models(plane: &Deployment) -> Vec<String> {
    let body: Value = plane.get("/v1/models").await.json().await.unwrap();
    assert_eq!(body["object"], "list");
    let ids = body["data"].as_array().unwrap().iter();
    ids.map(|model| model["id"].as_str().unwrap().to_owned()).collect()
}

/// Two models share one endpoint; a request must reach a worker of its own.
#[tokio::test]
async fn a_request_goes_to_a_worker_of_its_model() {
    let plane = Deployment::start().await;
    let mut workers = Vec::new();
    for model in ["a", "b", "a", "b"] {
        let (script, engine, requests) = scripted();
        workers.push((plane.worker(model, engine).await, requests));
        tokio::spawn(async move {
            script.send(last(1, 0)).await.unwrap();
        });
    }
    for _ in 0..2 {
        assert_eq!(plane.chat("b", false).send().await.unwrap().status(), 200);
    }
    for (at, (_, requests)) in workers.iter_mut().enumerate() {
        assert_eq!(requests.try_recv().is_ok(), at % 2 == 1, "worker {at}");
    }
}

#[tokio::test]
async fn every_request_is_counted_once() {
    let plane = Deployment::start().await;
    let (script, engine, mut requests) = scripted();
    let _worker = plane.worker("m", engine).await;
    let asking = tokio::spawn(plane.chat("m", true).send());
    requests.recv().await.unwrap();
    assert_eq!(metric(&plane, "plane_frontend_requests_in_flight").await, "1");
    script.send(piece("one")).await.unwrap();
    script.send(last(3, 1)).await.unwrap();
    drop(script);
    let events = Events::of(asking.await.unwrap().unwrap());
    assert_eq!(events.rest().await.last().unwrap(), "[DONE]");
    plane.chat("unknown", true).send().await.unwrap();

    let chat = "route=\"/v1/chat/completions\"";
    for (name, value) in [
        ("plane_frontend_requests_in_flight".to_owned(), "0"),
        (format!("plane_frontend_requests_total{{{chat},code=\"200\",outcome=\"ok\"}}"), "1"),
        (format!("plane_frontend_requests_total{{{chat},code=\"404\",outcome=\"error\"}}"), "1"),
        (format!("plane_frontend_time_to_first_token_seconds_count{{{chat}}}"), "1"),
        (format!("plane_frontend_request_duration_seconds_count{{{chat}}}"), "2"),
        ("plane_frontend_tokens_total{kind=\"prompt\"}".to_owned(), "3"),
        ("plane_frontend_tokens_total{kind=\"completion\"}".to_owned(), "1"),
        ("plane_frontend_calls_total{transport=\"mem\",outcome=\"completed\"}".to_owned(), "1"),
        ("plane_frontend_calls_in_flight{transport=\"mem\"}".to_owned(), "0"),
        ("plane_frontend_connections{transport=\"mem\"}".to_owned(), "0"),
        ("plane_frontend_dials_total{transport=\"mem\"}".to_owned(), "0"),
        ("plane_frontend_refusals_total{transport=\"mem\",reason=\"stranger\"}".to_owned(), "0"),
    ] {
        assert_eq!(metric(&plane, &name).await, value, "{name}");
    }
}

async fn metric(plane: &Deployment, name: &str) -> String {
    let text = plane.get("/metrics").await.text().await.unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name} in:\n{text}")).to_owned()
}

#[tokio::test]
async fn the_trace_context_reaches_the_worker() {
    let plane = Deployment::start().await;
    let (send, mut headers) = mpsc::channel(1);
    let handler = handler_fn(move |request: Request, _: Context| {
        let send = send.clone();
        async move {
            send.send(request.headers).await.unwrap();
            let chunk = GenerateChunk::last(FinishReason::Stop, Usage::default());
            Ok(Response::new(Codec::MsgPack.encode(&chunk)?))
        }
    });
    let metadata = BTreeMap::from([(MODEL.to_owned(), "m".to_owned())]);
    let _worker = plane.manager.serve_with_metadata(endpoint(), metadata, handler).await.unwrap();
    let traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let asked = plane.chat("m", false).header("traceparent", traceparent).header("cookie", "secret");
    assert_eq!(asked.send().await.unwrap().status(), 200);
    let headers = headers.recv().await.unwrap();
    assert_eq!(headers["traceparent"], traceparent);
    assert_eq!(headers.get("cookie"), None);
}
