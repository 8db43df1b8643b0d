//! A worker that is a process of its own, and can be killed.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use futures_util::stream;
use plane_core::{AdmissionLimits, Body, Request, Response, Status, handler_fn};
use tokio::sync::mpsc;

use crate::world::{Worker, config_at, in_time, store};

/// Names the NATS server to a child.
const URL: &str = "PLANE_TEST_DURABLE_URL";

/// A worker process. Dropping it kills it.
pub(crate) struct WorkerProcess {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl WorkerProcess {
    /// One that is ready.
    pub(crate) async fn start(url: &str) -> Self {
        let mut process = Self::launch(url);
        process.said("ready").await;
        process
    }

    /// One that may not live to be ready.
    pub(crate) fn launch(url: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--ignored", "--nocapture", "process::a_worker_that_another_test_starts"])
            .env(URL, url)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let (said, lines) = mpsc::channel(1_024);
        // Ends with the process, or with the test that does not listen any more.
        std::thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| said.blocking_send(line)));
        Self { child, lines }
    }

    /// Waits until it says this.
    pub(crate) async fn said(&mut self, what: &str) {
        in_time(async { while self.next().await.expect("the worker lives") != what {} }).await;
    }

    /// The next line that it says; `None` once it has ended.
    pub(crate) async fn next(&mut self) -> Option<String> {
        self.lines.recv().await
    }

    /// Kills it as `kill -9` does.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
    }

    /// Waits until it has ended by itself.
    pub(crate) async fn ended(mut self) {
        in_time(async { while self.next().await.is_some() {} }).await;
    }
}

impl Drop for WorkerProcess {
    fn drop(&mut self) {
        // One that has ended already is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn say(what: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{what}").unwrap();
    out.flush().unwrap();
}

#[tokio::test]
#[ignore = "a process that other tests start"]
async fn a_worker_that_another_test_starts() {
    let url = std::env::var(URL).expect("another test starts this");
    let config = config_at(&url, store()).admission(AdmissionLimits { running: 4, queued: 4 });
    let work = handler_fn(|request: Request, _| async move {
        let message = request.body.message().await.map_err(Status::from)?;
        say(&format!("start {}", String::from_utf8_lossy(&message)));
        if message == "kill" {
            std::process::abort();
        }
        // What a model would take: long enough to be killed in the middle of it.
        tokio::time::sleep(Duration::from_millis(20)).await;
        Ok(Response::new(message))
    });
    // It streams items until it is killed, or ends at once.
    let drip = handler_fn(|request: Request, _| async move {
        let message = request.body.message().await.map_err(Status::from)?;
        say("drip");
        let first = stream::iter((message != "silent").then_some(Ok::<_, Status>("item")));
        Ok(Response::new(Body::stream(futures_util::StreamExt::chain(first, stream::pending()))))
    });
    let _worker = Worker::start(&config).await.with("work", work).await.with("drip", drip).await;
    say("ready");
    // Until the test that started it is gone, or kills it.
    tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new())).await.unwrap().unwrap();
}
