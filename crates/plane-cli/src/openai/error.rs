//! The error object and the HTTP status beside it.

use std::time::Duration;

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::header::RETRY_AFTER;
use http::{HeaderValue, StatusCode};
use plane_core::{Delivery, Error, ErrorKind};
use serde::Serialize;

/// What a client is told instead of an answer.
#[derive(Debug, Clone)]
pub(crate) struct ApiError {
    pub(crate) status: StatusCode,
    pub(crate) body: ErrorBody,
    pub(crate) retry_after: Option<Duration>,
}

/// `{"error": {..}}`
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ErrorBody {
    error: ErrorObject,
}

#[derive(Debug, Clone, Serialize)]
struct ErrorObject {
    message: String,
    r#type: &'static str,
    param: Option<String>,
    code: Option<&'static str>,
}

impl ApiError {
    pub(crate) fn new(status: StatusCode, code: Option<&'static str>, message: impl Into<String>) -> Self {
        let r#type = match status {
            StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
            status if status.is_client_error() => "invalid_request_error",
            _ => "server_error",
        };
        let error = ErrorObject { message: message.into(), r#type, param: None, code };
        Self { status, body: ErrorBody { error }, retry_after: None }
    }

    /// A parameter that cannot be what it is.
    pub(crate) fn invalid(param: &str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, Some("invalid_value"), message).with_param(param)
    }

    /// A parameter that this server does not know how to follow.
    pub(crate) fn unsupported(param: &str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, Some("unsupported_parameter"), message).with_param(param)
    }

    pub(crate) fn with_param(mut self, param: &str) -> Self {
        self.body.error.param = Some(param.to_owned());
        self
    }

    pub(crate) fn with_retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    /// The text for people.
    pub(crate) fn message(&self) -> &str {
        &self.body.error.message
    }

    /// The worker ended its answer in order and without a finish reason.
    pub(crate) fn unfinished() -> Self {
        Self::new(StatusCode::BAD_GATEWAY, Some("truncated"), "the worker ended its answer without a finish reason")
    }
}

/// When another try may work, if the far side did not say so.
const RETRY_LATER: Duration = Duration::from_secs(1);

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        let (status, code) = classify(&error);
        let told = Self::new(status, Some(code), error.message());
        match (error.retry_after(), status) {
            (Some(after), _) => told.with_retry_after(after),
            (None, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) => {
                told.with_retry_after(RETRY_LATER)
            }
            (None, _) => told,
        }
    }
}

fn classify(error: &Error) -> (StatusCode, &'static str) {
    match error.kind() {
        ErrorKind::InvalidArgument => (StatusCode::BAD_REQUEST, "invalid_argument"),
        ErrorKind::FailedPrecondition => (StatusCode::BAD_REQUEST, "failed_precondition"),
        // Without a handler it is the instance that was not found: it went away between discovery and call.
        ErrorKind::NotFound if error.delivery() == Delivery::Executed => (StatusCode::NOT_FOUND, "not_found"),
        ErrorKind::NotFound | ErrorKind::Unavailable | ErrorKind::Cancelled => {
            (StatusCode::SERVICE_UNAVAILABLE, "unavailable")
        }
        ErrorKind::MessageTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "message_too_large"),
        ErrorKind::ResourceExhausted => (StatusCode::TOO_MANY_REQUESTS, "resource_exhausted"),
        ErrorKind::DeadlineExceeded => (StatusCode::GATEWAY_TIMEOUT, "deadline_exceeded"),
        ErrorKind::Unimplemented => (StatusCode::NOT_IMPLEMENTED, "unimplemented"),
        // The frontend asks nobody who they are, so it was the worker that its upstream turned away.
        ErrorKind::Unauthenticated | ErrorKind::PermissionDenied => (StatusCode::BAD_GATEWAY, "upstream_refused"),
        ErrorKind::Disconnected => (StatusCode::BAD_GATEWAY, "worker_lost"),
        ErrorKind::Truncated => (StatusCode::BAD_GATEWAY, "truncated"),
        ErrorKind::Protocol | ErrorKind::Codec => (StatusCode::BAD_GATEWAY, "bad_gateway"),
        _ => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.body)).into_response();
        if let Some(after) = self.retry_after {
            // Whole seconds are all that the header knows; zero would invite a stampede.
            let seconds = after.as_millis().div_ceil(1000).max(1);
            if let Ok(value) = HeaderValue::try_from(seconds.to_string()) {
                response.headers_mut().insert(RETRY_AFTER, value);
            }
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use plane_core::{Code, Status};

    use super::*;

    fn told(code: Code, delivery: Delivery) -> u16 {
        ApiError::from(Error::from_status(Status::new(code, "x"), delivery)).status.as_u16()
    }

    #[test]
    fn every_kind_has_its_http_status() {
        for (code, http) in [
            (Code::INVALID_ARGUMENT, 400),
            (Code::NOT_FOUND, 404),
            (Code::RESOURCE_EXHAUSTED, 429),
            (Code::UNAVAILABLE, 503),
            (Code::DEADLINE_EXCEEDED, 504),
            (Code::INTERNAL, 500),
            (Code::DATA_LOSS, 502),
            (Code::MESSAGE_TOO_LARGE, 413),
            (Code::UNIMPLEMENTED, 501),
            (Code::UNAUTHENTICATED, 502),
            (Code(999), 500),
        ] {
            assert_eq!(told(code, Delivery::Executed), http, "{code}");
        }
        assert_eq!(told(Code::NOT_FOUND, Delivery::NotExecuted), 503);
        let lost = Error::new(ErrorKind::Disconnected, Delivery::Unknown, "x");
        assert_eq!(ApiError::from(lost).status.as_u16(), 502);
    }

    #[test]
    fn retry_after_is_rounded_up() {
        let status = Status::resource_exhausted("full").with_retry_after(Duration::from_millis(1100));
        let response = ApiError::from(Error::from_status(status, Delivery::NotExecuted)).into_response();
        assert_eq!(response.headers()[RETRY_AFTER], "2");
    }
}
