//! How a call ends, as headers and payload (docs/nats.md, "End").

use std::borrow::Cow;
use std::time::Duration;

use async_nats::HeaderMap;
use bytes::Bytes;
use plane_core::{Code, Delivery, Error, Status};

use crate::head;

/// The end of a call or of a request's messages, in order or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct End {
    /// `None` is an end in order.
    pub(crate) status: Option<Status>,
    /// Whether no handler was started.
    pub(crate) not_executed: bool,
    /// How many payloads came before it.
    pub(crate) payloads: u64,
    /// How many messages they were.
    pub(crate) messages: u64,
}

impl End {
    /// A status after this many payloads and messages.
    pub(crate) fn with(status: Option<Status>, payloads: u64, messages: u64) -> Self {
        Self { status, not_executed: false, payloads, messages }
    }

    /// A refusal: no handler was started.
    pub(crate) fn refused(status: Status) -> Self {
        Self { status: Some(status), not_executed: true, payloads: 0, messages: 0 }
    }

    /// As headers and payload of at most `limit` bytes together: what does not fit is cut, details first.
    pub(crate) fn encode(&self, limit: usize) -> (HeaderMap, Bytes) {
        let mut headers = head::only(head::STATUS, self.status.as_ref().map_or(0, |status| status.code().0));
        head::set(&mut headers, head::SEQ, self.payloads);
        head::set(&mut headers, head::COUNT, self.messages);
        if self.not_executed {
            head::set(&mut headers, head::NOT_EXECUTED, 1);
        }
        let Some(status) = &self.status else { return (headers, Bytes::new()) };
        if let Some(after) = status.retry_after() {
            head::set(&mut headers, head::RETRY_AFTER, after.as_millis());
        }
        head::set(&mut headers, head::SERVICE_ERROR_CODE, service_code(status.code()));
        let left = limit.saturating_sub(head::wire_len(&headers) + head::OWN_BYTES);
        add_text(&mut headers, status.message(), left);
        let left = limit.saturating_sub(head::wire_len(&headers));
        let details = status.details();
        (headers, details.slice(..details.len().min(left)))
    }

    /// The end that a message is, if it is one.
    pub(crate) fn decode(headers: &HeaderMap, payload: &Bytes) -> Option<Self> {
        let code: u16 = head::number(headers, head::STATUS)?;
        let status = (code != 0).then(|| {
            let text = headers.get(head::TEXT).map(|text| unescape(text.as_str()));
            let text = text.or_else(|| headers.get(head::SERVICE_ERROR).map(|text| text.as_str().to_owned()));
            let after = head::number(headers, head::RETRY_AFTER).map_or(Duration::ZERO, Duration::from_millis);
            Status::new(Code(code), text.unwrap_or_default()).with_details(payload.clone()).with_retry_after(after)
        });
        Some(Self {
            status,
            not_executed: headers.get(head::NOT_EXECUTED).is_some(),
            payloads: head::number(headers, head::SEQ).unwrap_or(0),
            messages: head::number(headers, head::COUNT).unwrap_or(0),
        })
    }

    /// What the caller sees of it.
    pub(crate) fn into_error(self) -> Option<Error> {
        let delivery = if self.not_executed { Delivery::NotExecuted } else { Delivery::Executed };
        self.status.map(|status| Error::from_status(status, delivery))
    }
}

/// Sets the text for people, and the text as it is where the two differ.
fn add_text(headers: &mut HeaderMap, text: &str, limit: usize) {
    // Both may be needed, and an escaped character takes three.
    let text = if text.len() * 4 > limit { &text[..text.floor_char_boundary(limit / 4)] } else { text };
    let plain: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let plain = plain.trim();
    if plain != text {
        head::set(headers, head::TEXT, escape(text));
    }
    // A client of another kind takes an error without a text for none.
    head::set(headers, head::SERVICE_ERROR, if plain.is_empty() { "error" } else { plain });
    if text.is_empty() {
        head::set(headers, head::TEXT, "");
    }
}

/// The number that the NATS service protocol has for a code: those of HTTP.
fn service_code(code: Code) -> u16 {
    match code {
        Code::INVALID_ARGUMENT | Code::OUT_OF_RANGE | Code::FAILED_PRECONDITION => 400,
        Code::UNAUTHENTICATED => 401,
        Code::PERMISSION_DENIED => 403,
        Code::NOT_FOUND => 404,
        Code::ALREADY_EXISTS | Code::ABORTED => 409,
        Code::MESSAGE_TOO_LARGE => 413,
        Code::RESOURCE_EXHAUSTED | Code::ENHANCE_YOUR_CALM => 429,
        Code::HEADERS_TOO_LARGE => 431,
        Code::CANCELLED => 499,
        Code::UNIMPLEMENTED => 501,
        Code::UNAVAILABLE => 503,
        Code::DEADLINE_EXCEEDED => 504,
        _ => 500,
    }
}

/// Percent signs, spaces and control characters as `%` and two digits for each byte.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut buffer = [0; 4];
    for c in text.chars() {
        if c == '%' || c.is_whitespace() || c.is_control() {
            for byte in c.encode_utf8(&mut buffer).bytes() {
                out.push_str(&format!("%{byte:02X}"));
            }
        } else {
            out.push(c);
        }
    }
    out
}

fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let byte = (*first == b'%').then(|| after.get(..2).and_then(hex)).flatten();
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &after[2..] } else { after };
    }
    match String::from_utf8_lossy(&bytes) {
        Cow::Borrowed(text) => text.to_owned(),
        Cow::Owned(text) => text,
    }
}

fn hex(digits: &[u8]) -> Option<u8> {
    std::str::from_utf8(digits).ok().and_then(|digits| u8::from_str_radix(digits, 16).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_survives(status: &Status) {
        let end = End { status: Some(status.clone()), not_executed: true, payloads: 3, messages: 2 };
        let (headers, payload) = end.encode(1 << 20);
        assert_eq!(End::decode(&headers, &payload).as_ref(), Some(&end));
    }

    /// Case C3.
    #[test]
    fn a_status_survives_whole() {
        for text in ["", "plain", " spaced ", "two\r\nlines", "100 %\n", "\u{1f600}\u{7}", "%41\n"] {
            let status = Status::new(Code(4_242), text.to_owned())
                .with_details(&b"\x00\xff"[..])
                .with_retry_after(Duration::from_millis(1_500));
            assert_survives(&status);
        }
        assert_survives(&Status::internal("t".repeat(Status::MAX_MESSAGE)).with_details(vec![7; Status::MAX_DETAILS]));
    }

    #[test]
    fn an_end_in_order_has_counts_alone() {
        let end = End::with(None, 5, 4);
        let (headers, payload) = end.encode(1_024);
        assert_eq!(End::decode(&headers, &payload), Some(end));
        assert!(payload.is_empty() && headers.get(head::SERVICE_ERROR).is_none());
        assert_eq!(End::decode(&HeaderMap::new(), &payload), None);
    }

    /// One publish over the limit would cost the connection, and every other call with it.
    #[test]
    fn what_does_not_fit_is_cut() {
        let status = Status::not_found("t\n".repeat(2_000)).with_details(vec![7; 16_000]);
        for limit in [1_024, 2_000, 20_000] {
            let (headers, payload) = End::refused(status.clone()).encode(limit);
            assert!(head::wire_len(&headers) + payload.len() <= limit, "{limit}");
            assert_eq!(End::decode(&headers, &payload).unwrap().status.unwrap().code(), Code::NOT_FOUND);
        }
    }
}
