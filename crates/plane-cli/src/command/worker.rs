//! `plane worker`

use std::time::{Duration, Instant};

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, ValueEnum};
use plane_core::{EndpointId, Instance};
use plane_manager::{NetworkManager, Service};

use crate::engine::{Echo, Mock, MockConfig, OpenAi, OpenAiConfig};
use crate::exit::{Exit, Failure};
use crate::signals::Signals;
use crate::stderr::say;
use crate::tokenizer::Tokenizer;
use crate::units;
use crate::worker::serve_model;

/// Serves one model at an endpoint.
#[derive(Debug, Args)]
pub(super) struct WorkerArgs {
    /// Name of the model, as clients ask for it.
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    model: String,
    /// What answers.
    #[arg(long, value_enum)]
    engine: EngineKind,
    /// Endpoint to serve.
    #[arg(long, default_value = super::DEFAULT_ENDPOINT)]
    endpoint: EndpointId,
    /// Time that calls in flight may take to finish after Ctrl-C or SIGTERM. A second signal ends at once.
    #[arg(long, default_value = "30s", value_name = "DURATION", value_parser = units::duration)]
    drain_timeout: Duration,
    #[command(flatten)]
    echo: EchoArgs,
    #[command(flatten)]
    mock: MockArgs,
    #[command(flatten)]
    openai: OpenAiArgs,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum EngineKind {
    /// Streams the prompt back, token by token.
    Echo,
    /// Random words at the pace of an inference engine.
    Mock,
    /// Forwards to an OpenAI-compatible server (--upstream).
    Openai,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Engine echo")]
struct EchoArgs {
    /// Time before each token.
    #[arg(long, default_value = "0ms", value_name = "DURATION", value_parser = units::duration)]
    token_delay: Duration,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Engine mock (one word counts as one token)")]
struct MockArgs {
    /// Time to read one token of the prompt.
    #[arg(long, default_value = "200us", value_name = "DURATION", value_parser = units::duration)]
    prefill_per_token: Duration,
    /// Time from one token of the answer to the next.
    #[arg(long, default_value = "10ms", value_name = "DURATION", value_parser = units::duration)]
    inter_token: Duration,
    /// Requests that are answered at once.
    #[arg(long, default_value_t = 32, value_name = "N", value_parser = at_least_one)]
    batch: usize,
    /// Requests that wait beyond those; one more is refused with 429.
    #[arg(long, default_value_t = 256, value_name = "N")]
    queue: usize,
    /// Tokens of an answer that max_tokens does not end earlier.
    #[arg(long, default_value_t = 64, value_name = "N")]
    output_tokens: u32,
    /// Chooses the words of requests without a seed.
    #[arg(long, default_value_t = 0, value_name = "N")]
    seed: u64,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Engine openai")]
struct OpenAiArgs {
    /// The server: http://host:port, with or without /v1.
    #[arg(long, value_name = "URL", required_if_eq("engine", "openai"))]
    upstream: Option<String>,
    /// Model to ask the server for, if it is not called as it is here.
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    upstream_model: Option<String>,
    /// Variable that holds the server's API key.
    #[arg(long, value_name = "NAME")]
    api_key_env: Option<String>,
}

fn at_least_one(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|number| *number > 0).ok_or_else(|| "must be a number of at least 1".to_owned())
}

pub(super) async fn run(args: WorkerArgs, manager: &NetworkManager) -> Result<(), Failure> {
    let mut signals = Signals::listen()?;
    let drain_timeout = args.drain_timeout;
    let model = args.model.clone();
    let service = signals.unless(serve(args, manager)).await??;
    let Instance { endpoint, id, address, .. } = service.instance();
    say(format_args!("ready: worker of the model {model:?} at {address}, instance {id} of {endpoint}"));
    signals.next().await;
    tracing::info!(?drain_timeout, "draining; a second signal ends at once");
    let report = signals.unless(manager.drain(Instant::now() + drain_timeout)).await?;
    if report.aborted > 0 {
        let aborted = report.aborted;
        tracing::warn!(aborted, "calls were still in flight at the end of --drain-timeout; their callers are told");
    }
    tracing::info!(finished = report.finished, aborted = report.aborted, "drained");
    Ok(())
}

async fn serve(args: WorkerArgs, manager: &NetworkManager) -> Result<Service, Failure> {
    let WorkerArgs { model, engine, endpoint, .. } = args;
    let service = match engine {
        EngineKind::Echo => {
            let tokenizer = Tokenizer::new().map_err(|error| Failure::new(Exit::Failed, error))?;
            serve_model(manager, endpoint, &model, Echo::new(tokenizer, args.echo.token_delay)).await
        }
        EngineKind::Mock => serve_model(manager, endpoint, &model, Mock::new(args.mock.config())).await,
        EngineKind::Openai => serve_model(manager, endpoint, &model, args.openai.engine()?).await,
    };
    service.map_err(|error| Failure::at_start(&error))
}

impl MockArgs {
    fn config(&self) -> MockConfig {
        let Self { prefill_per_token, inter_token, batch, queue, output_tokens, seed } = *self;
        MockConfig { prefill_per_token, inter_token, batch, queue, output_tokens, seed }
    }
}

impl OpenAiArgs {
    fn engine(self) -> Result<OpenAi, Failure> {
        let upstream = self.upstream.ok_or_else(|| Failure::usage("--engine openai needs --upstream URL"))?;
        let api_key = self.api_key_env.map(|name| api_key(&name)).transpose()?;
        let config = OpenAiConfig::new(&upstream).map_err(|error| Failure::usage(format!("--upstream: {error}")))?;
        OpenAi::new(config.with_model(self.upstream_model).with_api_key(api_key)).map_err(Failure::usage)
    }
}

fn api_key(name: &str) -> Result<String, Failure> {
    let key = std::env::var(name).ok().filter(|key| !key.is_empty());
    key.ok_or_else(|| Failure::usage(format!("--api-key-env names {name}, which is not set or is no text")))
}
