//! What a caller sees when a call does not end well ([`Error`], [`ErrorKind`], [`Delivery`]).

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use crate::status::{Code, Status};

/// What went wrong, seen from the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The request, a name, an address or a header cannot be what it is.
    InvalidArgument,
    /// There is no such endpoint or instance, or the handler says that there is no such thing.
    NotFound,
    /// There is one already.
    AlreadyExists,
    /// The caller is known and may not do this.
    PermissionDenied,
    /// The caller is not known.
    Unauthenticated,
    /// The request does not fit the state of the server.
    FailedPrecondition,
    /// A limit was hit; the message names it.
    ResourceExhausted,
    /// A message or the headers are over a limit; the message names it.
    MessageTooLarge,
    /// The server cannot do this.
    Unimplemented,
    /// The server or its handler is broken, for example by a panic.
    Internal,
    /// No server can be reached, or the one reached does not take calls.
    Unavailable,
    /// The connection was lost while the call was in flight.
    Disconnected,
    /// The deadline or the time to be accepted passed.
    DeadlineExceeded,
    /// The call was given up, by the caller or by the client's close.
    Cancelled,
    /// A stream ended without its end marker, or with another number of messages than the marker says.
    Truncated,
    /// A payload could not be encoded or decoded.
    Codec,
    /// The other side does not speak the protocol, or broke it.
    Protocol,
    /// The far side answered with a code that has no kind here; see [`Error::code`].
    Unknown,
}

impl From<Code> for ErrorKind {
    fn from(code: Code) -> Self {
        match code {
            Code::INVALID_ARGUMENT | Code::OUT_OF_RANGE => Self::InvalidArgument,
            Code::NOT_FOUND => Self::NotFound,
            Code::ALREADY_EXISTS => Self::AlreadyExists,
            Code::PERMISSION_DENIED => Self::PermissionDenied,
            Code::UNAUTHENTICATED => Self::Unauthenticated,
            Code::FAILED_PRECONDITION | Code::ABORTED => Self::FailedPrecondition,
            Code::RESOURCE_EXHAUSTED | Code::ENHANCE_YOUR_CALM => Self::ResourceExhausted,
            Code::MESSAGE_TOO_LARGE | Code::HEADERS_TOO_LARGE => Self::MessageTooLarge,
            Code::UNIMPLEMENTED => Self::Unimplemented,
            Code::INTERNAL => Self::Internal,
            Code::UNAVAILABLE => Self::Unavailable,
            Code::DEADLINE_EXCEEDED => Self::DeadlineExceeded,
            Code::CANCELLED => Self::Cancelled,
            Code::DATA_LOSS => Self::Truncated,
            Code::PROTOCOL | Code::FLOW_CONTROL => Self::Protocol,
            _ => Self::Unknown,
        }
    }
}

impl ErrorKind {
    /// The code that tells this kind to the next hop.
    #[must_use]
    pub fn code(self) -> Code {
        match self {
            Self::InvalidArgument | Self::Codec => Code::INVALID_ARGUMENT,
            Self::NotFound => Code::NOT_FOUND,
            Self::AlreadyExists => Code::ALREADY_EXISTS,
            Self::PermissionDenied => Code::PERMISSION_DENIED,
            Self::Unauthenticated => Code::UNAUTHENTICATED,
            Self::FailedPrecondition => Code::FAILED_PRECONDITION,
            Self::ResourceExhausted => Code::RESOURCE_EXHAUSTED,
            Self::MessageTooLarge => Code::MESSAGE_TOO_LARGE,
            Self::Unimplemented => Code::UNIMPLEMENTED,
            Self::Internal => Code::INTERNAL,
            Self::Unavailable | Self::Disconnected => Code::UNAVAILABLE,
            Self::DeadlineExceeded => Code::DEADLINE_EXCEEDED,
            Self::Cancelled => Code::CANCELLED,
            Self::Truncated => Code::DATA_LOSS,
            Self::Protocol => Code::PROTOCOL,
            Self::Unknown => Code::UNKNOWN,
        }
    }
}

/// How far the call got: may it be sent again without running twice?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Delivery {
    /// Not a byte of it left this side. Sending it again is safe.
    NotSent,
    /// The far side said that no handler was started. Sending it again is safe.
    NotExecuted,
    /// It was sent and no answer came; it may or may not have run.
    Unknown,
    /// A handler ran and answered.
    Executed,
}

impl Delivery {
    /// Whether the call can be sent again and will not have run twice.
    #[must_use]
    pub fn is_retry_safe(self) -> bool {
        matches!(self, Self::NotSent | Self::NotExecuted)
    }
}

/// What a caller sees when a call does not end well.
///
/// One pointer wide, so that `Result<_, Error>` costs nothing on the good path.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    delivery: Delivery,
    message: Cow<'static, str>,
    status: Option<Status>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An error that this side found.
    pub fn new(kind: ErrorKind, delivery: Delivery, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Inner { kind, delivery, message: message.into(), status: None, source: None }))
    }

    /// An error that the far side answered.
    #[must_use]
    pub fn from_status(status: Status, delivery: Delivery) -> Self {
        let kind = ErrorKind::from(status.code());
        Self(Box::new(Inner { kind, delivery, message: Cow::Borrowed(""), status: Some(status), source: None }))
    }

    /// The same with its cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// The same error, having got this far.
    #[must_use]
    pub fn with_delivery(mut self, delivery: Delivery) -> Self {
        self.0.delivery = delivery;
        self
    }

    /// What went wrong.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// How far the call got.
    #[must_use]
    pub fn delivery(&self) -> Delivery {
        self.0.delivery
    }

    /// What the far side answered, if the error is its answer.
    #[must_use]
    pub fn status(&self) -> Option<&Status> {
        self.0.status.as_ref()
    }

    /// The far side's code, or the code that tells this error to the next hop.
    #[must_use]
    pub fn code(&self) -> Code {
        self.0.status.as_ref().map_or_else(|| self.0.kind.code(), Status::code)
    }

    /// The text for people.
    #[must_use]
    pub fn message(&self) -> &str {
        self.0.status.as_ref().map_or(&self.0.message, |status| status.message())
    }

    /// When another try may work, if the far side said so.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.status.as_ref().and_then(Status::retry_after)
    }
}

/// A hop that passes an error on answers with what it was given, or with the nearest code.
impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let Inner { kind, message, status, .. } = *error.0;
        status.unwrap_or_else(|| Status::new(kind.code(), message))
    }
}

/// What a handler's own stream ends with.
impl From<Status> for Error {
    fn from(status: Status) -> Self {
        Self::from_status(status, Delivery::Executed)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.status {
            Some(status) => fmt::Display::fmt(status, f),
            None => f.write_str(&self.0.message),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Error");
        out.field("kind", &self.0.kind).field("delivery", &self.0.delivery);
        match &self.0.status {
            Some(status) => out.field("status", status),
            None => out.field("message", &self.0.message),
        };
        if let Some(source) = &self.0.source {
            out.field("source", source);
        }
        out.finish()
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_passes_through_a_hop_unchanged() {
        let status = Status::resource_exhausted("the queue of 8 is full")
            .with_details(&b"q"[..])
            .with_retry_after(Duration::from_millis(20));
        let seen = Error::from_status(status.clone(), Delivery::NotExecuted);
        assert_eq!((seen.kind(), seen.retry_after()), (ErrorKind::ResourceExhausted, status.retry_after()));
        assert_eq!(Status::from(seen), status);
    }

    #[test]
    fn an_unknown_code_degrades_and_stays_typed() {
        let seen = Error::from_status(Status::new(Code(999), "?"), Delivery::Executed);
        assert_eq!((seen.kind(), seen.code()), (ErrorKind::Unknown, Code(999)));
        assert_eq!(Status::from(seen).code(), Code(999));
    }

    #[test]
    fn an_error_is_one_pointer() {
        assert_eq!(size_of::<Result<(), Error>>(), size_of::<usize>());
    }
}
