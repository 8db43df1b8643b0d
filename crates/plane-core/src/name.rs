//! Names: what is called ([`EndpointId`]) and who answers ([`InstanceId`]).
//!
//! A name is checked once, when it is made. Whatever holds an [`EndpointId`] may put it in a
//! subject, a path of a URL or a log line without looking at it again.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The longest token of an [`EndpointId`], in bytes.
pub const MAX_TOKEN: usize = 64;

/// The longest [`EndpointId`] in bytes: three tokens and two dots.
pub const MAX_ENDPOINT: usize = 3 * MAX_TOKEN + 2;

/// What is called: `namespace.component.endpoint`, for example `dynamo.backend.generate`.
///
/// Each of the three tokens is 1 to 64 characters of `A-Z a-z 0-9 _ -`; upper and lower case differ.
/// Cloning is one atomic increment.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EndpointId {
    text: Arc<str>,
}

impl EndpointId {
    /// Makes a name of its three tokens.
    ///
    /// # Errors
    /// [`InvalidName`] names the token that is empty, too long or has another character.
    pub fn new(namespace: &str, component: &str, endpoint: &str) -> Result<Self, InvalidName> {
        for token in [namespace, component, endpoint] {
            check_token(token)?;
        }
        Ok(Self { text: format!("{namespace}.{component}.{endpoint}").into() })
    }

    /// The whole name, with its two dots.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The first token: the deployment that the endpoint belongs to.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.token(0)
    }

    /// The second token: the part of the deployment that answers.
    #[must_use]
    pub fn component(&self) -> &str {
        self.token(1)
    }

    /// The third token: what the component is asked to do.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        self.token(2)
    }

    fn token(&self, index: usize) -> &str {
        self.text.split('.').nth(index).unwrap_or_default()
    }
}

/// Checks one token of a name: 1 to 64 characters of `A-Z a-z 0-9 _ -`.
///
/// # Errors
/// [`InvalidName`] shows the token and says what is wrong with it.
pub fn check_token(token: &str) -> Result<(), InvalidName> {
    let problem = if token.is_empty() {
        "is empty".to_owned()
    } else if token.len() > MAX_TOKEN {
        format!("has {} bytes", token.len())
    } else if let Some(c) = token.chars().find(|c| !is_token_char(*c)) {
        format!("contains {c:?}")
    } else {
        return Ok(());
    };
    Err(InvalidName { name: shorten(token), problem })
}

fn is_token_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '-'
}

/// Names from outside may be huge or hostile; an error shows their escaped beginning.
fn shorten(name: &str) -> String {
    let mut text: String = name.chars().take(MAX_TOKEN).flat_map(char::escape_debug).collect();
    if name.chars().nth(MAX_TOKEN).is_some() {
        text.push_str("...");
    }
    text
}

/// Tables of endpoints are searched with the text of a frame, without making a name of it first.
impl std::borrow::Borrow<str> for EndpointId {
    fn borrow(&self) -> &str {
        &self.text
    }
}

impl FromStr for EndpointId {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let mut tokens = text.split('.');
        let (Some(namespace), Some(component), Some(endpoint), None) =
            (tokens.next(), tokens.next(), tokens.next(), tokens.next())
        else {
            let problem = "does not have three tokens (namespace.component.endpoint)".to_owned();
            return Err(InvalidName { name: shorten(text), problem });
        };
        Self::new(namespace, component, endpoint)
    }
}

impl TryFrom<String> for EndpointId {
    type Error = InvalidName;

    fn try_from(text: String) -> Result<Self, InvalidName> {
        text.parse()
    }
}

impl From<EndpointId> for String {
    fn from(id: EndpointId) -> Self {
        id.as_str().to_owned()
    }
}

impl fmt::Display for EndpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for EndpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EndpointId({})", self.text)
    }
}

/// One live server of an endpoint. Never zero; shown as 16 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct InstanceId(NonZeroU64);

impl InstanceId {
    /// The id with this number; `None` for zero, which means "any instance" on the wire.
    #[must_use]
    pub fn new(number: u64) -> Option<Self> {
        NonZeroU64::new(number).map(Self)
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> u64 {
        self.0.get()
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InstanceId({self})")
    }
}

impl FromStr for InstanceId {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let hex = (1..=16).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit());
        let number = if hex { u64::from_str_radix(text, 16).ok() } else { None };
        number.and_then(Self::new).ok_or_else(|| InvalidName {
            name: shorten(text),
            problem: "is not an instance id (1 to 16 hexadecimal digits, not zero)".to_owned(),
        })
    }
}

impl TryFrom<String> for InstanceId {
    type Error = InvalidName;

    fn try_from(text: String) -> Result<Self, InvalidName> {
        text.parse()
    }
}

impl From<InstanceId> for String {
    fn from(id: InstanceId) -> Self {
        id.to_string()
    }
}

/// A name that cannot be one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the name \"{name}\" {problem}; a token is 1 to {MAX_TOKEN} characters of A-Z a-z 0-9 _ -")]
pub struct InvalidName {
    name: String,
    problem: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_gives_its_tokens_back() {
        let id: EndpointId = "dynamo.backend.generate".parse().unwrap();
        assert_eq!((id.namespace(), id.component(), id.endpoint()), ("dynamo", "backend", "generate"));
        assert_eq!(id, EndpointId::new("dynamo", "backend", "generate").unwrap());
        assert_eq!(serde_json::to_string(&id).unwrap(), "\"dynamo.backend.generate\"");
    }

    #[test]
    fn case_is_kept() {
        assert_ne!("a.b.C".parse::<EndpointId>().unwrap(), "a.b.c".parse::<EndpointId>().unwrap());
    }

    /// Case A7 and A27 of the threats: one validator refuses every hostile name.
    #[test]
    fn hostile_names_are_refused() {
        let long = "x".repeat(65);
        let huge = "x".repeat(65_536);
        for token in ["", ".", "..", "a.b", "a/b", "%2e", "a\0b", "*", ">", "a b", "\r\n", "\u{430}", &long, &huge] {
            assert!(EndpointId::new(token, "b", "c").is_err(), "{token:?} as namespace");
            assert!(EndpointId::new("a", token, "c").is_err(), "{token:?} as component");
            assert!(EndpointId::new("a", "b", token).is_err(), "{token:?} as endpoint");
        }
        for name in ["", "a", "a.b", "a.b.c.d", ".a.b", "a..b", "a.b.", "../../etc/passwd"] {
            assert!(name.parse::<EndpointId>().is_err(), "{name:?}");
        }
        let longest = "x".repeat(MAX_TOKEN);
        assert_eq!(EndpointId::new(&longest, &longest, &longest).unwrap().as_str().len(), MAX_ENDPOINT);
    }

    #[test]
    fn an_error_stays_short_and_printable() {
        let text = "\0".repeat(65_536).parse::<EndpointId>().unwrap_err().to_string();
        assert!(text.len() < 512 && !text.contains('\0'), "{text}");
    }

    #[test]
    fn instance_ids_are_hex_and_never_zero() {
        let id: InstanceId = "1f".parse().unwrap();
        assert_eq!((id.get(), id.to_string()), (31, "000000000000001f".to_owned()));
        for text in ["", "0", "0000", "+1", "xyz", "11112222333344445"] {
            assert!(text.parse::<InstanceId>().is_err(), "{text:?}");
        }
    }
}
