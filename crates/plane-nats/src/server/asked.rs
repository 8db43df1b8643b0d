//! What the headers of a request say ([`Asked`]).

use std::time::Instant;

use async_nats::{HeaderMap, HeaderValue};
use plane_core::{Code, HeaderLimits, Headers, Refusal, Status, check_token};

use super::answer::deadline_after;
use crate::flow::DEFAULT_CREDIT;
use crate::head;

/// What the headers of a request say, or what having none means.
pub(super) struct Asked<'a> {
    /// What the caller says that the call is known as.
    pub(super) id: Option<&'a str>,
    /// The application's headers.
    pub(super) headers: Headers,
    pub(super) deadline: Option<Instant>,
    /// How much of the answer may be on its way.
    pub(super) credit: u32,
    pub(super) body: Kind,
}

/// What the messages of a request are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The payload, and no more.
    One,
    None,
    /// They follow on the control subject.
    Stream,
}

impl<'a> Asked<'a> {
    /// Reads the headers of a request, if they are within the limits; else what it is refused for.
    pub(super) fn read(headers: Option<&'a HeaderMap>, limits: HeaderLimits) -> Result<Self, (Refusal, Status)> {
        // So come most of them.
        let Some(from) = headers else { return Ok(Self::default()) };
        let invalid = |status| (Refusal::InvalidCall, status);
        check_version(from).map_err(invalid)?;
        let id = from.get(head::REQUEST_ID).map(HeaderValue::as_str);
        if let Some(Err(error)) = id.map(check_token) {
            return Err(invalid(Status::invalid_argument(format!("Plane-Request-Id: {error}"))));
        }
        check_headers(from, limits).map_err(|status| (Refusal::Headers, status))?;
        let body = match from.get(head::BODY).map(HeaderValue::as_str) {
            Some(head::BODY_STREAM) => Kind::Stream,
            Some(head::BODY_NONE) => Kind::None,
            _ => Kind::One,
        };
        Ok(Self {
            id,
            headers: head::application(from),
            deadline: head::number(from, head::TIMEOUT).and_then(deadline_after),
            credit: head::number(from, head::CREDIT).unwrap_or(DEFAULT_CREDIT),
            body,
        })
    }
}

impl Default for Asked<'_> {
    fn default() -> Self {
        Self { id: None, headers: Headers::new(), deadline: None, credit: DEFAULT_CREDIT, body: Kind::One }
    }
}

/// Whether this side speaks what a request is written in.
pub(super) fn check_version(headers: &HeaderMap) -> Result<(), Status> {
    match headers.get(head::VERSION).map(HeaderValue::as_str) {
        None | Some(head::CURRENT) => Ok(()),
        Some(other) => {
            let other: String = other.chars().take(16).collect();
            let what = format!("this server speaks version {} of docs/nats.md, not {other}", head::CURRENT);
            Err(Status::new(Code::UNIMPLEMENTED, what))
        }
    }
}

/// Whether a request brings no more headers than this side takes.
pub(super) fn check_headers(headers: &HeaderMap, limits: HeaderLimits) -> Result<(), Status> {
    head::check_limits(headers, limits).map_err(|error| Status::new(Code::HEADERS_TOO_LARGE, error.to_string()))
}
