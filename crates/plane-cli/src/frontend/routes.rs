//! The HTTP routes.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, State};
use axum::response::sse::{KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, StatusCode};
use plane_core::Health;
use plane_manager::Discovery;
use serde_json::json;

use super::metrics::{Metrics, Observed};
use super::models::Models;
use super::reply::Reply;
use super::stream;
use crate::openai::{Answer, ApiError, Question, Route};

/// What every route is given.
#[derive(Debug)]
pub(super) struct App {
    pub(super) models: Models,
    pub(super) discovery: Arc<dyn Discovery>,
    pub(super) metrics: Metrics,
    pub(super) request_timeout: Duration,
}

pub(super) fn router(app: App, body_limit: usize) -> Router {
    Router::new()
        .route(Route::Chat.path(), post(chat))
        .route(Route::Completion.path(), post(completion))
        .route("/v1/models", get(list_models))
        .route("/health", get(health))
        .route("/metrics", get(metrics))
        .fallback(no_such_route)
        .method_not_allowed_fallback(no_such_method)
        .layer(DefaultBodyLimit::max(body_limit))
        .with_state(Arc::new(app))
}

type Body = Result<Bytes, BytesRejection>;

async fn chat(State(app): State<Arc<App>>, headers: HeaderMap, body: Body) -> Response {
    complete(Route::Chat, &app, &headers, body).await
}

async fn completion(State(app): State<Arc<App>>, headers: HeaderMap, body: Body) -> Response {
    complete(Route::Completion, &app, &headers, body).await
}

async fn complete(route: Route, app: &App, headers: &HeaderMap, body: Body) -> Response {
    let mut observed = app.metrics.observe(route);
    match begin(app, route, headers, body).await {
        Err(error) => refuse(error, observed),
        Ok((question, reply)) => {
            let answer = Answer::new(route, question.request.model, question.include_usage);
            if question.stream {
                return Sse::new(stream::events(reply, answer, observed))
                    .keep_alive(KeepAlive::default())
                    .into_response();
            }
            match reply.whole().await {
                Err(error) => refuse(error, observed),
                Ok(whole) => {
                    observed.text();
                    observed.complete(whole.usage);
                    Json(answer.whole(&whole.text, whole.finish_reason, whole.usage)).into_response()
                }
            }
        }
    }
}

/// Everything up to the first chunk of the answer.
async fn begin(app: &App, route: Route, headers: &HeaderMap, body: Body) -> Result<(Question, Reply), ApiError> {
    let body = body.map_err(|rejection| unreadable(&rejection))?;
    let question = Question::read(route, &body)?;
    let response = app.models.ask(&question.request, passed_on(headers), app.request_timeout).await?;
    Ok((question, Reply::begin(response).await?))
}

fn refuse(error: ApiError, observed: Observed) -> Response {
    tracing::debug!(status = %error.status, error = %error.message(), "a request was refused");
    observed.fail(error.status);
    error.into_response()
}

/// Headers that belong to the call as a whole: W3C trace context.
const PASSED_ON: [HeaderName; 3] = [
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
    HeaderName::from_static("x-request-id"),
];

fn passed_on(headers: &HeaderMap) -> HeaderMap {
    let values = |name: HeaderName| headers.get(&name).cloned().map(|value| (name, value));
    PASSED_ON.into_iter().filter_map(values).collect()
}

fn unreadable(rejection: &BytesRejection) -> ApiError {
    let status = rejection.status();
    if status == StatusCode::PAYLOAD_TOO_LARGE {
        let what = "the body is over the limit of this server (--body-limit)";
        return ApiError::new(status, Some("body_too_large"), what);
    }
    ApiError::new(StatusCode::BAD_REQUEST, Some("unreadable_body"), rejection.body_text())
}

async fn list_models(State(app): State<Arc<App>>) -> Response {
    let models = app.models.live().into_keys();
    let data: Vec<_> =
        models.map(|id| json!({"id": id, "object": "model", "created": 0, "owned_by": "plane"})).collect();
    Json(json!({"object": "list", "data": data})).into_response()
}

async fn health(State(app): State<Arc<App>>) -> Response {
    let (models, endpoint) = (app.models.live(), app.models.endpoint());
    let nobody = models.is_empty().then(|| format!("no model has a live worker at {endpoint}"));
    let trouble = match app.discovery.health() {
        Health::Degraded(trouble) | Health::Unavailable(trouble) => Some(trouble),
        _ => None,
    };
    let (http, status) = match (&nobody, &trouble) {
        (Some(_), _) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
        (None, Some(_)) => (StatusCode::OK, "degraded"),
        (None, None) => (StatusCode::OK, "ok"),
    };
    let mut body = json!({"status": status, "endpoint": endpoint, "models": models});
    let messages = Vec::from_iter(nobody.into_iter().chain(trouble));
    if !messages.is_empty() {
        body["message"] = messages.join("; ").into();
    }
    (http, Json(body)).into_response()
}

async fn metrics(State(app): State<Arc<App>>) -> Response {
    match app.metrics.render() {
        Ok(text) => {
            ([(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text).into_response()
        }
        Err(error) => {
            ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, Some("internal"), error.to_string()).into_response()
        }
    }
}

async fn no_such_route(uri: http::Uri) -> ApiError {
    let what = format!(
        "there is no {}; this server has POST /v1/chat/completions, POST /v1/completions, GET /v1/models, GET /health \
         and GET /metrics",
        uri.path()
    );
    ApiError::new(StatusCode::NOT_FOUND, Some("no_such_route"), what)
}

async fn no_such_method(method: http::Method, uri: http::Uri) -> ApiError {
    let what = format!("{} cannot be used with {method}", uri.path());
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, Some("method_not_allowed"), what)
}
