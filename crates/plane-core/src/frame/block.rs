//! Header blocks inside frames (docs/protocol.md, "Header block").

use bytes::{BufMut, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::frame::head::checked_u16;
use crate::headers::{HeaderError, HeaderLimits, Headers, check_name, check_value, encoded_len};

/// The bytes that the headers take as a block.
#[must_use]
pub fn block_len(headers: &Headers) -> usize {
    if headers.is_empty() {
        return 0;
    }
    headers.iter().map(|(name, value)| encoded_len(name.as_str(), value.as_bytes())).sum()
}

pub(crate) fn encode_block(out: &mut BytesMut, headers: &Headers) {
    if headers.is_empty() {
        return;
    }
    for (name, value) in headers {
        let (name, value) = (name.as_str().as_bytes(), value.as_bytes());
        out.put_u8(u8::try_from(name.len()).expect("names are checked to be at most 255 bytes"));
        out.put_u16(checked_u16(value.len()));
        out.put_slice(name);
        out.put_slice(value);
    }
}

/// Limits are looked at before anything is stored, so that a hostile block costs no more than reading its lengths.
pub(crate) fn decode_block(mut block: &[u8], limits: HeaderLimits) -> Result<Headers, HeaderError> {
    if block.is_empty() {
        return Ok(Headers::new());
    }
    if block.len() > limits.bytes {
        return Err(HeaderError::TooLarge { bytes: block.len(), limit: limits.bytes });
    }
    let count = count_entries(block)?;
    if count > limits.count {
        return Err(HeaderError::TooMany { count, limit: limits.count });
    }
    let mut headers = HeaderMap::with_capacity(count);
    while let Some((name, value, rest)) = split_entry(block)? {
        block = rest;
        let invalid = || HeaderError::Name { name: name.escape_ascii().to_string(), problem: "not a header name" };
        let name = HeaderName::from_bytes(name).map_err(|_| invalid())?;
        check_name(name.as_str())?;
        check_value(name.as_str(), value)?;
        let value =
            HeaderValue::from_bytes(value).map_err(|_| HeaderError::Value { name: name.as_str().to_owned() })?;
        headers.append(name, value);
    }
    Ok(headers.into())
}

fn count_entries(mut block: &[u8]) -> Result<usize, HeaderError> {
    let mut count = 0;
    while let Some((_, _, rest)) = split_entry(block)? {
        block = rest;
        count += 1;
    }
    Ok(count)
}

type Entry<'a> = (&'a [u8], &'a [u8], &'a [u8]);

fn split_entry(block: &[u8]) -> Result<Option<Entry<'_>>, HeaderError> {
    if block.is_empty() {
        return Ok(None);
    }
    let ([name_len, v0, v1], rest) = block.split_first_chunk().ok_or(HeaderError::Malformed)?;
    let value_len = usize::from(u16::from_be_bytes([*v0, *v1]));
    let (name, rest) = rest.split_at_checked(usize::from(*name_len)).ok_or(HeaderError::Malformed)?;
    let (value, rest) = rest.split_at_checked(value_len).ok_or(HeaderError::Malformed)?;
    Ok(Some((name, value, rest)))
}
