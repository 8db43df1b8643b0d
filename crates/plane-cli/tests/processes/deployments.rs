//! What clients and shells see of a deployment.

use std::os::unix::fs::symlink;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use tokio::time::timeout;

use crate::http::http_client;
use crate::place::{Deployment, PATIENCE, Place, Plane, Running, first_text};

/// Well below the time after which a silent worker is given up: that one was killed is known in another way.
const KILLED_IS_KNOWN: Duration = Duration::from_secs(10);

pub(crate) async fn a_worker_killed_in_the_middle_is_told_and_another_takes_the_next_request(on: Plane) {
    let plane = Deployment::start(on).await;
    let mut doomed = plane.worker("1h").await;
    let mut events = first_text(plane.chat().await).await;
    let _heir = plane.worker("0").await;
    doomed.child.start_kill().unwrap();
    let (name, data) = timeout(KILLED_IS_KNOWN, events.next()).await.unwrap().unwrap().unwrap();
    assert_eq!(name, "error");
    assert_eq!(serde_json::from_str::<Value>(&data).unwrap()["error"]["code"], "worker_lost");
    assert!(events.next().await.is_err(), "the connection must not end cleanly");
    doomed.end().await;

    for _ in 0..4 {
        let events = first_text(plane.chat().await).await;
        assert_eq!(timeout(PATIENCE, events.rest()).await.unwrap().last().unwrap(), "[DONE]");
    }
}

/// What workers did that ended a connection to them is counted by reason for whoever watches the frontend.
#[tokio::test]
async fn a_worker_that_speaks_another_protocol_is_counted() {
    let place = Place::new(Plane::Tcp);
    let stranger = Running::start(&place, &["frontend", "--http-port", "0"]).await;
    let at = stranger.ready.strip_prefix("frontend at http://").unwrap();
    let mut frontend = place.plane(&["frontend", "--http-port", "0", "--default-model", "m"]);
    frontend.env("DYN_DISCOVERY_BACKEND", "static");
    frontend.env("DYN_STATIC_INSTANCES", format!("dynamo.backend.generate=tcp://{at}"));
    let plane = Deployment::of(place, Running::of(frontend).await);
    assert_eq!(plane.chat().await.status(), 502);
    let metrics = plane.metrics().await;
    for name in [
        "plane_frontend_refusals_total{transport=\"tcp\",",
        "plane_frontend_calls_total{transport=\"tcp\",outcome=\"failed\"}",
    ] {
        let is_counted = metrics.lines().any(|line| line.starts_with(name) && !line.ends_with(" 0"));
        assert!(is_counted, "{name} in {metrics}");
    }
}

#[tokio::test]
async fn a_frontend_that_cannot_look_for_workers_says_so_and_calls_those_it_knows() {
    let mut plane = Deployment::start(Plane::Tcp).await;
    let (real, link) = (plane.place.path().join("real"), plane.place.path().join("link"));
    std::fs::create_dir(&real).unwrap();
    symlink(&real, &link).unwrap();
    let at_link = |args: &[&str]| {
        let mut command = plane.place.plane(args);
        command.env("DYN_DISCOVERY_DIR", &link);
        command
    };
    let frontend = Running::of(at_link(&["frontend", "--http-port", "0"])).await;
    let _worker = Running::of(at_link(&["worker", "--model", "m", "--engine", "echo"])).await;
    plane.frontend = frontend;
    plane.url = plane.frontend.ready.strip_prefix("frontend at ").unwrap().to_owned();
    plane.until_workers(1).await;
    // At one stroke there is a file where the directory was.
    let (file, other) = (plane.place.path().join("file"), plane.place.path().join("other"));
    std::fs::write(&file, "").unwrap();
    symlink(&file, &other).unwrap();
    std::fs::rename(&other, &link).unwrap();
    timeout(PATIENCE, async { while plane.health().await["status"] != "degraded" {} }).await.unwrap();
    let message = plane.health().await["message"].to_string();
    assert!(message.contains(link.to_str().unwrap()), "{message}");
    assert_eq!(plane.chat().await.status(), 200);
}

/// A port that was free a moment ago.
fn free_port() -> String {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    free.local_addr().unwrap().port().to_string()
}

pub(crate) async fn the_script_runs_a_deployment_and_leaves_nothing_behind(on: Plane) {
    const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/agg_request_planes.sh");
    // The script starts a NATS server of its own.
    let (place, port) = (Place::new(Plane::Tcp), free_port());
    let flag = if on == Plane::Nats { "--nats" } else { "--tcp" };
    let pace = ["--", "--prefill-per-token", "0", "--inter-token", "50ms", "--output-tokens", "20"];
    let args = [&[flag, "--port", &port, "--model", "m", "--engine", "mock"][..], &pace].concat();
    let mut command = place.program("bash", &[&[SCRIPT][..], &args].concat());
    let mut script =
        command.env("PLANE_BIN", env!("CARGO_BIN_EXE_plane")).stdout(Stdio::piped()).process_group(0).spawn().unwrap();
    let mut lines = BufReader::new(script.stdout.take().unwrap()).lines();
    let up = async { while lines.next_line().await.unwrap().unwrap() != "Ctrl-C stops it." {} };
    timeout(PATIENCE, up).await.unwrap();
    let url = format!("http://127.0.0.1:{port}");
    let body = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": true});
    let asked = http_client().post(format!("{url}/v1/chat/completions")).json(&body).send();
    let events = first_text(asked.await.unwrap()).await;
    // As a terminal does: to the whole group.
    let group = format!("-{}", script.id().unwrap());
    assert!(Command::new("kill").args(["-s", "INT", "--", &group]).status().await.unwrap().success());
    assert_eq!(timeout(PATIENCE, events.rest()).await.unwrap().last().unwrap(), "[DONE]");
    assert_eq!(timeout(PATIENCE, script.wait()).await.unwrap().unwrap().code(), Some(130));
    assert!(http_client().get(format!("{url}/health")).send().await.is_err());
    assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0);
}

pub(crate) async fn a_call_from_a_shell_answers_in_lines_and_exit_codes(on: Plane) {
    let plane = Deployment::start(on).await;
    let _worker = plane.worker("0").await;
    let ok = plane.call(&[r#"{"model": "m", "prompt": "hi", "max_tokens": 2}"#]).await;
    assert_eq!(ok.status.code(), Some(0));
    let lines: Vec<Value> =
        String::from_utf8(ok.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[2]["finish_reason"], "length");
    assert_eq!(lines[2]["usage"], json!({"prompt_tokens": 1, "completion_tokens": 2}));

    let undecodable = plane.call(&[r#"{"prompt": "hi"}"#]).await;
    assert_eq!(undecodable.status.code(), Some(1));
    let other_model = plane.call(&[r#"{"model": "other", "prompt": "hi"}"#]).await;
    assert_eq!(other_model.status.code(), Some(1));
    let nobody = plane.call(&["{}", "--instance", "1"]).await;
    assert_eq!(nobody.status.code(), Some(3));
    let no_instance = ["call", "dynamo.backend.other", "{}", "--timeout", "100ms"];
    let late = plane.place.plane(&no_instance).output().await.unwrap();
    assert_eq!(late.status.code(), Some(4));
    let reserved = plane.call(&["{}", "--header", "plane-x=1"]).await;
    assert_eq!(reserved.status.code(), Some(2));
}

pub(crate) async fn a_call_from_a_shell_ends_at_its_timeout(on: Plane) {
    let plane = Deployment::start(on).await;
    let _worker = plane.worker("1h").await;
    let late = plane.call(&[r#"{"model": "m", "prompt": "hi"}"#, "--timeout", "1s"]).await;
    assert_eq!(late.status.code(), Some(4));
    // The deadline passes at both ends: where it is the worker's first, what it says at last may still be in time.
    let said = String::from_utf8(late.stdout).unwrap().lines().count();
    assert!((1..=2).contains(&said), "{said} lines");
}

/// A request is stored before there is a worker, survives a worker that is killed, and is answered; the store can be looked at.
#[tokio::test]
async fn stored_requests_outlive_their_workers() {
    let place = Place::new(Plane::Nats);
    let stored = |args: &[&str]| {
        let mut command = place.plane(args);
        command.env("DYN_NATS_DELIVERY", "jetstream");
        command
    };
    let frontend = stored(&["frontend", "--http-port", "0"]).output().await.unwrap();
    assert_eq!(frontend.status.code(), Some(2), "a frontend stores nothing");
    let stats = async || -> Value {
        let output = timeout(PATIENCE, stored(&["store", "stats"]).output()).await.unwrap().unwrap();
        serde_json::from_slice(&output.stdout).unwrap()
    };
    assert_eq!(stats().await["stored"], 0);
    let request = r#"{"model": "m", "prompt": "hi", "max_tokens": 2}"#;
    let calling = stored(&["call", "dynamo.backend.generate", request]).stdout(Stdio::piped()).spawn().unwrap();
    timeout(PATIENCE, async { while stats().await["stored"] != 1 {} }).await.unwrap();
    let worker = ["worker", "--model", "m", "--engine", "mock", "--prefill-per-token"];
    let mut doomed = Running::of(stored(&[&worker[..], &["1h"]].concat())).await;
    timeout(PATIENCE, async { while stats().await["pending"] != 1 {} }).await.unwrap();
    doomed.child.start_kill().unwrap();
    doomed.end().await;
    let _heir = Running::of(stored(&[&worker[..], &["0"]].concat())).await;
    let answered = timeout(PATIENCE, calling.wait_with_output()).await.unwrap().unwrap();
    assert_eq!(answered.status.code(), Some(0));
    assert_eq!(String::from_utf8(answered.stdout).unwrap().lines().count(), 3);
    let replay = stored(&["store", "replay", "dynamo.backend.generate", "--since", "1h"]).output().await.unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&replay.stdout).unwrap()["replayed"], 1);
    let dead = stored(&["store", "dead"]).output().await.unwrap();
    assert_eq!((dead.status.code(), dead.stdout.len()), (Some(0), 0));
    // Another limit than that of the store is refused, until it is applied.
    let smaller = |command| {
        let mut command = stored(&["store", command]);
        command.env("DYN_NATS_STORE_MAX_BYTES", "8MiB");
        command
    };
    assert_eq!(smaller("stats").output().await.unwrap().status.code(), Some(2));
    let applied = smaller("apply").output().await.unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&applied.stdout).unwrap()["max_bytes"], 8 << 20);
    assert_eq!(smaller("stats").output().await.unwrap().status.code(), Some(0));
    let no_store = place.plane(&["store", "stats"]).output().await.unwrap();
    assert_eq!(no_store.status.code(), Some(2), "{}", String::from_utf8_lossy(&no_store.stderr));
}
