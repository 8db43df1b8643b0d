//! Checks of single parameters, and what is refused because it would be ignored.

use serde::Deserialize;
use serde_json::Value;

use super::error::ApiError;
use crate::generate::Sampling;

/// The most stop texts of a request.
const MAX_STOPS: usize = 4;

/// Parameters that both routes know.
#[derive(Debug, Deserialize)]
pub(super) struct Common {
    pub(super) model: String,
    #[serde(default)]
    pub(super) stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    pub(super) max_tokens: Option<u32>,
    temperature: Option<f64>,
    top_p: Option<f64>,
    frequency_penalty: Option<f64>,
    presence_penalty: Option<f64>,
    seed: Option<i64>,
    stop: Option<OneOrMany>,
    n: Option<u32>,
    logit_bias: Option<Value>,
}

#[derive(Debug, Default, Deserialize)]
struct StreamOptions {
    #[serde(default)]
    include_usage: bool,
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "expected a text or a list of texts")]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    fn into_vec(self) -> Vec<String> {
        match self {
            Self::One(text) => vec![text],
            Self::Many(texts) => texts,
        }
    }
}

impl Common {
    pub(super) fn include_usage(&self) -> bool {
        self.stream_options.as_ref().is_some_and(|options| options.include_usage)
    }

    /// What an engine is told, once every value is in its range.
    pub(super) fn sampling(self) -> Result<Sampling, ApiError> {
        if self.n.is_some_and(|n| n != 1) {
            return Err(ApiError::unsupported("n", "only one choice for each request is supported: n must be 1"));
        }
        refuse_set("logit_bias", self.logit_bias.as_ref())?;
        if self.max_tokens == Some(0) {
            return Err(ApiError::invalid("max_tokens", "max_tokens must be at least 1"));
        }
        let stop = self.stop.map(OneOrMany::into_vec).unwrap_or_default();
        if stop.len() > MAX_STOPS || stop.iter().any(String::is_empty) {
            return Err(ApiError::invalid(
                "stop",
                format!("stop must be at most {MAX_STOPS} texts, none of them empty"),
            ));
        }
        Ok(Sampling {
            max_tokens: self.max_tokens,
            temperature: within("temperature", self.temperature, 0.0, 2.0)?,
            top_p: within("top_p", self.top_p, 0.0, 1.0)?,
            frequency_penalty: within("frequency_penalty", self.frequency_penalty, -2.0, 2.0)?,
            presence_penalty: within("presence_penalty", self.presence_penalty, -2.0, 2.0)?,
            seed: self.seed,
            stop,
        })
    }
}

fn within(param: &str, value: Option<f64>, least: f64, most: f64) -> Result<Option<f64>, ApiError> {
    match value {
        Some(value) if !(least..=most).contains(&value) => {
            Err(ApiError::invalid(param, format!("{param} must be {least} to {most}, and is {value}")))
        }
        value => Ok(value),
    }
}

/// Refuses a parameter that changes the answer, unless its value says that it should not.
pub(super) fn refuse_set(param: &str, value: Option<&Value>) -> Result<(), ApiError> {
    let changes_nothing = match value {
        None | Some(Value::Null | Value::Bool(false)) => true,
        Some(Value::Array(values)) => values.is_empty(),
        Some(Value::Object(values)) => values.is_empty(),
        Some(Value::String(text)) => text.is_empty(),
        Some(Value::Number(_) | Value::Bool(true)) => false,
    };
    if changes_nothing { Ok(()) } else { Err(ApiError::unsupported(param, format!("{param} is not supported"))) }
}
