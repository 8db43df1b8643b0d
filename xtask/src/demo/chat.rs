//! A streamed chat completion over HTTP.

use std::io::{BufRead, BufReader, Read};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

const HEALTHY_WITHIN: Duration = Duration::from_secs(15);
/// No answer of the demo takes longer; a hang must end.
const ANSWERED_WITHIN: Duration = Duration::from_secs(60);

/// The HTTP side of a frontend.
#[derive(Debug)]
pub(super) struct Frontend {
    agent: ureq::Agent,
    url: String,
}

/// What an answer brings.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event {
    Text(String),
    /// The answer was broken off; the text says why.
    Error(String),
    /// The orderly end.
    Done,
}

impl Frontend {
    pub(super) fn new(url: String) -> Self {
        let config = ureq::Agent::config_builder().http_status_as_error(false);
        Self { agent: config.timeout_global(Some(ANSWERED_WITHIN)).build().into(), url }
    }

    /// Asks `/health` until a model is live.
    pub(super) fn wait_until_healthy(&self) -> Result<()> {
        let url = format!("{}/health", self.url);
        let started = Instant::now();
        loop {
            let said = match self.agent.get(&url).call() {
                Ok(response) if response.status() == 200 => return Ok(()),
                Ok(response) => format!("{} says {}", url, response.status()),
                Err(error) => format!("{url}: {error}"),
            };
            ensure!(started.elapsed() < HEALTHY_WITHIN, "no model within {} s: {said}", HEALTHY_WITHIN.as_secs());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Starts a streamed chat completion.
    pub(super) fn ask(&self, model: &str, prompt: &str) -> Result<Answer> {
        let body = json!({"model": model, "stream": true, "messages": [{"role": "user", "content": prompt}]});
        let url = format!("{}/v1/chat/completions", self.url);
        let started = Instant::now();
        let request = self.agent.post(&url).content_type("application/json");
        let mut response = request.send(body.to_string()).with_context(|| format!("POST {url}"))?;
        if response.status() != 200 {
            let text = response.body_mut().read_to_string().unwrap_or_default();
            bail!("POST {url}: {} {text}", response.status());
        }
        Ok(Answer::new(Box::new(response.into_body().into_reader()), started))
    }
}

/// An answer as it arrives.
pub(super) struct Answer {
    body: BufReader<Box<dyn Read>>,
    started: Instant,
    arrivals: Vec<Duration>,
    text: String,
    is_ended: bool,
}

impl Answer {
    fn new(body: Box<dyn Read>, started: Instant) -> Self {
        Self { body: BufReader::new(body), started, arrivals: Vec::new(), text: String::new(), is_ended: false }
    }

    /// The next event, `None` after the end of the stream.
    pub(super) fn next(&mut self) -> Result<Option<Event>> {
        let mut data = String::new();
        let mut line = String::new();
        while !self.is_ended {
            line.clear();
            // A connection that is broken off after an error event is how that ends; without one it shows as `None`.
            let read = self.body.read_line(&mut line).unwrap_or(0);
            match line.trim_end() {
                _ if read == 0 => break,
                "" if data.is_empty() => {}
                "" => match self.event(&data)? {
                    Some(event) => return Ok(Some(event)),
                    None => data.clear(),
                },
                line => data.extend(line.strip_prefix("data:").map(str::trim_start)),
            }
        }
        self.is_ended = true;
        Ok(None)
    }

    fn event(&mut self, data: &str) -> Result<Option<Event>> {
        if data == "[DONE]" {
            self.is_ended = true;
            return Ok(Some(Event::Done));
        }
        let value: Value = serde_json::from_str(data).with_context(|| format!("an event is no JSON: {data}"))?;
        if let Some(error) = value.get("error") {
            let message = error["message"].as_str().map_or_else(|| error.to_string(), str::to_owned);
            return Ok(Some(Event::Error(message)));
        }
        let text = value["choices"][0]["delta"]["content"].as_str().filter(|text| !text.is_empty());
        Ok(text.map(|text| {
            self.arrivals.push(self.started.elapsed());
            self.text.push_str(text);
            Event::Text(text.to_owned())
        }))
    }

    /// How many events with text came.
    pub(super) fn tokens(&self) -> usize {
        self.arrivals.len()
    }

    /// When the first text came, from the request on.
    pub(super) fn first(&self) -> Duration {
        self.arrivals.first().copied().unwrap_or_default()
    }

    /// When the last text came, from the request on.
    pub(super) fn last(&self) -> Duration {
        self.arrivals.last().copied().unwrap_or_default()
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(body: &'static str) -> Vec<Option<Event>> {
        let mut answer = Answer::new(Box::new(body.as_bytes()), Instant::now());
        std::iter::from_fn(|| Some(answer.next().unwrap())).take(4).collect()
    }

    #[test]
    fn text_an_end_and_nothing_after() {
        let body = "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\"}}]}\n\n: ping\n\n\
            data: {\"choices\":[{\"delta\":{\"content\":\"hi\"}}]}\r\n\r\ndata: [DONE]\n\ndata: x\n\n";
        assert_eq!(events(body), [Some(Event::Text("hi".into())), Some(Event::Done), None, None]);
    }

    #[test]
    fn an_error_event_is_an_end_and_silence_is_none() {
        let body = "event: error\ndata: {\"error\":{\"message\":\"gone\"}}\n\n";
        assert_eq!(events(body), [Some(Event::Error("gone".into())), None, None, None]);
        assert_eq!(events("data: {\"choices\":[]}\n\ndata: [DO"), [None, None, None, None]);
    }
}
