//! The engine that forwards, against a small OpenAI-compatible server on a real socket.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use futures_util::{StreamExt, TryStreamExt, stream};
use plane_cli::engine::{Chunks, Engine, OpenAi, OpenAiConfig};
use plane_cli::generate::{FinishReason, GenerateRequest, Input, Message, Sampling, Usage};
use plane_core::{CallInfo, Code, Context, InstanceId, Status};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

fn context() -> Context {
    let call = CallInfo {
        endpoint: "a.b.c".parse().unwrap(),
        instance: InstanceId::new(1).unwrap(),
        peer: Arc::default(),
        deadline: None,
    };
    Context::new(call).0
}

async fn listen(router: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async { axum::serve(listener, router).await });
    url
}

/// A server that answers every completion with this.
async fn server(status: StatusCode, headers: &'static [(&'static str, &'static str)], body: &str) -> String {
    let body = body.to_owned();
    let answer = async move || {
        let mut response = (status, body).into_response();
        for (name, value) in headers {
            response.headers_mut().insert(*name, value.parse().unwrap());
        }
        response
    };
    listen(Router::new().route("/v1/completions", post(answer.clone())).route("/v1/chat/completions", post(answer)))
        .await
}

fn prompt() -> GenerateRequest {
    GenerateRequest { model: "m".to_owned(), input: Input::Prompt("hi".to_owned()), sampling: Sampling::default() }
}

async fn ask(url: &str, request: GenerateRequest) -> Result<Chunks, Status> {
    OpenAi::new(OpenAiConfig::new(url).unwrap()).unwrap().generate(request, context()).await
}

#[tokio::test]
async fn a_chat_is_forwarded_with_its_parameters() {
    let (seen, mut requests) = mpsc::channel(1);
    let answer = async move |headers: HeaderMap, Json(body): Json<Value>| {
        seen.send((headers, body)).await.unwrap();
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n\
         data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hé\"},\"finish_reason\":null}],\"usage\":null}\n\n\
         data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"length\"}]}\n\n\
         data: {\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":1,\"total_tokens\":10}}\n\n\
         data: [DONE]\n\n"
    };
    let url = listen(Router::new().route("/v1/chat/completions", post(answer))).await;
    let config = OpenAiConfig::new(&url).unwrap();
    let config = config.with_model(Some("theirs".to_owned())).with_api_key(Some("secret".to_owned()));
    let request = GenerateRequest {
        model: "ours".to_owned(),
        input: Input::Messages(vec![Message { role: "user".to_owned(), content: "hi".to_owned() }]),
        sampling: Sampling { max_tokens: Some(1), temperature: Some(0.5), ..Sampling::default() },
    };
    let chunks = OpenAi::new(config).unwrap().generate(request, context()).await.unwrap();
    let chunks: Vec<_> = chunks.try_collect().await.unwrap();

    let (headers, body) = requests.recv().await.unwrap();
    assert_eq!(headers["authorization"], "Bearer secret");
    let wanted = json!({"model": "theirs", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 1,
        "temperature": 0.5, "stream": true, "stream_options": {"include_usage": true}});
    assert_eq!(body, wanted);
    assert_eq!(chunks.iter().map(|chunk| chunk.text.as_str()).collect::<String>(), "Hé");
    let last = chunks.last().unwrap();
    assert_eq!(last.finish_reason, Some(FinishReason::Length));
    assert_eq!(last.usage, Some(Usage { prompt_tokens: 9, completion_tokens: 1 }));
}

/// Gated: the first piece arrives before the server has sent the second.
#[tokio::test]
async fn pieces_are_passed_on_as_they_arrive() {
    let (send, receive) = mpsc::channel::<&'static str>(1);
    let body = stream::unfold(receive, async |mut receive| {
        receive.recv().await.map(|text| (Ok::<_, std::io::Error>(text), receive))
    });
    let body = Arc::new(std::sync::Mutex::new(Some(Body::from_stream(body))));
    let answer = async move || Response::new(body.lock().unwrap().take().unwrap());
    let url = listen(Router::new().route("/v1/completions", post(answer))).await;

    let mut chunks = ask(&url, prompt()).await.unwrap();
    send.send("data: {\"choices\":[{\"text\":\"one\"}]}\n\n").await.unwrap();
    assert_eq!(chunks.next().await.unwrap().unwrap().text, "one");
    send.send("data: {\"choices\":[{\"text\":\"two\",\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n").await.unwrap();
    assert_eq!(chunks.next().await.unwrap().unwrap().text, "two");
    assert_eq!(chunks.next().await.unwrap().unwrap().finish_reason, Some(FinishReason::Stop));
    assert!(chunks.next().await.is_none());
}

/// Whether the connection ends cleanly or not: without its end marker the answer is not whole.
#[tokio::test]
async fn an_answer_cut_short_is_an_error() {
    let piece = "data: {\"choices\":[{\"text\":\"one\",\"finish_reason\":\"stop\"}]}\n\n";
    let clean = server(StatusCode::OK, &[], piece).await;
    let torn = async move || {
        let parts = [Ok(piece), Err(std::io::Error::other("torn"))];
        // Pending between the parts, so that the first is written out.
        let parts = stream::iter(parts).then(async |part| {
            tokio::task::yield_now().await;
            part
        });
        Response::new(Body::from_stream(parts))
    };
    let torn = listen(Router::new().route("/v1/completions", post(torn))).await;
    for url in [clean, torn] {
        let mut chunks = ask(&url, prompt()).await.unwrap();
        assert_eq!(chunks.next().await.unwrap().unwrap().text, "one");
        assert_eq!(chunks.next().await.unwrap().unwrap_err().code(), Code::DATA_LOSS);
        assert!(chunks.next().await.is_none());
    }
}

#[tokio::test]
async fn an_error_in_the_middle_is_an_error() {
    for bad in ["data: {\"error\":{\"message\":\"overloaded\"}}\n\n", "data: no json\n\n"] {
        let url = server(StatusCode::OK, &[], bad).await;
        let error = ask(&url, prompt()).await.unwrap().next().await.unwrap().unwrap_err();
        assert_eq!(error.code(), Code::UNAVAILABLE);
    }
}

#[tokio::test]
async fn refusals_keep_their_meaning() {
    for (http, code) in [
        (400, Code::INVALID_ARGUMENT),
        (401, Code::UNAUTHENTICATED),
        (404, Code::NOT_FOUND),
        (413, Code::MESSAGE_TOO_LARGE),
        (429, Code::RESOURCE_EXHAUSTED),
        (500, Code::INTERNAL),
        (503, Code::UNAVAILABLE),
        (504, Code::DEADLINE_EXCEEDED),
        (307, Code::INTERNAL),
    ] {
        let body = r#"{"error": {"message": "said the server"}}"#;
        let url = server(StatusCode::from_u16(http).unwrap(), &[("retry-after", "7")], body).await;
        let status = ask(&url, prompt()).await.err().unwrap();
        assert_eq!((status.code(), status.message()), (code, "said the server"), "{http}");
        assert_eq!(status.retry_after().map(|after| after.as_secs()), Some(7));
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    assert_eq!(ask(&url, prompt()).await.err().unwrap().code(), Code::UNAVAILABLE);
}
