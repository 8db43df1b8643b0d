//! What both routes answer, whole or in chunks.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::question::Route;
use crate::generate::{FinishReason, Usage};

/// Everything that all parts of one answer have in common.
#[derive(Debug)]
pub(crate) struct Answer {
    route: Route,
    id: String,
    created: u64,
    model: String,
    include_usage: bool,
}

/// A whole answer, or a chunk of one.
#[derive(Debug, Serialize)]
pub(crate) struct Part<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    choices: Vec<Choice<'a>>,
    /// Absent, `null` (chunks before the last, when usage was asked for), or there.
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Option<Tokens>>,
}

#[derive(Debug, Serialize)]
struct Choice<'a> {
    index: u32,
    #[serde(flatten)]
    content: Content<'a>,
    logprobs: Option<()>,
    finish_reason: Option<FinishReason>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "lowercase")]
enum Content<'a> {
    Delta(Spoken<'a>),
    Message(Spoken<'a>),
    Text(&'a str),
}

#[derive(Debug, Default, Serialize)]
struct Spoken<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<&'a str>,
}

#[derive(Debug, Serialize)]
struct Tokens {
    #[serde(flatten)]
    usage: Usage,
    total_tokens: u32,
}

impl From<Usage> for Tokens {
    fn from(usage: Usage) -> Self {
        Self { usage, total_tokens: usage.total_tokens() }
    }
}

impl Answer {
    pub(crate) fn new(route: Route, model: String, include_usage: bool) -> Self {
        let created = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let prefix = match route {
            Route::Chat => "chatcmpl",
            Route::Completion => "cmpl",
        };
        let id = format!("{prefix}-{:032x}", fastrand::u128(..));
        Self { route, id, created, model, include_usage }
    }

    /// The chunk before the first text: it says who speaks. A completion has none.
    pub(crate) fn opening(&self) -> Option<Part<'_>> {
        let spoken = Spoken { role: Some("assistant"), content: Some("") };
        (self.route == Route::Chat).then(|| self.chunk(Content::Delta(spoken), None))
    }

    /// A chunk of text.
    pub(crate) fn text<'a>(&'a self, text: &'a str) -> Part<'a> {
        self.chunk(
            match self.route {
                Route::Chat => Content::Delta(Spoken { role: None, content: Some(text) }),
                Route::Completion => Content::Text(text),
            },
            None,
        )
    }

    /// The chunk that says why the text ended.
    pub(crate) fn finish(&self, reason: FinishReason) -> Part<'_> {
        self.chunk(
            match self.route {
                Route::Chat => Content::Delta(Spoken::default()),
                Route::Completion => Content::Text(""),
            },
            Some(reason),
        )
    }

    /// The chunk after the last one, if it was asked for and the worker counted.
    pub(crate) fn usage(&self, usage: Option<Usage>) -> Option<Part<'_>> {
        let usage = usage.filter(|_| self.include_usage)?;
        Some(self.part(self.chunk_object(), Vec::new(), Some(Some(usage.into()))))
    }

    /// The whole answer at once.
    pub(crate) fn whole<'a>(&'a self, text: &'a str, reason: FinishReason, usage: Option<Usage>) -> Part<'a> {
        let (object, content) = match self.route {
            Route::Chat => {
                ("chat.completion", Content::Message(Spoken { role: Some("assistant"), content: Some(text) }))
            }
            Route::Completion => ("text_completion", Content::Text(text)),
        };
        let choice = Choice { index: 0, content, logprobs: None, finish_reason: Some(reason) };
        self.part(object, vec![choice], usage.map(|usage| Some(usage.into())))
    }

    fn chunk<'a>(&'a self, content: Content<'a>, finish_reason: Option<FinishReason>) -> Part<'a> {
        let choice = Choice { index: 0, content, logprobs: None, finish_reason };
        self.part(self.chunk_object(), vec![choice], self.include_usage.then_some(None))
    }

    fn chunk_object(&self) -> &'static str {
        match self.route {
            Route::Chat => "chat.completion.chunk",
            Route::Completion => "text_completion",
        }
    }

    fn part<'a>(&'a self, object: &'static str, choices: Vec<Choice<'a>>, usage: Option<Option<Tokens>>) -> Part<'a> {
        Part { id: &self.id, object, created: self.created, model: &self.model, choices, usage }
    }
}
