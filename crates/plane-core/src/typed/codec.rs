//! How a payload is encoded, and how that is told.

use std::any::type_name;
use std::io::Cursor;

use bytes::Bytes;
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Delivery, Error, ErrorKind};
use crate::headers::Headers;

/// How a payload is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Codec {
    /// MessagePack with named fields, so that fields may be added. Needs no header.
    #[default]
    MsgPack,
    /// JSON, chosen by the header `content-type: application/json`.
    Json,
}

const JSON: &str = "application/json";
const MSGPACK: [&str; 3] = ["application/msgpack", "application/x-msgpack", "application/vnd.msgpack"];

impl Codec {
    /// The codec that headers name: MessagePack unless `content-type` says otherwise.
    ///
    /// # Errors
    /// [`ErrorKind::Codec`] for a content type of neither codec, naming those that are accepted.
    pub fn of(headers: &Headers) -> Result<Self, Error> {
        let Some(value) = headers.get(CONTENT_TYPE) else { return Ok(Self::MsgPack) };
        let value = String::from_utf8_lossy(value.as_bytes());
        // Parameters such as a charset change nothing: JSON is UTF-8.
        let media = value.split(';').next().unwrap_or_default().trim();
        if media.eq_ignore_ascii_case(JSON) {
            Ok(Self::Json)
        } else if MSGPACK.iter().any(|known| media.eq_ignore_ascii_case(known)) {
            Ok(Self::MsgPack)
        } else {
            let shown: String = media.chars().take(64).collect();
            let what = format!("the content type \"{shown}\" is unknown; accepted are {JSON} and {}", MSGPACK[0]);
            Err(Error::new(ErrorKind::Codec, Delivery::Executed, what))
        }
    }

    /// Names the codec in headers; MessagePack is what their absence means.
    pub fn tell(self, headers: &mut Headers) {
        match self {
            Self::MsgPack => headers.remove(CONTENT_TYPE),
            Self::Json => headers.insert(CONTENT_TYPE, HeaderValue::from_static(JSON)),
        };
    }

    /// Encodes a value.
    ///
    /// # Errors
    /// [`ErrorKind::Codec`], [`Delivery::NotSent`]: the value has something that the codec cannot express, for example
    /// a map in JSON whose keys are no text.
    pub fn encode<T: Serialize + ?Sized>(self, value: &T) -> Result<Bytes, Error> {
        let encoded = match self {
            Self::MsgPack => rmp_serde::to_vec_named(value).map_err(|error| error.to_string()),
            Self::Json => serde_json::to_vec(value).map_err(|error| error.to_string()),
        };
        encoded.map(Bytes::from).map_err(|reason| {
            let what = format!("cannot encode {} as {}: {reason}", type_name::<T>(), self.name());
            Error::new(ErrorKind::Codec, Delivery::NotSent, what)
        })
    }

    /// Decodes a value. Bytes after it are an error.
    ///
    /// # Errors
    /// [`Undecodable`] names the type, the position and the reason.
    pub fn decode<T: DeserializeOwned>(self, bytes: &[u8]) -> Result<T, Undecodable> {
        let undecodable = |position: String, reason: String| Undecodable {
            codec: self.name(),
            expected: type_name::<T>(),
            position,
            reason,
        };
        match self {
            Self::Json => serde_json::from_slice(bytes).map_err(|error| {
                // The reason tells the position by itself.
                undecodable(format!("line {} column {}", error.line(), error.column()), error.to_string())
            }),
            Self::MsgPack => {
                let mut decoder = rmp_serde::Deserializer::new(Cursor::new(bytes));
                let decoded = T::deserialize(&mut decoder);
                let position = decoder.position();
                let at = format!("byte {position}");
                let value = decoded.map_err(|error| undecodable(at.clone(), format!("{error} at {at}")))?;
                if position < bytes.len() as u64 {
                    let reason = format!("the value ends at {at}, the message has {} bytes", bytes.len());
                    return Err(undecodable(at, reason));
                }
                Ok(value)
            }
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::MsgPack => "MessagePack",
            Self::Json => "JSON",
        }
    }
}

/// A payload that is not what was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the message is no {} in {codec}: {reason}", without_paths(expected))]
pub struct Undecodable {
    codec: &'static str,
    expected: &'static str,
    position: String,
    reason: String,
}

/// A type as one would say it: `Vec<Item>`, not `alloc::vec::Vec<some::module::Item>`.
fn without_paths(name: &str) -> String {
    let in_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    name.split_inclusive(|c| !in_path(c)).map(|part| part.rsplit("::").next().unwrap_or(part)).collect()
}

impl Undecodable {
    /// The type that was expected.
    #[must_use]
    pub fn expected(&self) -> &'static str {
        self.expected
    }

    /// Where in the message decoding stopped: `byte 12`, or `line 1 column 13` for JSON.
    #[must_use]
    pub fn position(&self) -> &str {
        &self.position
    }
}

/// What a caller sees of an answer that it cannot decode.
impl From<Undecodable> for Error {
    fn from(undecodable: Undecodable) -> Self {
        Self::new(ErrorKind::Codec, Delivery::Executed, undecodable.to_string())
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[test]
    fn types_are_named_without_their_paths() {
        assert_eq!(without_paths(type_name::<Vec<Option<Codec>>>()), "Vec<Option<Codec>>");
        assert_eq!(without_paths("u8"), "u8");
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Prompt {
        text: String,
        tokens: u32,
    }

    fn prompt() -> Prompt {
        Prompt { text: "é".to_owned(), tokens: 7 }
    }

    #[test]
    fn values_read_back_as_they_were_written() {
        for codec in [Codec::MsgPack, Codec::Json] {
            let bytes = codec.encode(&prompt()).unwrap();
            assert_eq!(codec.decode::<Prompt>(&bytes).unwrap(), prompt());
            let mut headers = Headers::new();
            codec.tell(&mut headers);
            assert_eq!(Codec::of(&headers).unwrap(), codec);
        }
    }

    #[test]
    fn message_pack_has_named_fields() {
        let bytes = Codec::MsgPack.encode(&prompt()).unwrap();
        assert_eq!(&bytes[..6], b"\x82\xa4text");
    }

    #[test]
    fn every_strict_prefix_is_undecodable() {
        for codec in [Codec::MsgPack, Codec::Json] {
            let bytes = codec.encode(&prompt()).unwrap();
            for end in 0..bytes.len() {
                let error = codec.decode::<Prompt>(&bytes[..end]).unwrap_err();
                assert!(error.expected().ends_with("Prompt"), "{error}");
            }
        }
    }

    #[test]
    fn bytes_after_the_value_are_an_error() {
        for codec in [Codec::MsgPack, Codec::Json] {
            let mut bytes = codec.encode(&prompt()).unwrap().to_vec();
            bytes.push(b'1');
            assert!(codec.decode::<Prompt>(&bytes).is_err(), "{codec:?}");
        }
    }

    #[test]
    fn the_position_is_told() {
        let error = Codec::MsgPack.decode::<(u8, u8)>(b"\x92\x01\xa1x").unwrap_err();
        assert!(error.position().starts_with("byte "), "{error}");
        assert_eq!(Codec::Json.decode::<Vec<u8>>(b"[1,\n x]").unwrap_err().position(), "line 2 column 2");
    }

    #[test]
    fn content_types_choose_the_codec() {
        let of = |value: &'static str| {
            let mut headers = Headers::new();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(value));
            Codec::of(&headers)
        };
        assert_eq!(of("Application/JSON; charset=utf-8").unwrap(), Codec::Json);
        assert_eq!(of("application/x-msgpack").unwrap(), Codec::MsgPack);
        assert_eq!(of("text/plain").unwrap_err().kind(), ErrorKind::Codec);
    }
}
