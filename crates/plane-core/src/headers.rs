//! Metadata of a request or response, and its limits.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::LazyLock;

use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, header};

use crate::error::{Delivery, Error, ErrorKind};

/// Metadata of a request or response: names in lower case, values of printable UTF-8. It is used as the [`HeaderMap`] that it
/// derefs to.
///
/// Names that start with `plane-` are reserved. All others, W3C `traceparent` among them, pass through unchanged.
///
/// ```
/// let mut headers = plane_core::Headers::new();
/// headers.insert("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".parse()?);
/// assert_eq!(headers["traceparent"].to_str()?.len(), 55);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default)]
pub struct Headers {
    /// A map of its own only once there is something to put in: few messages have headers, and all carry the place for them.
    map: Option<Box<HeaderMap>>,
}

/// What headers without a map are read as.
static NONE: LazyLock<HeaderMap> = LazyLock::new(HeaderMap::new);

impl Headers {
    /// No headers. Allocates nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self { map: None }
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.map.as_ref().is_none_or(|map| map.is_empty())
    }
}

impl Deref for Headers {
    type Target = HeaderMap;

    fn deref(&self) -> &HeaderMap {
        self.map.as_deref().unwrap_or_else(|| &NONE)
    }
}

impl DerefMut for Headers {
    fn deref_mut(&mut self) -> &mut HeaderMap {
        self.map.get_or_insert_default()
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

impl PartialEq for Headers {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Headers {}

impl From<HeaderMap> for Headers {
    fn from(map: HeaderMap) -> Self {
        Self { map: (!map.is_empty()).then(|| Box::new(map)) }
    }
}

impl From<Headers> for HeaderMap {
    fn from(headers: Headers) -> Self {
        headers.map.map(|map| *map).unwrap_or_default()
    }
}

impl FromIterator<(HeaderName, HeaderValue)> for Headers {
    fn from_iter<I: IntoIterator<Item = (HeaderName, HeaderValue)>>(headers: I) -> Self {
        HeaderMap::from_iter(headers).into()
    }
}

impl<'a> IntoIterator for &'a Headers {
    type Item = (&'a HeaderName, &'a HeaderValue);
    type IntoIter = header::Iter<'a, HeaderValue>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// The prefix of names that the plane keeps for itself.
const RESERVED: &str = "plane-";

/// How many headers a message may carry, and how many bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeaderLimits {
    /// Headers, each value of a repeated name counted. 64 by default.
    pub count: usize,
    /// Bytes of the block as it is encoded (docs/protocol.md, "Header block"): names, values and 3 bytes for each.
    /// 16 KiB by default, 64 KiB less one byte at most.
    pub bytes: usize,
}

impl Default for HeaderLimits {
    fn default() -> Self {
        Self { count: 64, bytes: 16 * 1024 }
    }
}

/// Why headers cannot be sent or were refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderError {
    /// Too many headers.
    #[error("{count} headers are over the limit of {limit} (HeaderLimits::count)")]
    TooMany {
        /// How many there are.
        count: usize,
        /// How many may be.
        limit: usize,
    },
    /// Too many bytes.
    #[error("headers of {bytes} bytes are over the limit of {limit} bytes (HeaderLimits::bytes)")]
    TooLarge {
        /// Encoded bytes.
        bytes: usize,
        /// How many may be.
        limit: usize,
    },
    /// A name that is reserved or longer than 255 bytes.
    #[error("the header name \"{name}\" is {problem}")]
    Name {
        /// The beginning of the name.
        name: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A value that is not UTF-8 or has a control character.
    #[error("the value of header \"{name}\" is not UTF-8 or has a control character")]
    Value {
        /// The name beside the value.
        name: String,
    },
    /// A block that is cut short or longer than its entries.
    #[error("the header block is malformed")]
    Malformed,
}

impl HeaderError {
    /// Whether a limit was hit, as opposed to a name or value that can never be sent.
    #[must_use]
    pub fn is_limit(&self) -> bool {
        matches!(self, Self::TooMany { .. } | Self::TooLarge { .. })
    }
}

impl From<HeaderError> for Error {
    fn from(error: HeaderError) -> Self {
        let kind = if error.is_limit() { ErrorKind::MessageTooLarge } else { ErrorKind::InvalidArgument };
        Self::new(kind, Delivery::NotSent, error.to_string())
    }
}

/// Checks headers before they are sent. Every transport calls this, so that what passes on one passes on all.
///
/// # Errors
/// The first limit that is hit, or the first name or value that cannot be sent.
pub fn check_headers(headers: &Headers, limits: HeaderLimits) -> Result<(), HeaderError> {
    if headers.is_empty() {
        return Ok(());
    }
    if headers.len() > limits.count {
        return Err(HeaderError::TooMany { count: headers.len(), limit: limits.count });
    }
    let mut bytes = 0;
    for (name, value) in headers {
        check_name(name.as_str())?;
        check_value(name.as_str(), value.as_bytes())?;
        bytes += encoded_len(name.as_str(), value.as_bytes());
    }
    if bytes > limits.bytes {
        return Err(HeaderError::TooLarge { bytes, limit: limits.bytes });
    }
    Ok(())
}

/// The bytes that one header takes in a block.
pub(crate) fn encoded_len(name: &str, value: &[u8]) -> usize {
    3 + name.len() + value.len()
}

pub(crate) fn check_name(name: &str) -> Result<(), HeaderError> {
    let problem = if name.starts_with(RESERVED) {
        "reserved (it starts with plane-)"
    } else if name.len() > 255 {
        "longer than 255 bytes"
    } else {
        return Ok(());
    };
    Err(HeaderError::Name { name: name.chars().take(64).collect(), problem })
}

/// `HeaderValue` allows opaque bytes and tabs; a value that must cross NATS as well may have neither.
pub(crate) fn check_value(name: &str, value: &[u8]) -> Result<(), HeaderError> {
    let printable = std::str::from_utf8(value).is_ok_and(|text| !text.chars().any(char::is_control));
    if printable { Ok(()) } else { Err(HeaderError::Value { name: name.chars().take(64).collect() }) }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn one(name: &str, value: &[u8]) -> Headers {
        let mut headers = Headers::new();
        headers.insert(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_bytes(value).unwrap());
        headers
    }

    #[test]
    fn ordinary_headers_pass() {
        let mut headers = one("traceparent", b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
        headers.append("x-tag", HeaderValue::from_static("a"));
        headers.append("x-tag", HeaderValue::from_bytes("é".as_bytes()).unwrap());
        assert_eq!(check_headers(&headers, HeaderLimits::default()), Ok(()));
    }

    #[test]
    fn reserved_names_and_opaque_values_are_refused() {
        let limits = HeaderLimits::default();
        assert!(matches!(check_headers(&one("plane-x", b"1"), limits), Err(HeaderError::Name { .. })));
        assert!(matches!(check_headers(&one("x", b"\xff"), limits), Err(HeaderError::Value { .. })));
        assert!(matches!(check_headers(&one("x", b"a\tb"), limits), Err(HeaderError::Value { .. })));
    }

    /// Case A8: 17 KiB, and 10,000 headers.
    #[test]
    fn limits_are_named() {
        let limits = HeaderLimits::default();
        let large = one("x", &[b'a'; 17 * 1024]);
        assert_eq!(
            check_headers(&large, limits),
            Err(HeaderError::TooLarge { bytes: 17 * 1024 + 4, limit: 16 * 1024 })
        );
        let mut many = Headers::new();
        for _ in 0..10_000 {
            many.append("x", HeaderValue::from_static(""));
        }
        assert_eq!(check_headers(&many, limits), Err(HeaderError::TooMany { count: 10_000, limit: 64 }));
    }

    /// No headers are no headers, whether there were some or not, and take a pointer.
    #[test]
    fn headers_that_are_gone_are_none() {
        let mut headers = one("a", b"1");
        assert_eq!(HeaderMap::from(headers.clone()).len(), 1);
        assert_eq!(Headers::from(HeaderMap::from(headers.clone())), headers);
        headers.remove("a");
        assert!(headers.is_empty() && headers == Headers::new());
        assert!(Headers::from(HeaderMap::from(headers)).map.is_none() && HeaderMap::from(Headers::new()).is_empty());
        assert_eq!(size_of::<Headers>(), size_of::<usize>());
    }
}
