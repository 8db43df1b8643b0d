//! What goes wrong between the worker and its server, as the caller is told.

use std::error::Error as _;
use std::time::Duration;

use http::StatusCode;
use http::header::RETRY_AFTER;
use plane_core::{Code, Status};
use serde::Deserialize;

/// The `error` object of an answer.
#[derive(Debug, Deserialize)]
pub(super) struct Refusal {
    #[serde(default)]
    pub(super) message: String,
}

#[derive(Deserialize)]
struct Refused {
    error: Refusal,
}

/// How much of an error's body is read, in bytes.
const MAX_BODY: usize = 64 * 1024;

/// No connection, or no answer on it.
pub(super) fn unreachable(error: &reqwest::Error) -> Status {
    let url = error.url().map_or("?", reqwest::Url::as_str);
    if error.is_timeout() && !error.is_connect() {
        return Status::new(Code::DEADLINE_EXCEEDED, format!("the upstream {url} did not answer in time"));
    }
    Status::unavailable(format!("cannot reach the upstream {url} (--upstream): {}", root_cause(error)))
}

/// The server answered with an HTTP error.
pub(super) async fn refused(response: reqwest::Response) -> Status {
    let http = response.status();
    let retry_after = retry_after(&response);
    let text = read_message(response).await;
    let what = if text.is_empty() { format!("the upstream answered {http}") } else { text };
    let status = Status::new(code(http), what);
    match retry_after {
        Some(after) => status.with_retry_after(after),
        None => status,
    }
}

fn code(http: StatusCode) -> Code {
    match http {
        StatusCode::UNAUTHORIZED => Code::UNAUTHENTICATED,
        StatusCode::FORBIDDEN => Code::PERMISSION_DENIED,
        StatusCode::NOT_FOUND => Code::NOT_FOUND,
        StatusCode::PAYLOAD_TOO_LARGE => Code::MESSAGE_TOO_LARGE,
        StatusCode::TOO_MANY_REQUESTS => Code::RESOURCE_EXHAUSTED,
        StatusCode::REQUEST_TIMEOUT | StatusCode::GATEWAY_TIMEOUT => Code::DEADLINE_EXCEEDED,
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE => Code::UNAVAILABLE,
        StatusCode::NOT_IMPLEMENTED => Code::UNIMPLEMENTED,
        other if other.is_client_error() => Code::INVALID_ARGUMENT,
        _ => Code::INTERNAL,
    }
}

fn retry_after(response: &reqwest::Response) -> Option<Duration> {
    let seconds = response.headers().get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// The message of an error object, or the beginning of whatever else was sent.
async fn read_message(mut response: reqwest::Response) -> String {
    let mut body = Vec::new();
    while body.len() < MAX_BODY {
        match response.chunk().await {
            Ok(Some(bytes)) => body.extend_from_slice(&bytes),
            Ok(None) | Err(_) => break,
        }
    }
    match serde_json::from_slice::<Refused>(&body) {
        Ok(refused) => refused.error.message,
        Err(_) => String::from_utf8_lossy(&body).trim().chars().take(200).collect(),
    }
}

/// The answer ended without its end marker.
pub(super) fn cut_short() -> Status {
    Status::new(Code::DATA_LOSS, "the upstream ended its answer without [DONE]")
}

/// The connection was lost in the middle of an answer.
pub(super) fn broken_off(error: &reqwest::Error) -> Status {
    Status::new(Code::DATA_LOSS, format!("the upstream broke its answer off: {}", root_cause(error)))
}

/// An event that is no chunk.
pub(super) fn unreadable(error: &serde_json::Error) -> Status {
    Status::unavailable(format!("the upstream sent an event that is no completion chunk: {error}"))
}

/// The innermost text says what happened; the outer ones only where.
fn root_cause(error: &reqwest::Error) -> String {
    let mut cause = error.source();
    let mut text = error.to_string();
    while let Some(inner) = cause {
        text = inner.to_string();
        cause = inner.source();
    }
    text
}
