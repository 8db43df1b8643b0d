//! Streams the prompt back, token by token.

use std::time::Duration;

use plane_core::{Context, Status};

use super::recite::{Script, recite};
use super::{Chunks, Engine};
use crate::generate::{FinishReason, GenerateRequest};
use crate::stop_text::StopText;
use crate::tokenizer::Tokenizer;

/// Says what the user said last.
#[derive(Debug)]
pub struct Echo {
    tokenizer: Tokenizer,
    token_delay: Duration,
}

impl Echo {
    /// An engine that waits `token_delay` before each token.
    #[must_use]
    pub fn new(tokenizer: Tokenizer, token_delay: Duration) -> Self {
        Self { tokenizer, token_delay }
    }
}

impl Engine for Echo {
    async fn generate(&self, request: GenerateRequest, context: Context) -> Result<Chunks, Status> {
        let mut tokens = self.tokenizer.encode(request.input.last_user_text());
        let limit = request.sampling.max_tokens.map_or(usize::MAX, |max| usize::try_from(max).unwrap_or(usize::MAX));
        let finish_reason = if tokens.len() > limit { FinishReason::Length } else { FinishReason::Stop };
        tokens.truncate(limit);
        let mut text = self.tokenizer.text();
        let script = Script {
            tokens: tokens.into_iter().map(move |token| text.push(token)),
            finish_reason,
            prompt_tokens: request.input.texts().map(|text| self.tokenizer.count(text)).sum(),
            stop: StopText::new(&request.sampling.stop),
            first_after: self.token_delay,
            every: self.token_delay,
        };
        Ok(Box::pin(recite(script, context)))
    }
}
