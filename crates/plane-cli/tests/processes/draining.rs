//! How processes end when they are asked to (threats C12 and C14): in order, bounded, and telling whoever still waits.

use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::time::timeout;

use crate::http::Events;
use crate::place::{Deployment, PATIENCE, Plane, first_text};

/// The bound of a drain that has something to wait for.
const DRAIN: &str = "700ms";
const DRAIN_TIME: Duration = Duration::from_millis(700);

/// Less than the default bound of a drain: an end before it shows that the one that was given holds.
const BOUNDED: Duration = Duration::from_secs(20);

pub(crate) async fn a_worker_asked_to_end_finishes_what_it_says(on: Plane) {
    let plane = Deployment::start(on).await;
    let worker = plane.worker("50ms").await;
    let events = first_text(plane.chat().await).await;
    worker.signal("TERM").await;
    assert_eq!(timeout(PATIENCE, events.rest()).await.unwrap().last().unwrap(), "[DONE]");
    assert_eq!(worker.end().await.code(), Some(0));
    plane.until_workers(0).await;
    assert_eq!(plane.chat().await.status(), 503);
    plane.frontend.signal("INT").await;
    assert_eq!(plane.frontend.end().await.code(), Some(0));
}

pub(crate) async fn a_second_signal_ends_a_worker_at_once(on: Plane) {
    let plane = Deployment::start(on).await;
    let worker = plane.worker("1h").await;
    let mut events = first_text(plane.chat().await).await;
    worker.signal("TERM").await;
    // It is withdrawn first, so the signal has arrived.
    plane.until_workers(0).await;
    worker.signal("TERM").await;
    assert_eq!(worker.end().await.code(), Some(130));
    assert_eq!(events.next().await.unwrap().unwrap().0, "error");
}

/// The code of the error that ends an answer which has begun; nothing follows it.
async fn error_code(events: &mut Events) -> String {
    let (name, data) = timeout(PATIENCE, events.next()).await.unwrap().unwrap().unwrap();
    assert_eq!(name, "error");
    assert!(events.next().await.is_err(), "the connection must not end cleanly");
    serde_json::from_str::<Value>(&data).unwrap()["error"]["code"].as_str().unwrap().to_owned()
}

pub(crate) async fn a_worker_whose_handler_hangs_ends_at_its_bound(on: Plane) {
    let plane = Deployment::start(on).await;
    let worker = plane.worker_with("1h", &["--drain-timeout", DRAIN]).await;
    let mut events = first_text(plane.chat().await).await;
    let request = r#"{"model": "m", "prompt": "hi"}"#;
    let mut call = plane.place.plane(&["call", "dynamo.backend.generate", request]);
    let mut calling = call.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = [0; 1];
    tokio::io::AsyncReadExt::read_exact(calling.stdout.as_mut().unwrap(), &mut line).await.unwrap();

    let asked = Instant::now();
    worker.signal("TERM").await;
    assert_eq!(error_code(&mut events).await, "unavailable");
    assert_eq!(worker.end().await.code(), Some(0));
    let took = asked.elapsed();
    assert!((DRAIN_TIME..BOUNDED).contains(&took), "{took:?}");
    let called = timeout(PATIENCE, calling.wait_with_output()).await.unwrap().unwrap();
    assert_eq!(called.status.code(), Some(1), "{}", String::from_utf8_lossy(&called.stderr));
}

pub(crate) async fn while_a_worker_drains_others_take_its_calls(on: Plane) {
    let plane = Deployment::start(on).await;
    let leaving = plane.worker("150ms").await;
    let events = first_text(plane.chat().await).await;
    let _staying = plane.worker("0").await;
    leaving.signal("TERM").await;
    // Before, while and after the frontend learns that the worker leaves.
    for _ in 0..20 {
        let events = first_text(plane.chat().await).await;
        assert_eq!(timeout(PATIENCE, events.rest()).await.unwrap().last().unwrap(), "[DONE]");
    }
    assert_eq!(timeout(PATIENCE, events.rest()).await.unwrap().last().unwrap(), "[DONE]");
    assert_eq!(leaving.end().await.code(), Some(0));
    assert_eq!(plane.workers().await, 1);
}

pub(crate) async fn a_frontend_asked_to_end_finishes_what_it_answers(on: Plane) {
    let plane = Deployment::start(on).await;
    let _worker = plane.worker("50ms").await;
    let events = first_text(plane.chat().await).await;
    plane.frontend.signal("TERM").await;
    assert_eq!(timeout(PATIENCE, events.rest()).await.unwrap().last().unwrap(), "[DONE]");
    assert_eq!(plane.frontend.end().await.code(), Some(0));
}

pub(crate) async fn a_frontend_whose_answers_hang_tells_its_clients_at_its_bound(on: Plane) {
    let plane = Deployment::with(on, &["--drain-timeout", DRAIN]).await;
    let worker = plane.worker("1h").await;
    let mut events = first_text(plane.chat().await).await;
    let asked = Instant::now();
    plane.frontend.signal("TERM").await;
    assert_eq!(error_code(&mut events).await, "unavailable");
    assert_eq!(plane.frontend.end().await.code(), Some(0));
    let took = asked.elapsed();
    assert!((DRAIN_TIME..BOUNDED).contains(&took), "{took:?}");
    // Its handler was aborted: there is nothing that the worker would wait for.
    let asked = Instant::now();
    worker.signal("TERM").await;
    assert_eq!(worker.end().await.code(), Some(0));
    assert!(asked.elapsed() < BOUNDED);
}

pub(crate) async fn a_second_signal_ends_a_frontend_at_once(on: Plane) {
    let plane = Deployment::start(on).await;
    let _worker = plane.worker("1h").await;
    let _events = first_text(plane.chat().await).await;
    plane.frontend.signal("TERM").await;
    // It takes no connections any more, so the signal has arrived.
    let refused = async { while std::net::TcpStream::connect(plane.url.strip_prefix("http://").unwrap()).is_ok() {} };
    timeout(PATIENCE, refused).await.unwrap();
    plane.frontend.signal("TERM").await;
    assert_eq!(plane.frontend.end().await.code(), Some(130));
}
