//! What the headers of messages say (docs/nats.md, "Requests", "Answers", "Control" and "Durable delivery").
//!
//! The plane's own headers begin with `Plane-`; all others but `Nats-` are the application's and pass unchanged.

use std::time::Duration;

use async_nats::{HeaderMap, HeaderName};
use plane_core::{HeaderError, HeaderLimits, Headers};

pub(crate) const VERSION: HeaderName = HeaderName::from_static("Plane-Version");
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("Plane-Request-Id");
pub(crate) const TIMEOUT: HeaderName = HeaderName::from_static("Plane-Timeout-Us");
pub(crate) const CREDIT: HeaderName = HeaderName::from_static("Plane-Credit");
pub(crate) const BODY: HeaderName = HeaderName::from_static("Plane-Body");
pub(crate) const BEGIN: HeaderName = HeaderName::from_static("Plane-Begin");
pub(crate) const SEQ: HeaderName = HeaderName::from_static("Plane-Seq");
pub(crate) const MORE: HeaderName = HeaderName::from_static("Plane-More");
pub(crate) const SIZES: HeaderName = HeaderName::from_static("Plane-Sizes");
pub(crate) const COUNT: HeaderName = HeaderName::from_static("Plane-Count");
pub(crate) const STATUS: HeaderName = HeaderName::from_static("Plane-Status");
pub(crate) const TEXT: HeaderName = HeaderName::from_static("Plane-Text");
pub(crate) const RETRY_AFTER: HeaderName = HeaderName::from_static("Plane-Retry-After-Ms");
pub(crate) const NOT_EXECUTED: HeaderName = HeaderName::from_static("Plane-Not-Executed");
pub(crate) const BEAT: HeaderName = HeaderName::from_static("Plane-Beat");
pub(crate) const STOP: HeaderName = HeaderName::from_static("Plane-Stop");
pub(crate) const ABORT: HeaderName = HeaderName::from_static("Plane-Abort");
pub(crate) const REPLY: HeaderName = HeaderName::from_static("Plane-Reply");
pub(crate) const ATTEMPT: HeaderName = HeaderName::from_static("Plane-Attempt");
pub(crate) const AGAIN: HeaderName = HeaderName::from_static("Plane-Again");
pub(crate) const GIVEN_BACK: HeaderName = HeaderName::from_static("Plane-Given-Back");
pub(crate) const ORIGIN: HeaderName = HeaderName::from_static("Plane-Origin");
pub(crate) const DEAD_SEQUENCE: HeaderName = HeaderName::from_static("Plane-Dead-Sequence");
pub(crate) const DEAD_ATTEMPTS: HeaderName = HeaderName::from_static("Plane-Dead-Attempts");
pub(crate) const MESSAGE_ID: HeaderName = HeaderName::from_static("Nats-Msg-Id");
pub(crate) const SERVICE_ERROR: HeaderName = HeaderName::from_static("Nats-Service-Error");
pub(crate) const SERVICE_ERROR_CODE: HeaderName = HeaderName::from_static("Nats-Service-Error-Code");

/// What one payload needs beside the application's headers, at most.
pub(crate) const OWN_BYTES: usize = 256;

/// The version of what docs/nats.md describes.
pub(crate) const CURRENT: &str = "1";

/// What the request's messages are, if not exactly one payload.
pub(crate) const BODY_NONE: &str = "none";
/// Messages follow on the control subject.
pub(crate) const BODY_STREAM: &str = "stream";

/// Reads a number, if the header is there and is one.
pub(crate) fn number<T: std::str::FromStr>(headers: &HeaderMap, name: HeaderName) -> Option<T> {
    headers.get(name).and_then(|value| value.as_str().parse().ok())
}

pub(crate) fn set(headers: &mut HeaderMap, name: HeaderName, value: impl ToString) {
    headers.insert(name, value.to_string());
}

/// One header alone.
pub(crate) fn only(name: HeaderName, value: impl ToString) -> HeaderMap {
    let mut headers = HeaderMap::new();
    set(&mut headers, name, value);
    headers
}

/// The time that is left, in whole microseconds; never zero, which no deadline means.
pub(crate) fn micros(left: Duration) -> u64 {
    u64::try_from(left.as_micros()).unwrap_or(u64::MAX).max(1)
}

/// Adds the application's headers. They were checked: none is the plane's, and every value is printable UTF-8.
pub(crate) fn add_application(to: &mut HeaderMap, headers: &Headers) {
    for (name, value) in headers {
        if let Ok(value) = std::str::from_utf8(value.as_bytes()) {
            to.append(name.as_str(), escape_spaces(value).as_ref());
        }
    }
}

/// Checks how many headers of the application a message brings, before any is copied.
pub(crate) fn check_limits(from: &HeaderMap, limits: HeaderLimits) -> Result<(), HeaderError> {
    let (mut count, mut bytes) = (0, 0);
    for (name, values) in from.iter().filter(|(name, _)| is_application(name.as_ref())) {
        let name: &str = name.as_ref();
        count += values.len();
        bytes += values.iter().map(|value| header_len(name, value.as_str())).sum::<usize>();
    }
    if count > limits.count {
        Err(HeaderError::TooMany { count, limit: limits.count })
    } else if bytes > limits.bytes {
        Err(HeaderError::TooLarge { bytes, limit: limits.bytes })
    } else {
        Ok(())
    }
}

/// What a header counts as on every transport, whatever is put around it on this one.
fn header_len(name: &str, value: &str) -> usize {
    name.len() + unescape_spaces(value).len() + 3
}

/// The application's headers of a message, whose limits were checked. What cannot be one, from a client of another kind,
/// is left out.
pub(crate) fn application(from: &HeaderMap) -> Headers {
    let mut headers = Headers::new();
    for (name, values) in from.iter() {
        let text: &str = name.as_ref();
        if !is_application(text) {
            continue;
        }
        let Ok(name) = http::HeaderName::from_bytes(text.as_bytes()) else { continue };
        for value in values {
            if let Ok(value) = http::HeaderValue::from_bytes(unescape_spaces(value.as_str()).as_bytes()) {
                // More than a map can hold is far over any limit.
                let _ = headers.try_append(name.clone(), value);
            }
        }
    }
    headers
}

/// Whether a header is the application's: neither the plane's own nor one of NATS.
pub(crate) fn is_application(name: &str) -> bool {
    let starts = |prefix: &str| name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
    !starts("plane-") && !starts("nats-")
}

/// NATS trims the spaces around a value; one that has some is put between marks that no value can have otherwise.
const MARK: char = '"';

/// Puts a value between marks if NATS would change it, or if it looks as if it were marked.
fn escape_spaces(value: &str) -> std::borrow::Cow<'_, str> {
    let is_trimmed = value.trim() != value;
    if is_trimmed || is_marked(value) { format!("{MARK}{value}{MARK}").into() } else { value.into() }
}

fn unescape_spaces(value: &str) -> &str {
    let inner = value.strip_prefix(MARK).and_then(|value| value.strip_suffix(MARK));
    inner.filter(|inner| inner.trim() != *inner || is_marked(inner)).unwrap_or(value)
}

/// Whether reading this value back would take marks off it.
fn is_marked(value: &str) -> bool {
    let inner = value.strip_prefix(MARK).and_then(|value| value.strip_suffix(MARK));
    inner.is_some_and(|inner| inner.trim() != inner || is_marked(inner))
}

/// The bytes of a header block as NATS counts them.
pub(crate) fn wire_len(headers: &HeaderMap) -> usize {
    let lines = headers.iter().flat_map(|(name, values)| values.iter().map(move |value| (name, value)));
    "NATS/1.0\r\n\r\n".len()
        + lines
            .map(|(name, value)| {
                let name: &str = name.as_ref();
                name.len() + ": \r\n".len() + value.as_str().len()
            })
            .sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn application_headers_pass_and_others_stay() {
        let mut sent = Headers::new();
        for value in ["a", " a", "a ", "", "\"a\"", "\" a\"", "\"\" a\"\"", "\"", "h\u{e9}"] {
            sent.append("x-tag", http::HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        let mut wire = only(SEQ, 7);
        set(&mut wire, SERVICE_ERROR, "no");
        wire.insert("plane-Other", "1");
        add_application(&mut wire, &sent);
        assert_eq!(application(&wire), sent);
        assert_eq!(number::<u64>(&wire, SEQ), Some(7));
    }

    /// Threat A25, over NATS: counted as on every other transport, and without a copy.
    #[test]
    fn limits_are_exact_and_of_the_application_alone() {
        let limits = HeaderLimits { count: 3, bytes: 40 };
        let mut wire = only(SEQ, 7);
        for value in ["1", " 2", "3"] {
            add_application(&mut wire, &one("x", value));
        }
        assert_eq!(check_limits(&wire, limits), Ok(()));
        assert_eq!(check_limits(&wire, HeaderLimits { bytes: 16, ..limits }), Ok(()));
        let refused = check_limits(&wire, HeaderLimits { bytes: 15, ..limits });
        assert_eq!(refused, Err(HeaderError::TooLarge { bytes: 16, limit: 15 }));
        add_application(&mut wire, &one("y", ""));
        assert_eq!(check_limits(&wire, limits), Err(HeaderError::TooMany { count: 4, limit: 3 }));
    }

    fn one(name: &'static str, value: &str) -> Headers {
        let mut headers = Headers::new();
        headers.insert(name, value.parse().unwrap());
        headers
    }

    #[test]
    fn marks_survive_whatever_nats_trims() {
        for value in [" ", "  a", "\"", "\"\"", "\" \"", "\"a\"", "\"\" x\"\""] {
            assert_eq!(unescape_spaces(escape_spaces(value).trim()), value, "{value:?}");
        }
    }
}
