//! An engine that says what a test tells it to, when it tells it to.

use std::sync::Mutex;

use futures_util::stream::{self, StreamExt};
use plane_cli::engine::{Chunks, Engine};
use plane_cli::generate::{FinishReason, GenerateChunk, GenerateRequest, Usage};
use plane_core::{Context, Status};
use tokio::sync::mpsc;

/// The test's end of one answer. Dropping it ends the stream in order; `closed()` waits until the call is dropped.
pub(crate) type Script = mpsc::Sender<Result<GenerateChunk, Status>>;

/// Answers one request with what is sent to its [`Script`].
pub(crate) struct Scripted {
    chunks: Mutex<Option<mpsc::Receiver<Result<GenerateChunk, Status>>>>,
    asked: mpsc::Sender<GenerateRequest>,
}

/// An engine for one request, its script, and the requests that it is given.
pub(crate) fn scripted() -> (Script, Scripted, mpsc::Receiver<GenerateRequest>) {
    let (script, chunks) = mpsc::channel(1);
    let (asked, requests) = mpsc::channel(1);
    (script, Scripted { chunks: Mutex::new(Some(chunks)), asked }, requests)
}

impl Engine for Scripted {
    async fn generate(&self, request: GenerateRequest, _: Context) -> Result<Chunks, Status> {
        let chunks = self.chunks.lock().unwrap().take().ok_or_else(|| Status::unavailable("asked twice"))?;
        self.asked.send(request).await.map_err(|_| Status::internal("the test is over"))?;
        Ok(stream::unfold(chunks, async |mut chunks| chunks.recv().await.map(|chunk| (chunk, chunks))).boxed())
    }
}

pub(crate) fn piece(text: &str) -> Result<GenerateChunk, Status> {
    Ok(GenerateChunk::piece(text, 1))
}

pub(crate) fn last(prompt_tokens: u32, completion_tokens: u32) -> Result<GenerateChunk, Status> {
    Ok(GenerateChunk::last(FinishReason::Stop, Usage { prompt_tokens, completion_tokens }))
}
