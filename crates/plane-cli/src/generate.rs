//! What frontend and worker say to each other: one request ([`GenerateRequest`]), answered by a stream of
//! [`GenerateChunk`].
//!
//! On the wire both are MessagePack maps with named fields, or JSON for `plane call`. Unknown fields are ignored, so
//! that an older worker can sit behind a newer frontend.

use serde::{Deserialize, Serialize};

/// Asks a worker for text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Fields")]
pub struct GenerateRequest {
    /// The model that is asked.
    pub model: String,
    /// What it is given: `messages` or `prompt`.
    #[serde(flatten)]
    pub input: Input,
    /// How it should answer.
    #[serde(flatten)]
    pub sampling: Sampling,
}

/// The fields of a request as they came. Reading an [`Input`] directly would say less about what is missing.
#[derive(Deserialize)]
struct Fields {
    model: String,
    messages: Option<Vec<Message>>,
    prompt: Option<String>,
    #[serde(flatten)]
    sampling: Sampling,
}

impl TryFrom<Fields> for GenerateRequest {
    type Error = &'static str;

    fn try_from(fields: Fields) -> Result<Self, Self::Error> {
        let Fields { model, messages, prompt, sampling } = fields;
        let input = match (messages, prompt) {
            (Some(messages), None) => Input::Messages(messages),
            (None, Some(prompt)) => Input::Prompt(prompt),
            _ => return Err("a request has either `messages` or `prompt`"),
        };
        Ok(Self { model, input, sampling })
    }
}

/// What a model is given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Input {
    /// A conversation to be continued.
    Messages(Vec<Message>),
    /// Text to be continued.
    Prompt(String),
}

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Who speaks: `system`, `user`, `assistant`, ...
    pub role: String,
    /// What was said.
    pub content: String,
}

/// How a model should answer. What is absent is left to the engine.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Sampling {
    /// The most tokens to answer with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u32>,
    /// 0 to 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f64>,
    /// -2 to 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frequency_penalty: Option<f64>,
    /// -2 to 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub presence_penalty: Option<f64>,
    /// The same seed, engine and request give the same answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<i64>,
    /// Texts that end the answer before them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stop: Vec<String>,
}

/// A piece of an answer. The last one has a [`FinishReason`] and the [`Usage`] of the whole call.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct GenerateChunk {
    /// Whole characters only.
    #[serde(default)]
    pub text: String,
    /// How many tokens the text is.
    #[serde(default)]
    pub tokens: u32,
    /// Why the answer ends with this chunk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finish_reason: Option<FinishReason>,
    /// Tokens of the whole call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
}

impl GenerateChunk {
    /// A piece in the middle of an answer.
    pub fn piece(text: impl Into<String>, tokens: u32) -> Self {
        Self { text: text.into(), tokens, ..Self::default() }
    }

    /// The last piece of an answer.
    #[must_use]
    pub fn last(finish_reason: FinishReason, usage: Usage) -> Self {
        Self { finish_reason: Some(finish_reason), usage: Some(usage), ..Self::default() }
    }
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    /// The model had said it all, a stop text was reached, or the caller asked for an early end.
    Stop,
    /// `max_tokens`, or a limit of the engine, was reached.
    Length,
    /// The engine held text back.
    ContentFilter,
}

/// Tokens of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens of the input.
    pub prompt_tokens: u32,
    /// Tokens of the answer.
    pub completion_tokens: u32,
}

impl Usage {
    /// Tokens of input and answer together.
    #[must_use]
    pub fn total_tokens(self) -> u32 {
        self.prompt_tokens.saturating_add(self.completion_tokens)
    }
}

impl Input {
    /// What the caller wants to talk about: the prompt, or the last message of a user.
    #[must_use]
    pub fn last_user_text(&self) -> &str {
        match self {
            Self::Prompt(text) => text,
            Self::Messages(messages) => {
                messages.iter().rfind(|message| message.role == "user").map_or("", |message| &message.content)
            }
        }
    }

    /// Every text of the input, in order.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        let (prompt, messages) = match self {
            Self::Prompt(text) => (Some(text.as_str()), &[][..]),
            Self::Messages(messages) => (None, messages.as_slice()),
        };
        prompt.into_iter().chain(messages.iter().map(|message| message.content.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_as_short_as_its_fields() {
        let text = r#"{"model":"m","prompt":"hi","max_tokens":3}"#;
        let request: GenerateRequest = serde_json::from_str(text).unwrap();
        assert_eq!(request.input, Input::Prompt("hi".to_owned()));
        assert_eq!(request.sampling, Sampling { max_tokens: Some(3), ..Sampling::default() });
        assert_eq!(serde_json::to_string(&request).unwrap(), text);
    }

    #[test]
    fn a_request_has_one_input() {
        for (fields, ok) in [
            (r#""prompt":"hi""#, true),
            (r#""messages":[]"#, true),
            (r#""prompt":"hi","messages":[]"#, false),
            (r#""max_tokens":3"#, false),
        ] {
            let read = serde_json::from_str::<GenerateRequest>(&format!(r#"{{"model":"m",{fields}}}"#));
            assert_eq!(read.is_ok(), ok, "{fields}: {read:?}");
        }
    }

    #[test]
    fn the_last_user_speaks() {
        let message = |role: &str, content: &str| Message { role: role.to_owned(), content: content.to_owned() };
        let input = Input::Messages(vec![message("user", "a"), message("user", "b"), message("assistant", "c")]);
        assert_eq!(input.last_user_text(), "b");
        assert_eq!(input.texts().collect::<String>(), "abc");
    }
}
