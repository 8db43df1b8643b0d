//! Processes of a deployment: what they share, how they are started and asked to end.

use std::path::Path;
use std::process::{ExitStatus, Output, Stdio};
use std::time::Duration;

use plane_testkit::nats::NatsServer;
use reqwest::Response;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::http::{Events, http_client};

/// Longer than anything here takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// What carries the calls of a deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plane {
    Tcp,
    Nats,
}

/// What the processes of a deployment share.
pub(crate) struct Place {
    directory: TempDir,
    nats: Option<NatsServer>,
}

impl Place {
    pub(crate) fn new(plane: Plane) -> Self {
        let nats = (plane == Plane::Nats).then(NatsServer::start);
        Self { directory: TempDir::new().unwrap(), nats }
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// `plane` in an environment of its own.
    pub(crate) fn plane(&self, args: &[&str]) -> Command {
        self.program(env!("CARGO_BIN_EXE_plane"), args)
    }

    pub(crate) fn program(&self, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        let ours = |name: &str| name.starts_with("DYN_") || name.starts_with("NATS_");
        for (name, _) in std::env::vars_os().filter(|(name, _)| ours(&name.to_string_lossy())) {
            command.env_remove(name);
        }
        if let Some(nats) = &self.nats {
            command.env("DYN_REQUEST_PLANE", "nats").env("NATS_SERVER", nats.url());
        }
        command.env("DYN_DISCOVERY_DIR", self.path()).env("DYN_TCP_RPC_HOST", "127.0.0.1");
        command.args(args).kill_on_drop(true);
        command
    }
}

/// A process that has said that it is ready.
pub(crate) struct Running {
    pub(crate) child: Child,
    /// What it said after "ready: ".
    pub(crate) ready: String,
}

impl Running {
    pub(crate) async fn start(place: &Place, args: &[&str]) -> Self {
        Self::of(place.plane(args)).await
    }

    pub(crate) async fn of(mut command: Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut seen = Vec::new();
        let ready = timeout(PATIENCE, async {
            while let Some(line) = lines.next_line().await.unwrap() {
                if let Some(ready) = line.strip_prefix("ready: ") {
                    return ready.to_owned();
                }
                seen.push(line);
            }
            panic!("{command:?} ended: {seen:?}")
        });
        let ready = ready.await.unwrap();
        // Read on, so that the process can go on writing.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Self { child, ready }
    }

    pub(crate) async fn signal(&self, name: &str) {
        let pid = self.child.id().unwrap().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().await.unwrap().success());
    }

    pub(crate) async fn end(mut self) -> ExitStatus {
        timeout(PATIENCE, self.child.wait()).await.unwrap().unwrap()
    }
}

pub(crate) struct Deployment {
    pub(crate) place: Place,
    pub(crate) frontend: Running,
    pub(crate) url: String,
}

impl Deployment {
    pub(crate) async fn start(plane: Plane) -> Self {
        Self::with(plane, &[]).await
    }

    /// A frontend with these further arguments.
    pub(crate) async fn with(plane: Plane, args: &[&str]) -> Self {
        let place = Place::new(plane);
        let frontend = Running::start(&place, &[&["frontend", "--http-port", "0"], args].concat()).await;
        Self::of(place, frontend)
    }

    /// The one behind this frontend.
    pub(crate) fn of(place: Place, frontend: Running) -> Self {
        let url = frontend.ready.strip_prefix("frontend at ").unwrap().to_owned();
        Self { place, frontend, url }
    }

    pub(crate) async fn metrics(&self) -> String {
        http_client().get(format!("{}/metrics", self.url)).send().await.unwrap().text().await.unwrap()
    }

    /// A worker that says its first token at once and each other `inter_token` later.
    pub(crate) async fn worker(&self, inter_token: &str) -> Running {
        self.worker_with(inter_token, &[]).await
    }

    /// The same with these further arguments.
    pub(crate) async fn worker_with(&self, inter_token: &str, args: &[&str]) -> Running {
        let pace = ["--prefill-per-token", "0", "--inter-token", inter_token, "--output-tokens", "20"];
        let args = [&["worker", "--model", "m", "--engine", "mock"][..], &pace, args].concat();
        let before = self.workers().await;
        let worker = Running::start(&self.place, &args).await;
        self.until_workers(before + 1).await;
        worker
    }

    pub(crate) async fn chat(&self) -> Response {
        let body = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": true});
        http_client().post(format!("{}/v1/chat/completions", self.url)).json(&body).send().await.unwrap()
    }

    pub(crate) async fn health(&self) -> Value {
        let health = http_client().get(format!("{}/health", self.url)).send().await.unwrap();
        health.json().await.unwrap()
    }

    pub(crate) async fn workers(&self) -> u64 {
        self.health().await["models"]["m"].as_u64().unwrap_or(0)
    }

    /// Asks until the frontend knows of this many workers.
    pub(crate) async fn until_workers(&self, wanted: u64) {
        timeout(PATIENCE, async { while self.workers().await != wanted {} }).await.unwrap();
    }

    pub(crate) async fn call(&self, args: &[&str]) -> Output {
        let args = [&["call", "dynamo.backend.generate"], args].concat();
        timeout(PATIENCE, self.place.plane(&args).output()).await.unwrap().unwrap()
    }
}

/// Reads up to the first text of an answer.
pub(crate) async fn first_text(response: Response) -> Events {
    let mut events = Events::of(response);
    assert_eq!(events.json().await["choices"][0]["delta"]["role"], "assistant");
    assert!(events.json().await["choices"][0]["delta"]["content"].is_string());
    events
}
