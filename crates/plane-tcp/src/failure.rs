//! Why a connection ended, or never came to be ([`Failure`]).

use std::fmt;

use plane_core::frame::FrameError;
use plane_core::{Code, ErrorKind, Refusal};

/// Why a connection ended.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    pub(crate) kind: ErrorKind,
    pub(crate) text: String,
    /// What the other side is told, if it should be.
    pub(crate) tell: Option<Code>,
    /// Why it is the other side's doing, if it is.
    pub(crate) refusal: Option<Refusal>,
}

impl Failure {
    pub(crate) fn new(kind: ErrorKind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into(), tell: None, refusal: None }
    }

    /// The same, as the other side's doing.
    pub(crate) fn because(self, refusal: Refusal) -> Self {
        Self { refusal: Some(refusal), ..self }
    }

    /// The other side did something cheap too often.
    pub(crate) fn calm(refusal: Refusal, what: &str, budget: &dyn fmt::Display) -> Self {
        let text = format!("too many {what}: the budget is {budget}");
        Self::violation(Code::ENHANCE_YOUR_CALM, text).because(refusal)
    }

    /// The other side broke a rule and is told so.
    pub(crate) fn violation(code: Code, text: impl Into<String>) -> Self {
        let refusal = if code == Code::FLOW_CONTROL { Refusal::FlowControl } else { Refusal::Protocol };
        Self { kind: ErrorKind::Protocol, text: text.into(), tell: Some(code), refusal: Some(refusal) }
    }
}

impl From<FrameError> for Failure {
    fn from(error: FrameError) -> Self {
        Self::violation(error.code(), error.to_string())
    }
}
