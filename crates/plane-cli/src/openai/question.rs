//! What a request amounts to, whichever route it came by.

use http::StatusCode;
use serde::de::DeserializeOwned;

use super::bounds::Common;
use super::chat::ChatRequest;
use super::completion::CompletionRequest;
use super::error::ApiError;
use crate::generate::GenerateRequest;

/// Where a request came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Route {
    Chat,
    Completion,
}

impl Route {
    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Chat => "/v1/chat/completions",
            Self::Completion => "/v1/completions",
        }
    }
}

/// What a worker is asked, and how the client wants its answer.
#[derive(Debug)]
pub(crate) struct Question {
    pub(crate) request: GenerateRequest,
    pub(crate) stream: bool,
    pub(crate) include_usage: bool,
}

impl Question {
    /// Reads the body of a request.
    pub(crate) fn read(route: Route, body: &[u8]) -> Result<Self, ApiError> {
        // Read twice, because an error inside of a flattened field would not know the field's name.
        let common: Common = read(body)?;
        match route {
            Route::Chat => read::<ChatRequest>(body)?.question(common),
            Route::Completion => read::<CompletionRequest>(body)?.question(common),
        }
    }
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    let mut json = serde_json::Deserializer::from_slice(body);
    serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let param = param_of(&error);
        let what = format!("the body cannot be read: {}", error.inner());
        let told = ApiError::new(StatusCode::BAD_REQUEST, Some("invalid_json"), what);
        match param {
            Some(param) => told.with_param(&param),
            None => told,
        }
    })
}

/// The field that an error is about: where it happened, or the field that its text names as missing.
fn param_of(error: &serde_path_to_error::Error<serde_json::Error>) -> Option<String> {
    if !error.inner().is_data() {
        // No JSON at all: wherever it broke, no field is to blame.
        return None;
    }
    let path = Some(error.path().to_string()).filter(|path| path != ".");
    let text = error.inner().to_string();
    let missing = text.strip_prefix("missing field `").and_then(|text| text.split_once('`')).map(|(name, _)| name);
    match (path, missing) {
        (Some(path), Some(name)) => Some(format!("{path}.{name}")),
        (path, name) => path.or(name.map(str::to_owned)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::generate::{Input, Sampling};

    fn ask(route: Route, body: &Value) -> Result<Question, ApiError> {
        Question::read(route, body.to_string().as_bytes())
    }

    /// The parameter that an error names.
    fn param(route: Route, body: &Value) -> Value {
        let error = ask(route, body).unwrap_err();
        assert_eq!(error.status, StatusCode::BAD_REQUEST);
        serde_json::to_value(&error.body).unwrap()["error"]["param"].clone()
    }

    fn chat(extra: &Value) -> Value {
        let mut body = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]});
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        body
    }

    #[test]
    fn sampling_passes_through() {
        let body =
            chat(&json!({"max_completion_tokens": 5, "max_tokens": 9, "temperature": 0, "top_p": 0.5, "seed": -7,
            "stop": "x", "stream": true, "stream_options": {"include_usage": true}, "user": "ignored", "n": 1}));
        let question = ask(Route::Chat, &body).unwrap();
        assert!(question.stream && question.include_usage);
        let wanted = Sampling {
            max_tokens: Some(5),
            temperature: Some(0.0),
            top_p: Some(0.5),
            seed: Some(-7),
            stop: vec!["x".to_owned()],
            ..Sampling::default()
        };
        assert_eq!(question.request.sampling, wanted);
    }

    #[test]
    fn parts_of_text_are_joined() {
        let parts = json!([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]);
        let body = chat(&json!({"messages": [{"role": "user", "content": parts}]}));
        assert_eq!(ask(Route::Chat, &body).unwrap().request.input.last_user_text(), "ab");
        let body = json!({"model": "m", "prompt": ["p"]});
        assert_eq!(ask(Route::Completion, &body).unwrap().request.input, Input::Prompt("p".to_owned()));
    }

    #[test]
    fn a_bad_parameter_is_named() {
        for (name, value) in [
            ("n", json!(2)),
            ("temperature", json!(2.5)),
            ("top_p", json!(-1)),
            ("max_tokens", json!(0)),
            ("stop", json!(["a", "b", "c", "d", "e"])),
            ("tools", json!([{}])),
            ("logprobs", json!(true)),
            ("logit_bias", json!({"1": 2})),
            ("response_format", json!({"type": "json_object"})),
            ("messages", json!([])),
        ] {
            let body = chat(&json!({ name: value }));
            assert_eq!(param(Route::Chat, &body), name);
        }
        assert_eq!(param(Route::Chat, &json!({"messages": []})), "model");
        assert_eq!(param(Route::Completion, &json!({"model": "m"})), "prompt");
        assert_eq!(param(Route::Completion, &json!({"model": "m", "prompt": [1, 2]})), "prompt");
        assert_eq!(param(Route::Completion, &json!({"model": "m", "prompt": ["a", "b"]})), "prompt");
        assert_eq!(param(Route::Completion, &json!({"model": "m", "prompt": "a", "best_of": 2})), "best_of");
        let image = json!({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]});
        assert_eq!(param(Route::Chat, &chat(&image)), "messages[0].content");
    }

    #[test]
    fn a_parameter_of_the_wrong_type_is_named() {
        assert_eq!(param(Route::Chat, &chat(&json!({"messages": "hi"}))), "messages");
        assert_eq!(param(Route::Chat, &chat(&json!({"max_tokens": "many"}))), "max_tokens");
        assert_eq!(param(Route::Chat, &chat(&json!({"messages": [{"content": "x"}]}))), "messages[0].role");
    }

    #[test]
    fn what_is_no_json_is_refused() {
        for body in ["", "{", "[]", "\"x\"", "\u{0}"] {
            assert_eq!(Question::read(Route::Chat, body.as_bytes()).unwrap_err().status, StatusCode::BAD_REQUEST);
        }
    }
}
