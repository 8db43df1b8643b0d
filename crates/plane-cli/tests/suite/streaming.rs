//! Answers of the frontend, streamed and whole.

use plane_core::Status;
use serde_json::{Value, json};

use crate::deployment::Deployment;
use crate::http::Events;
use crate::scripted::{last, piece, scripted};

/// The first event arrives before the last is produced.
#[tokio::test]
async fn a_chat_streams_token_by_token() {
    let plane = Deployment::start().await;
    let (script, engine, _requests) = scripted();
    let _worker = plane.worker("m", engine).await;
    script.send(piece("Hé")).await.unwrap();
    let body = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": true,
        "stream_options": {"include_usage": true}});
    let response = plane.post("/v1/chat/completions", &body).send().await.unwrap();
    let mut events = Events::of(response);

    let opening = events.json().await;
    assert_eq!((&opening["object"], &opening["model"]), (&json!("chat.completion.chunk"), &json!("m")));
    assert_eq!(opening["choices"][0]["delta"], json!({"role": "assistant", "content": ""}));
    assert_eq!(opening["usage"], Value::Null);
    let first = events.json().await;
    assert_eq!(first["choices"][0]["delta"], json!({"content": "Hé"}));
    assert_eq!(first["choices"][0]["finish_reason"], Value::Null);
    assert_eq!(first["id"], opening["id"]);

    // Only now the worker says the rest.
    script.send(piece("llo")).await.unwrap();
    assert_eq!(events.json().await["choices"][0]["delta"], json!({"content": "llo"}));
    script.send(last(3, 2)).await.unwrap();
    drop(script);
    let finish = events.json().await;
    assert_eq!((&finish["choices"][0]["delta"], &finish["choices"][0]["finish_reason"]), (&json!({}), &json!("stop")));
    let usage = events.json().await;
    assert_eq!(usage["choices"], json!([]));
    assert_eq!(usage["usage"], json!({"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}));
    assert_eq!(events.rest().await, ["[DONE]"]);
}

#[tokio::test]
async fn a_completion_streams_without_usage_unless_asked() {
    let plane = Deployment::start().await;
    let (script, engine, mut requests) = scripted();
    let _worker = plane.worker("m", engine).await;
    let body = json!({"model": "m", "prompt": "once", "stream": true, "max_tokens": 9, "stop": ["x"], "seed": 4});
    let (response, ()) = tokio::join!(plane.post("/v1/completions", &body).send(), async {
        script.send(piece("upon")).await.unwrap();
        script.send(last(1, 1)).await.unwrap();
        drop(script);
    });
    let mut events = Events::of(response.unwrap());
    let first = events.json().await;
    assert_eq!((&first["object"], &first["choices"][0]["text"]), (&json!("text_completion"), &json!("upon")));
    assert_eq!(first.get("usage"), None);
    assert_eq!(events.json().await["choices"][0]["finish_reason"], "stop");
    assert_eq!(events.rest().await, ["[DONE]"]);

    let sampling = requests.recv().await.unwrap().sampling;
    assert_eq!((sampling.max_tokens, sampling.stop, sampling.seed), (Some(9), vec!["x".to_owned()], Some(4)));
}

#[tokio::test]
async fn an_answer_comes_whole_if_it_is_not_streamed() {
    let plane = Deployment::start().await;
    for (path, input, object, at) in [
        (
            "/v1/chat/completions",
            json!({"messages": [{"role": "user", "content": "hi"}]}),
            "chat.completion",
            "message",
        ),
        ("/v1/completions", json!({"prompt": "hi"}), "text_completion", "text"),
    ] {
        let (script, engine, _requests) = scripted();
        let worker = plane.worker("m", engine).await;
        let mut body = json!({"model": "m"});
        body.as_object_mut().unwrap().extend(input.as_object().unwrap().clone());
        let (response, ()) = tokio::join!(plane.post(path, &body).send(), async {
            for chunk in [piece("a"), piece("b"), last(7, 2)] {
                script.send(chunk).await.unwrap();
            }
            drop(script);
        });
        let answer: Value = response.unwrap().json().await.unwrap();
        assert_eq!((&answer["object"], &answer["choices"][0]["finish_reason"]), (&json!(object), &json!("stop")));
        assert_eq!(answer["usage"], json!({"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}));
        let said = if at == "text" { json!("ab") } else { json!({"role": "assistant", "content": "ab"}) };
        assert_eq!(answer["choices"][0][at], said);
        drop(worker);
    }
}

/// What was said comes, then the error, then an end that no client can take for a clean one.
#[tokio::test]
async fn a_worker_that_fails_in_the_middle_is_told_as_an_error() {
    for (failure, code) in [(Some(Status::unavailable("worker lost")), "unavailable"), (None, "truncated")] {
        let plane = Deployment::start().await;
        let (script, engine, _requests) = scripted();
        let _worker = plane.worker("m", engine).await;
        script.send(piece("one")).await.unwrap();
        let mut events = Events::of(plane.chat("m", true).send().await.unwrap());
        assert_eq!(events.json().await["choices"][0]["delta"]["role"], "assistant");
        assert_eq!(events.json().await["choices"][0]["delta"]["content"], "one");
        if let Some(status) = failure {
            script.send(Err(status)).await.unwrap();
        }
        drop(script);
        let (name, data) = events.next().await.unwrap().unwrap();
        assert_eq!(name, "error");
        assert_eq!(serde_json::from_str::<Value>(&data).unwrap()["error"]["code"], code);
        assert!(events.next().await.is_err(), "the connection must not end cleanly");
    }
}

#[tokio::test]
async fn a_client_that_goes_away_aborts_the_call_on_the_worker() {
    let plane = Deployment::start().await;
    let (script, engine, _requests) = scripted();
    let _worker = plane.worker("m", engine).await;
    script.send(piece("one")).await.unwrap();
    let mut events = Events::of(plane.chat("m", true).send().await.unwrap());
    events.json().await;
    drop(events);
    script.closed().await;
}

#[tokio::test]
async fn a_client_that_goes_away_before_a_whole_answer_aborts_the_call_too() {
    let plane = Deployment::start().await;
    let (script, engine, mut requests) = scripted();
    let _worker = plane.worker("m", engine).await;
    let asking = tokio::spawn(plane.chat("m", false).send());
    requests.recv().await.unwrap();
    asking.abort();
    script.closed().await;
}
