//! What `/v1/chat/completions` is asked.

use serde::Deserialize;
use serde_json::Value;

use super::bounds::{Common, refuse_set};
use super::error::ApiError;
use super::question::Question;
use crate::generate::{GenerateRequest, Input, Message};

#[derive(Debug, Deserialize)]
pub(super) struct ChatRequest {
    messages: Vec<ChatMessage>,
    /// The newer name of `max_tokens`.
    max_completion_tokens: Option<u32>,
    tools: Option<Value>,
    functions: Option<Value>,
    logprobs: Option<Value>,
    audio: Option<Value>,
    response_format: Option<ResponseFormat>,
}

#[derive(Debug, Deserialize)]
struct ResponseFormat {
    r#type: String,
}

#[derive(Debug, Deserialize)]
struct ChatMessage {
    role: String,
    content: Option<Content>,
    tool_calls: Option<Value>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "expected a text or a list of parts")]
enum Content {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Debug, Deserialize)]
struct Part {
    r#type: String,
    #[serde(default)]
    text: String,
}

impl ChatRequest {
    /// What the request amounts to, with the parameters that it shares with the other route.
    pub(super) fn question(self, mut common: Common) -> Result<Question, ApiError> {
        let asked = self;
        for (param, value) in [
            ("tools", &asked.tools),
            ("functions", &asked.functions),
            ("logprobs", &asked.logprobs),
            ("audio", &asked.audio),
        ] {
            refuse_set(param, value.as_ref())?;
        }
        if asked.response_format.is_some_and(|format| format.r#type != "text") {
            return Err(ApiError::unsupported("response_format", "only a response_format of type text is supported"));
        }
        if asked.messages.is_empty() {
            return Err(ApiError::invalid("messages", "messages must have at least one message"));
        }
        let messages = asked.messages.into_iter().enumerate().map(|(at, message)| message.flatten(at));
        let messages = messages.collect::<Result<_, _>>()?;
        common.max_tokens = asked.max_completion_tokens.or(common.max_tokens);
        Ok(Question {
            stream: common.stream.unwrap_or(false),
            include_usage: common.include_usage(),
            request: GenerateRequest {
                model: common.model.clone(),
                input: Input::Messages(messages),
                sampling: common.sampling()?,
            },
        })
    }
}

impl ChatMessage {
    /// The message as plain text.
    fn flatten(self, at: usize) -> Result<Message, ApiError> {
        refuse_set(&format!("messages[{at}].tool_calls"), self.tool_calls.as_ref())?;
        let content = match self.content {
            None => String::new(),
            Some(Content::Text(text)) => text,
            Some(Content::Parts(parts)) => match parts.iter().find(|part| part.r#type != "text") {
                None => parts.into_iter().map(|part| part.text).collect(),
                Some(part) => {
                    let what = format!("only parts of type text are supported, not {:?}", part.r#type);
                    return Err(ApiError::unsupported(&format!("messages[{at}].content"), what));
                }
            },
        };
        Ok(Message { role: self.role, content })
    }
}
