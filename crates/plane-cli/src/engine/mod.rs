//! What answers a [`GenerateRequest`] inside of a worker ([`Engine`]).
//!
//! # Layout
//! - `recite`: says a known text at an engine's pace, with stop texts, limits and early ends.
//! - `echo`: says the prompt ([`Echo`]).
//! - `mock`: says random words the way an inference engine under load does ([`Mock`]).
//! - `openai`: forwards to an OpenAI-compatible server ([`OpenAi`]).

mod echo;
mod mock;
mod openai;
mod recite;

use std::future::Future;
use std::pin::Pin;

use futures_util::Stream;
use plane_core::{Context, Status};

use crate::generate::{GenerateChunk, GenerateRequest};

pub use echo::Echo;
pub use mock::{Mock, MockConfig};
pub use openai::{OpenAi, OpenAiConfig};

/// An answer piece by piece. The last piece has a finish reason; a stream that ends without one was cut short.
pub type Chunks = Pin<Box<dyn Stream<Item = Result<GenerateChunk, Status>> + Send>>;

/// Answers requests for text.
pub trait Engine: Send + Sync + 'static {
    /// Begins an answer. Dropping the future or the stream ends the work on it.
    ///
    /// # Errors
    /// What the caller is told: for example [`Code::RESOURCE_EXHAUSTED`](plane_core::Code::RESOURCE_EXHAUSTED) if the
    /// engine is full.
    fn generate(
        &self,
        request: GenerateRequest,
        context: Context,
    ) -> impl Future<Output = Result<Chunks, Status>> + Send;
}
