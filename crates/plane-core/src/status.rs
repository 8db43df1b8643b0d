//! What a handler or a server answers when it does not answer with a response ([`Status`], [`Code`]).

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;

/// Why a call did not end well, as it travels on the wire (docs/protocol.md, "Codes").
///
/// The numbers up to 16 are those of gRPC. A number that this version does not know is kept and shown.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Code(pub u16);

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $number:literal;)*) => {
        impl Code {
            $($(#[$doc])* pub const $name: Self = Self($number);)*

            /// The name in upper case, or `None` for a number that this version does not know.
            #[must_use]
            pub fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($number => Some(stringify!($name)),)*
                    _ => None,
                }
            }
        }
    };
}

codes! {
    /// The call ended well.
    OK = 0;
    /// The caller gave up.
    CANCELLED = 1;
    /// Something that has no better code.
    UNKNOWN = 2;
    /// The request can never work as it is.
    INVALID_ARGUMENT = 3;
    /// The deadline passed.
    DEADLINE_EXCEEDED = 4;
    /// There is no such endpoint, instance or thing.
    NOT_FOUND = 5;
    /// There is one already.
    ALREADY_EXISTS = 6;
    /// The caller is known and may not do this.
    PERMISSION_DENIED = 7;
    /// A limit was hit; the message names it.
    RESOURCE_EXHAUSTED = 8;
    /// The request does not fit the state of the server.
    FAILED_PRECONDITION = 9;
    /// The server gave up on its own, for example because a conflict occurred.
    ABORTED = 10;
    /// A value is out of range.
    OUT_OF_RANGE = 11;
    /// The server cannot do this.
    UNIMPLEMENTED = 12;
    /// The server or its handler is broken, for example by a panic.
    INTERNAL = 13;
    /// The server cannot answer now; another one or a later try may.
    UNAVAILABLE = 14;
    /// Data was lost on the way.
    DATA_LOSS = 15;
    /// The caller is not known.
    UNAUTHENTICATED = 16;
    /// A message is over the limit of the side that answers.
    MESSAGE_TOO_LARGE = 100;
    /// Headers are over their limit in number or bytes.
    HEADERS_TOO_LARGE = 101;
    /// The other side broke the protocol.
    PROTOCOL = 102;
    /// The other side sent more than its credit allows.
    FLOW_CONTROL = 103;
    /// The other side did something cheap too often.
    ENHANCE_YOUR_CALM = 104;
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "CODE_{}", self.0),
        }
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a handler or server answers on failure. It travels to the caller whole.
///
/// Text over [`Status::MAX_MESSAGE`] and details over [`Status::MAX_DETAILS`] bytes are cut.
#[derive(Clone, PartialEq, Eq)]
pub struct Status {
    code: Code,
    message: Cow<'static, str>,
    details: Bytes,
    retry_after: Option<Duration>,
}

impl Status {
    /// The longest message that travels, in bytes.
    pub const MAX_MESSAGE: usize = 4 * 1024;
    /// The longest details that travel, in bytes.
    pub const MAX_DETAILS: usize = 16 * 1024;

    /// A status with this code and this text for people.
    ///
    /// A status is a failure: [`Code::OK`] becomes [`Code::UNKNOWN`], so that it can never look like a good end.
    pub fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        let code = if code == Code::OK { Code::UNKNOWN } else { code };
        let mut message = message.into();
        if message.len() > Self::MAX_MESSAGE {
            let end = message.floor_char_boundary(Self::MAX_MESSAGE);
            message = message[..end].to_owned().into();
        }
        Self { code, message, details: Bytes::new(), retry_after: None }
    }

    /// The request can never work as it is.
    pub fn invalid_argument(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::INVALID_ARGUMENT, message)
    }

    /// There is no such endpoint, instance or thing.
    pub fn not_found(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::NOT_FOUND, message)
    }

    /// The server or its handler is broken.
    pub fn internal(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::INTERNAL, message)
    }

    /// The server cannot answer now.
    pub fn unavailable(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::UNAVAILABLE, message)
    }

    /// A limit was hit. The message names it.
    pub fn resource_exhausted(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::RESOURCE_EXHAUSTED, message)
    }

    /// The same with bytes for programs.
    #[must_use]
    pub fn with_details(mut self, details: impl Into<Bytes>) -> Self {
        self.details = details.into();
        self.details.truncate(Self::MAX_DETAILS);
        self
    }

    /// The same with the time after which another try may work. Travels in milliseconds; zero means none.
    #[must_use]
    pub fn with_retry_after(mut self, retry_after: Duration) -> Self {
        self.retry_after = Some(retry_after).filter(|after| !after.is_zero());
        self
    }

    /// The code.
    #[must_use]
    pub fn code(&self) -> Code {
        self.code
    }

    /// The text for people.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The bytes for programs; empty if there are none.
    #[must_use]
    pub fn details(&self) -> &Bytes {
        &self.details
    }

    /// When another try may work.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl fmt::Debug for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Status");
        out.field("code", &self.code).field("message", &self.message);
        if !self.details.is_empty() {
            out.field("details", &self.details);
        }
        if let Some(after) = &self.retry_after {
            out.field("retry_after", after);
        }
        out.finish()
    }
}

impl std::error::Error for Status {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_code_is_kept_and_shown() {
        assert_eq!((Code(999).name(), Code(999).to_string()), (None, "CODE_999".to_owned()));
        assert_eq!(Code::NOT_FOUND.to_string(), "NOT_FOUND");
    }

    #[test]
    fn a_status_is_never_ok() {
        assert_eq!(Status::new(Code::OK, "all is well").code(), Code::UNKNOWN);
    }

    #[test]
    fn long_text_is_cut_between_characters() {
        let status = Status::internal("\u{e9}".repeat(Status::MAX_MESSAGE));
        assert_eq!(status.message().len(), Status::MAX_MESSAGE);
        let status = Status::internal(format!("a{}", "\u{e9}".repeat(Status::MAX_MESSAGE)));
        assert_eq!(status.message().len(), Status::MAX_MESSAGE - 1);
    }
}
