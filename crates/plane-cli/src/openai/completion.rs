//! What `/v1/completions` is asked.

use serde::Deserialize;
use serde_json::Value;

use super::bounds::{Common, refuse_set};
use super::error::ApiError;
use super::question::Question;
use crate::generate::{GenerateRequest, Input};

#[derive(Debug, Deserialize)]
pub(super) struct CompletionRequest {
    /// One text, or a list of just one.
    prompt: Value,
    best_of: Option<u32>,
    echo: Option<Value>,
    suffix: Option<Value>,
    logprobs: Option<Value>,
}

impl CompletionRequest {
    /// What the request amounts to, with the parameters that it shares with the other route.
    pub(super) fn question(self, common: Common) -> Result<Question, ApiError> {
        let asked = self;
        for (param, value) in [("echo", &asked.echo), ("suffix", &asked.suffix), ("logprobs", &asked.logprobs)] {
            refuse_set(param, value.as_ref())?;
        }
        if asked.best_of.is_some_and(|best_of| best_of != 1) {
            return Err(ApiError::unsupported(
                "best_of",
                "only one choice for each request is supported: best_of must be 1",
            ));
        }
        Ok(Question {
            stream: common.stream.unwrap_or(false),
            include_usage: common.include_usage(),
            request: GenerateRequest {
                model: common.model.clone(),
                input: Input::Prompt(one_text(asked.prompt)?),
                sampling: common.sampling()?,
            },
        })
    }
}

fn one_text(prompt: Value) -> Result<String, ApiError> {
    match prompt {
        Value::String(text) => Ok(text),
        Value::Array(texts) => match <[Value; 1]>::try_from(texts) {
            Ok([Value::String(text)]) => Ok(text),
            // The frontend does not know the vocabulary of token ids.
            _ => Err(ApiError::unsupported("prompt", "prompt must be exactly one text; token ids are not supported")),
        },
        _ => Err(ApiError::invalid("prompt", "prompt must be text")),
    }
}
