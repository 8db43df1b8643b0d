//! The engines that need no other server.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt};
use plane_cli::Tokenizer;
use plane_cli::engine::{Chunks, Echo, Engine, Mock, MockConfig};
use plane_cli::generate::{FinishReason, GenerateChunk, GenerateRequest, Input, Sampling, Usage};
use plane_core::{CallInfo, Canceller, Code, Context, InstanceId, Status};
use tokio::time::Instant;

fn context() -> (Context, Canceller) {
    Context::new(CallInfo {
        endpoint: "a.b.c".parse().unwrap(),
        instance: InstanceId::new(1).unwrap(),
        peer: Arc::default(),
        deadline: None,
    })
}

fn request(prompt: &str, sampling: Sampling) -> GenerateRequest {
    GenerateRequest { model: "m".to_owned(), input: Input::Prompt(prompt.to_owned()), sampling }
}

/// The whole text and the last chunk.
async fn read(chunks: Result<Chunks, Status>) -> (String, GenerateChunk) {
    let chunks: Vec<_> = chunks.unwrap().try_collect().await.unwrap();
    let last = chunks.last().unwrap().clone();
    assert_eq!(chunks.iter().filter(|chunk| chunk.finish_reason.is_some()).count(), 1);
    assert_eq!(chunks.iter().map(|chunk| chunk.tokens).sum::<u32>(), last.usage.unwrap().completion_tokens);
    (chunks.into_iter().map(|chunk| chunk.text).collect(), last)
}

async fn echo(tokenizer: &Tokenizer, prompt: &str, sampling: Sampling) -> (String, GenerateChunk) {
    let engine = Echo::new(tokenizer.clone(), Duration::ZERO);
    read(engine.generate(request(prompt, sampling), context().0).await).await
}

#[tokio::test]
async fn echo_says_the_prompt_in_whole_characters() {
    let prompt = "Grüße 🧑‍🚀 漢字 \u{10348}";
    let tokenizer = Tokenizer::new().unwrap();
    let tokens = tokenizer.count(prompt);
    let (text, last) = echo(&tokenizer, prompt, Sampling::default()).await;
    assert_eq!((text.as_str(), last.finish_reason), (prompt, Some(FinishReason::Stop)));
    assert_eq!(last.usage, Some(Usage { prompt_tokens: tokens, completion_tokens: tokens }));
}

/// Cut at every token, also inside of characters: never broken text, and every token counted.
#[tokio::test]
async fn max_tokens_cuts_between_characters() {
    let prompt = "a \u{10348}\u{10349} z";
    let tokenizer = Tokenizer::new().unwrap();
    let tokens = tokenizer.count(prompt);
    for max_tokens in 1..=tokens {
        let sampling = Sampling { max_tokens: Some(max_tokens), ..Sampling::default() };
        let (text, last) = echo(&tokenizer, prompt, sampling).await;
        assert!(prompt.starts_with(&text), "{text:?}");
        assert_eq!(last.usage.unwrap().completion_tokens, max_tokens);
        let reason = if max_tokens < tokens { FinishReason::Length } else { FinishReason::Stop };
        assert_eq!(last.finish_reason, Some(reason));
    }
}

#[tokio::test]
async fn a_stop_text_ends_the_answer_before_it() {
    let stop = vec!["stop here".to_owned()];
    let tokenizer = Tokenizer::new().unwrap();
    let (text, last) = echo(&tokenizer, "one two stop here three", Sampling { stop, ..Sampling::default() }).await;
    assert_eq!((text.as_str(), last.finish_reason), ("one two ", Some(FinishReason::Stop)));
}

#[tokio::test(start_paused = true)]
async fn a_stopped_call_ends_early_and_in_order() {
    let engine = Echo::new(Tokenizer::new().unwrap(), Duration::from_secs(3600));
    let (context, canceller) = context();
    let mut chunks = engine.generate(request("one two three", Sampling::default()), context).await.unwrap();
    assert_eq!(chunks.next().await.unwrap().unwrap().text, "one");
    canceller.stop();
    let last = chunks.next().await.unwrap().unwrap();
    assert_eq!((last.text.as_str(), last.finish_reason), ("", Some(FinishReason::Stop)));
    assert!(chunks.next().await.is_none());
}

const MOCK: MockConfig = MockConfig {
    prefill_per_token: Duration::from_millis(3),
    inter_token: Duration::from_millis(10),
    batch: 1,
    queue: 1,
    output_tokens: 5,
    seed: 7,
};

#[tokio::test(start_paused = true)]
async fn mock_words_depend_on_seed_and_prompt_alone() {
    let say = async |prompt: &str, seed: Option<i64>| {
        let sampling = Sampling { seed, ..Sampling::default() };
        read(Mock::new(MOCK).generate(request(prompt, sampling), context().0).await).await.0
    };
    let said = say("a b", None).await;
    assert_eq!(said.split_whitespace().count(), 5);
    assert_eq!(say("a b", None).await, said);
    assert_eq!(say("a b", Some(7)).await, said);
    assert_ne!(say("a b", Some(8)).await, said);
    assert_ne!(say("a c", None).await, said);
}

#[tokio::test(start_paused = true)]
async fn mock_keeps_the_pace_of_an_engine() {
    let began = Instant::now();
    let mut chunks = Mock::new(MOCK).generate(request("a b c d", Sampling::default()), context().0).await.unwrap();
    let mut at = Vec::new();
    while let Some(chunk) = chunks.next().await {
        if !chunk.unwrap().text.is_empty() {
            at.push(began.elapsed().as_millis());
        }
    }
    assert_eq!(at, [12, 22, 32, 42, 52]);
}

#[tokio::test(start_paused = true)]
async fn mock_ends_at_max_tokens() {
    let sampling = Sampling { max_tokens: Some(2), ..Sampling::default() };
    let (text, last) = read(Mock::new(MOCK).generate(request("a b c", sampling), context().0).await).await;
    assert_eq!((text.split_whitespace().count(), last.finish_reason), (2, Some(FinishReason::Length)));
    assert_eq!(last.usage, Some(Usage { prompt_tokens: 3, completion_tokens: 2 }));
}

/// One in the batch, one in the queue: the third is refused at once, the second waits for the first.
#[tokio::test(start_paused = true)]
async fn mock_bounds_its_batch_and_its_queue() {
    let engine = Mock::new(MOCK);
    let ask = async || engine.generate(request("a", Sampling::default()), context().0).await;
    let (mut first, mut second) = (ask().await.unwrap(), ask().await.unwrap());
    first.next().await.unwrap().unwrap();
    let refused = ask().await.err().unwrap();
    assert_eq!(refused.code(), Code::RESOURCE_EXHAUSTED);
    assert!(refused.retry_after().is_some());

    assert!(futures_util::poll!(second.next()).is_pending());
    drop(first);
    assert_eq!(second.try_collect::<Vec<_>>().await.unwrap().len(), 6);
    assert!(ask().await.is_ok());
}
