//! What the server is asked ([`Question`]) and what it answers ([`Answer`]).

use plane_core::{Code, Status};
use serde::{Deserialize, Serialize};

use super::refusal::{self, Refusal};
use crate::generate::{FinishReason, GenerateChunk, GenerateRequest, Input, Sampling, Usage};

/// The body of a request for a streamed answer.
#[derive(Debug, Serialize)]
pub(super) struct Question<'a> {
    model: &'a str,
    #[serde(flatten)]
    input: &'a Input,
    #[serde(flatten)]
    sampling: &'a Sampling,
    stream: bool,
    stream_options: StreamOptions,
}

#[derive(Debug, Serialize)]
struct StreamOptions {
    include_usage: bool,
}

impl<'a> Question<'a> {
    pub(super) fn new(request: &'a GenerateRequest, model: Option<&'a str>) -> Self {
        Self {
            model: model.unwrap_or(&request.model),
            input: &request.input,
            sampling: &request.sampling,
            stream: true,
            stream_options: StreamOptions { include_usage: true },
        }
    }

    pub(super) fn is_chat(&self) -> bool {
        matches!(self.input, Input::Messages(_))
    }
}

/// What came of the answer so far, beside its text.
#[derive(Debug, Default)]
pub(super) struct Answer {
    finish_reason: Option<FinishReason>,
    usage: Option<Usage>,
    done: bool,
}

#[derive(Deserialize)]
struct Chunk {
    #[serde(default)]
    choices: Vec<Choice>,
    usage: Option<Usage>,
    error: Option<Refusal>,
}

#[derive(Deserialize)]
struct Choice {
    /// Of a chat completion.
    delta: Option<Delta>,
    /// Of a completion.
    text: Option<String>,
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Delta {
    content: Option<String>,
}

impl Answer {
    /// Whether the end marker came.
    pub(super) fn is_done(&self) -> bool {
        self.done
    }

    /// Takes the data of one event.
    ///
    /// # Errors
    /// The server's own error, or data that is no chunk.
    pub(super) fn read(&mut self, data: &str) -> Result<Option<GenerateChunk>, Status> {
        if data == "[DONE]" {
            self.done = true;
        }
        if self.done {
            return Ok(None);
        }
        let chunk: Chunk = serde_json::from_str(data).map_err(|error| refusal::unreadable(&error))?;
        if let Some(refusal) = chunk.error {
            return Err(Status::unavailable(format!("the upstream failed: {}", refusal.message)));
        }
        self.usage = chunk.usage.or(self.usage);
        let Some(choice) = chunk.choices.into_iter().next() else { return Ok(None) };
        if let Some(reason) = choice.finish_reason {
            self.finish_reason = Some(finish_reason(&reason)?);
        }
        let text = choice.text.or(choice.delta.and_then(|delta| delta.content)).unwrap_or_default();
        Ok(Some(text).filter(|text| !text.is_empty()).map(|text| GenerateChunk::piece(text, 1)))
    }

    /// The end of the answer. Without a count from the server there is none: a guess would be billed.
    pub(super) fn last(self) -> GenerateChunk {
        let finish_reason = Some(self.finish_reason.unwrap_or(FinishReason::Stop));
        GenerateChunk { finish_reason, usage: self.usage, ..GenerateChunk::default() }
    }
}

fn finish_reason(text: &str) -> Result<FinishReason, Status> {
    match text {
        "length" => Ok(FinishReason::Length),
        "content_filter" => Ok(FinishReason::ContentFilter),
        "abort" | "error" => Err(Status::new(Code::UNAVAILABLE, "the upstream gave the answer up")),
        _ => Ok(FinishReason::Stop),
    }
}
