//! A frontend on a real socket, with workers behind it.

use std::future::pending;
use std::time::Duration;

use plane_cli::engine::Engine;
use plane_cli::{Frontend, FrontendConfig, serve_model};
use plane_core::EndpointId;
use plane_core::mem::MemNetwork;
use plane_manager::{NetworkManager, Service};
use reqwest::{Client, RequestBuilder, Response};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::http::http_client;

pub(crate) struct Deployment {
    pub(crate) manager: NetworkManager,
    http: Client,
    url: String,
}

pub(crate) fn endpoint() -> EndpointId {
    "test.backend.generate".parse().unwrap()
}

impl Deployment {
    pub(crate) async fn start() -> Self {
        Self::with_timeout(Duration::from_secs(600)).await
    }

    pub(crate) async fn with_timeout(request_timeout: Duration) -> Self {
        let manager = NetworkManager::builder().mem_network(MemNetwork::new()).build().unwrap();
        let default_model = Some("default".to_owned());
        let config = FrontendConfig { endpoint: endpoint(), default_model, request_timeout, body_limit: 64 * 1024 };
        let frontend = Frontend::new(&manager, config);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(frontend.serve(listener, pending()));
        Self { manager, http: http_client(), url }
    }

    pub(crate) async fn worker(&self, model: &str, engine: impl Engine) -> Service {
        serve_model(&self.manager, endpoint(), model, engine).await.unwrap()
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> RequestBuilder {
        self.http.post(format!("{}{path}", self.url)).json(body)
    }

    pub(crate) fn post_text(&self, path: &str, body: impl Into<String>) -> RequestBuilder {
        self.http.post(format!("{}{path}", self.url)).body(body.into())
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        self.http.get(format!("{}{path}", self.url)).send().await.unwrap()
    }

    /// Asks for a chat completion of "hi".
    pub(crate) fn chat(&self, model: &str, stream: bool) -> RequestBuilder {
        let messages = json!([{"role": "user", "content": "hi"}]);
        self.post("/v1/chat/completions", &json!({"model": model, "messages": messages, "stream": stream}))
    }
}
