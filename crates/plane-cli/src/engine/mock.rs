//! Behaves like an inference engine under load, without a model.

use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::Duration;

use async_stream::try_stream;
use futures_util::StreamExt;
use plane_core::{Context, Status};
use rustc_hash::FxBuildHasher;
use tokio::sync::Semaphore;

use super::recite::{Script, recite};
use super::{Chunks, Engine};
use crate::generate::{FinishReason, GenerateRequest, Input};
use crate::stop_text::StopText;

/// How the engine behaves. One word of the prompt counts as one token, and so does one word of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MockConfig {
    /// Time to read one token of the prompt.
    pub prefill_per_token: Duration,
    /// Time from one token of the answer to the next.
    pub inter_token: Duration,
    /// Requests that are answered at once; at least one.
    pub batch: usize,
    /// Requests that wait beyond those; one more is refused.
    pub queue: usize,
    /// Tokens that the model would answer with if no `max_tokens` ended it earlier.
    pub output_tokens: u32,
    /// Chooses the words when a request has no seed of its own.
    pub seed: u64,
}

/// Answers with words that depend only on seed and input, at a steady pace, to a bounded number of requests at once.
#[derive(Debug)]
pub struct Mock {
    config: MockConfig,
    /// One for each request that may be here, answered or waiting.
    places: Arc<Semaphore>,
    /// One for each request that may be answered; given in order of arrival.
    slots: Arc<Semaphore>,
}

/// What a refused caller is told to wait.
const RETRY_AFTER: Duration = Duration::from_secs(1);

const WORDS: [&str; 32] = [
    "amber", "basin", "cedar", "delta", "ember", "fjord", "grove", "harbor", "inlet", "juniper", "kelp", "lagoon",
    "meadow", "north", "ocean", "prairie", "quartz", "river", "summit", "tundra", "upland", "valley", "willow",
    "xenon", "yarrow", "zephyr", "and", "by", "near", "of", "over", "under",
];

impl Mock {
    /// An idle engine.
    #[must_use]
    pub fn new(config: MockConfig) -> Self {
        let batch = config.batch.clamp(1, Semaphore::MAX_PERMITS);
        let places = batch.saturating_add(config.queue).min(Semaphore::MAX_PERMITS);
        Self { config, places: Arc::new(Semaphore::new(places)), slots: Arc::new(Semaphore::new(batch)) }
    }

    fn script(&self, request: &GenerateRequest) -> Script<impl Iterator<Item = Result<String, Status>> + use<>> {
        let MockConfig { output_tokens, seed, .. } = self.config;
        let limit = request.sampling.max_tokens.unwrap_or(u32::MAX);
        let prompt_tokens = count_words(&request.input);
        Script {
            tokens: words(request.sampling.seed.map_or(seed, i64::cast_unsigned), &request.input)
                .take(usize::try_from(output_tokens.min(limit)).unwrap_or(usize::MAX)),
            finish_reason: if limit < output_tokens { FinishReason::Length } else { FinishReason::Stop },
            prompt_tokens,
            stop: StopText::new(&request.sampling.stop),
            first_after: self.config.prefill_per_token.saturating_mul(prompt_tokens),
            every: self.config.inter_token,
        }
    }

    fn full(&self) -> Status {
        let MockConfig { batch, queue, .. } = self.config;
        let what = format!("the engine is full: {batch} requests in the batch (--batch) and {queue} waiting (--queue)");
        Status::resource_exhausted(what).with_retry_after(RETRY_AFTER)
    }
}

impl Engine for Mock {
    async fn generate(&self, request: GenerateRequest, context: Context) -> Result<Chunks, Status> {
        let place = self.places.clone().try_acquire_owned().map_err(|_| self.full())?;
        let slots = self.slots.clone();
        let script = self.script(&request);
        Ok(Box::pin(try_stream! {
            let _place = place;
            let closed = |_| Status::unavailable("the engine is shutting down");
            let _slot = slots.acquire_owned().await.map_err(closed)?;
            let mut chunks = std::pin::pin!(recite(script, context));
            while let Some(chunk) = chunks.next().await {
                yield chunk?;
            }
        }))
    }
}

fn count_words(input: &Input) -> u32 {
    u32::try_from(input.texts().flat_map(str::split_whitespace).count()).unwrap_or(u32::MAX)
}

/// An endless line of words.
fn words(seed: u64, input: &Input) -> impl Iterator<Item = Result<String, Status>> + use<> {
    let mut random = fastrand::Rng::with_seed(FxBuildHasher.hash_one((seed, input.texts().collect::<Vec<_>>())));
    let mut first = true;
    std::iter::repeat_with(move || {
        let space = if std::mem::take(&mut first) { "" } else { " " };
        Ok(format!("{space}{}", WORDS[random.usize(..WORDS.len())]))
    })
}
