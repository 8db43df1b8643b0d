//! Every way in which the frontend says no.

use std::time::Duration;

use plane_cli::engine::{Chunks, Engine};
use plane_cli::generate::GenerateRequest;
use plane_core::{Code, Context, Status};
use reqwest::Response;
use serde_json::{Value, json};

use crate::deployment::Deployment;
use crate::scripted::scripted;

/// An engine that always refuses.
struct Refusing(Status);

impl Engine for Refusing {
    async fn generate(&self, _: GenerateRequest, _: Context) -> Result<Chunks, Status> {
        Err(self.0.clone())
    }
}

/// The status and the error object, which must have OpenAI's shape.
async fn error(response: Response) -> (u16, Value) {
    let status = response.status().as_u16();
    let body: Value = response.json().await.unwrap();
    let error = body["error"].as_object().unwrap();
    let mut names: Vec<_> = error.keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["code", "message", "param", "type"]);
    assert!(!error["message"].as_str().unwrap().is_empty());
    (status, body["error"].clone())
}

#[tokio::test]
async fn the_worker_s_refusal_has_its_http_status() {
    for (code, http, kind) in [
        (Code::INVALID_ARGUMENT, 400, "invalid_request_error"),
        (Code::RESOURCE_EXHAUSTED, 429, "rate_limit_error"),
        (Code::UNAVAILABLE, 503, "server_error"),
        (Code::DEADLINE_EXCEEDED, 504, "server_error"),
        (Code::INTERNAL, 500, "server_error"),
        (Code::DATA_LOSS, 502, "server_error"),
    ] {
        let plane = Deployment::start().await;
        let status = Status::new(code, "no").with_retry_after(Duration::from_secs(3));
        let _worker = plane.worker("m", Refusing(status)).await;
        for stream in [false, true] {
            let response = plane.chat("m", stream).send().await.unwrap();
            assert_eq!(response.headers()["retry-after"], "3", "{code}");
            let (status, error) = error(response).await;
            assert_eq!((status, error["type"].as_str()), (http, Some(kind)), "{code}");
        }
    }
}

#[tokio::test]
async fn a_panic_in_the_worker_is_an_internal_error() {
    struct Panicking;
    impl Engine for Panicking {
        async fn generate(&self, _: GenerateRequest, _: Context) -> Result<Chunks, Status> {
            panic!("on purpose")
        }
    }
    let plane = Deployment::start().await;
    let _worker = plane.worker("m", Panicking).await;
    assert_eq!(error(plane.chat("m", true).send().await.unwrap()).await.0, 500);
}

#[tokio::test]
async fn an_unknown_model_is_told_which_there_are() {
    let plane = Deployment::start().await;
    let _a = plane.worker("model-a", scripted().1).await;
    let _b = plane.worker("model-b", scripted().1).await;
    let (status, error) = error(plane.chat("model-c", false).send().await.unwrap()).await;
    assert_eq!((status, &error["code"], &error["param"]), (404, &json!("model_not_found"), &json!("model")));
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("model-a") && message.contains("model-b"), "{message}");
}

#[tokio::test]
async fn a_model_whose_workers_are_gone_is_unavailable() {
    let plane = Deployment::start().await;
    let none_yet = plane.chat("m", false).send().await.unwrap();
    assert_eq!(error(none_yet).await.0, 503);
    let _other = plane.worker("other", scripted().1).await;
    let worker = plane.worker("m", scripted().1).await;
    // The frontend has seen it once.
    assert_eq!(plane.get("/health").await.status(), 200);
    drop(worker);
    let response = plane.chat("m", false).send().await.unwrap();
    assert!(response.headers().contains_key("retry-after"));
    assert_eq!(error(response).await.0, 503);
}

#[tokio::test]
async fn a_bad_body_is_told_which_field() {
    let plane = Deployment::start().await;
    for (body, param) in [
        ("{".to_owned(), Value::Null),
        ("{\"messages\": []}".to_owned(), json!("model")),
        (json!({"model": "m", "messages": 3}).to_string(), json!("messages")),
        (json!({"model": "m", "messages": [{"role": "user", "content": "x"}], "n": 2}).to_string(), json!("n")),
    ] {
        let (status, error) = error(plane.post_text("/v1/chat/completions", body).send().await.unwrap()).await;
        assert_eq!((status, &error["param"]), (400, &param));
    }
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused() {
    let plane = Deployment::start().await;
    let body = "x".repeat(64 * 1024 + 1);
    assert_eq!(error(plane.post_text("/v1/completions", body).send().await.unwrap()).await.0, 413);
}

#[tokio::test]
async fn a_request_ends_at_its_timeout() {
    let plane = Deployment::with_timeout(Duration::from_millis(50)).await;
    let (script, engine, _requests) = scripted();
    let _worker = plane.worker("m", engine).await;
    let (status, error) = error(plane.chat("m", true).send().await.unwrap()).await;
    assert_eq!((status, &error["code"]), (504, &json!("deadline_exceeded")));
    script.closed().await;
}

#[tokio::test]
async fn other_routes_and_methods_are_refused_in_the_same_shape() {
    let plane = Deployment::start().await;
    assert_eq!(error(plane.get("/v1/embeddings").await).await.0, 404);
    assert_eq!(error(plane.get("/v1/completions").await).await.0, 405);
}
