//! Says a known text at an engine's pace, with stop texts and early ends.

use std::time::Duration;

use async_stream::try_stream;
use futures_util::Stream;
use plane_core::{Context, Status};
use tokio::time::{Instant, sleep_until};

use crate::generate::{FinishReason, GenerateChunk, Usage};
use crate::stop_text::StopText;

/// A text, token by token, and how it is said.
pub(super) struct Script<T> {
    /// The text of each token; empty if the token ends inside of a character.
    pub(super) tokens: T,
    /// Why the answer ends after the last token.
    pub(super) finish_reason: FinishReason,
    pub(super) prompt_tokens: u32,
    pub(super) stop: StopText,
    /// Time from now to the first token.
    pub(super) first_after: Duration,
    /// Time from one token to the next.
    pub(super) every: Duration,
}

/// Says the script, or the beginning of it if the caller asks for an early end.
pub(super) fn recite<T>(script: Script<T>, context: Context) -> impl Stream<Item = Result<GenerateChunk, Status>> + Send
where
    T: Iterator<Item = Result<String, Status>> + Send,
{
    try_stream! {
        let Script { tokens, mut finish_reason, prompt_tokens, mut stop, first_after, every } = script;
        let mut usage = Usage { prompt_tokens, completion_tokens: 0 };
        let mut unsent = 0;
        let mut rest = None;
        // Counted from the start, so that neither a slow reader nor a late timer slows the pace for good.
        let mut due = Instant::now() + first_after;
        for token in tokens {
            if !wait_until(due, &context).await {
                finish_reason = FinishReason::Stop;
                break;
            }
            due += every;
            usage.completion_tokens += 1;
            unsent += 1;
            let shown = stop.push(&token?);
            if shown.stopped {
                finish_reason = FinishReason::Stop;
                rest = Some(shown.text);
                break;
            }
            if !shown.text.is_empty() {
                yield GenerateChunk::piece(shown.text, std::mem::take(&mut unsent));
            }
        }
        let text = rest.unwrap_or_else(|| stop.finish());
        yield GenerateChunk { text, tokens: unsent, ..GenerateChunk::last(finish_reason, usage) };
    }
}

/// Whether the time came before the caller asked for an end.
async fn wait_until(due: Instant, context: &Context) -> bool {
    if due <= Instant::now() {
        return !context.is_stopped();
    }
    tokio::select! {
        () = context.stopped() => false,
        () = sleep_until(due) => true,
    }
}
