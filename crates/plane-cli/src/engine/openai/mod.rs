//! Forwards to any OpenAI-compatible server, so that an existing inference server can sit behind the plane.
//!
//! # Layout
//! - `config`: where the server is and how to reach it ([`OpenAiConfig`]).
//! - `events`: server-sent events out of the bytes of an answer.
//! - `exchange`: what is asked and what is answered, as JSON.
//! - `refusal`: what the server refuses, as a [`Status`].

mod config;
mod events;
mod exchange;
mod refusal;

use async_stream::try_stream;
use futures_util::{Stream, StreamExt};
use plane_core::{Context, Status};
use reqwest::{Client, Url};

use super::{Chunks, Engine};
use crate::generate::{GenerateChunk, GenerateRequest};

pub use config::OpenAiConfig;
use events::Events;
use exchange::{Answer, Question};

/// Forwards to an OpenAI-compatible server.
#[derive(Debug)]
pub struct OpenAi {
    client: Client,
    chat: Url,
    completions: Url,
    model: Option<String>,
    api_key: Option<String>,
}

impl OpenAi {
    /// An engine in front of the server of `config`. Nothing is connected before the first request.
    ///
    /// # Errors
    /// A text that says what is wrong with the configuration, or that the system's certificates cannot be read.
    pub fn new(config: OpenAiConfig) -> Result<Self, String> {
        let client = config.client()?;
        let OpenAiConfig { upstream, model, api_key } = config;
        let endpoint = |path: &str| upstream.join(path).map_err(|error| format!("{upstream}: {error}"));
        Ok(Self { client, chat: endpoint("chat/completions")?, completions: endpoint("completions")?, model, api_key })
    }

    async fn ask(&self, request: &GenerateRequest) -> Result<reqwest::Response, Status> {
        let question = Question::new(request, self.model.as_deref());
        let url = if question.is_chat() { &self.chat } else { &self.completions };
        let mut asked = self.client.post(url.clone()).json(&question);
        if let Some(key) = &self.api_key {
            asked = asked.bearer_auth(key);
        }
        let response = asked.send().await.map_err(|error| refusal::unreachable(&error))?;
        if response.status().is_success() { Ok(response) } else { Err(refusal::refused(response).await) }
    }
}

impl Engine for OpenAi {
    async fn generate(&self, request: GenerateRequest, context: Context) -> Result<Chunks, Status> {
        let response = self.ask(&request).await?;
        Ok(Box::pin(pass_on(response, context)))
    }
}

/// The server's answer, piece by piece. It ends in order only after the server's own end marker.
fn pass_on(response: reqwest::Response, context: Context) -> impl Stream<Item = Result<GenerateChunk, Status>> + Send {
    try_stream! {
        let mut bytes = response.bytes_stream();
        let mut events = Events::default();
        let mut answer = Answer::default();
        while !answer.is_done() {
            let read = tokio::select! {
                read = bytes.next() => read,
                () = context.stopped() => break,
            };
            let read = read.ok_or_else(refusal::cut_short)?.map_err(|error| refusal::broken_off(&error))?;
            events.extend(&read)?;
            while let Some(data) = events.next() {
                if let Some(chunk) = answer.read(&data)? {
                    yield chunk;
                }
            }
        }
        yield answer.last();
    }
}
