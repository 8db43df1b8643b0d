//! A worker's answer, checked for its end.

use std::fmt;

use plane_core::typed::TypedResponse;

use crate::generate::{FinishReason, GenerateChunk, Usage};
use crate::openai::ApiError;

/// A worker's answer whose first chunk has come, so that a refusal can still have an HTTP status of its own.
///
/// Dropping it aborts the call on the worker.
pub(super) struct Reply {
    first: Option<GenerateChunk>,
    rest: TypedResponse<GenerateChunk>,
}

/// A worker's answer as a whole.
#[derive(Debug)]
pub(super) struct Whole {
    pub(super) text: String,
    pub(super) finish_reason: FinishReason,
    pub(super) usage: Option<Usage>,
}

impl Reply {
    /// Waits for the first chunk.
    pub(super) async fn begin(mut rest: TypedResponse<GenerateChunk>) -> Result<Self, ApiError> {
        let first = read(&mut rest).await?;
        Ok(Self { first: Some(first), rest })
    }

    /// The next chunk. The last one has a finish reason; nothing is read after it but the end of the call.
    pub(super) async fn next(&mut self) -> Result<GenerateChunk, ApiError> {
        let chunk = match self.first.take() {
            Some(first) => first,
            None => read(&mut self.rest).await?,
        };
        if chunk.finish_reason.is_some() {
            // Without this the call would be aborted in its last moment, and the worker would count it as such.
            if let Some(after) = self.rest.next().await {
                after?;
                return Err(ApiError::unfinished());
            }
        }
        Ok(chunk)
    }

    /// All chunks in one.
    pub(super) async fn whole(mut self) -> Result<Whole, ApiError> {
        let mut text = String::new();
        loop {
            let chunk = self.next().await?;
            text.push_str(&chunk.text);
            if let Some(finish_reason) = chunk.finish_reason {
                return Ok(Whole { text, finish_reason, usage: chunk.usage });
            }
        }
    }
}

async fn read(rest: &mut TypedResponse<GenerateChunk>) -> Result<GenerateChunk, ApiError> {
    match rest.next().await {
        Some(chunk) => Ok(chunk?),
        None => Err(ApiError::unfinished()),
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply").field("first", &self.first).finish_non_exhaustive()
    }
}
