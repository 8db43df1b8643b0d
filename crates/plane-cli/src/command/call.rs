//! `plane call`

use std::convert::Infallible;
use std::future::{Future, pending};
use std::io::{self, Read, Write};
use std::time::Duration;

use clap::Args;
use http::{HeaderName, HeaderValue};
use plane_core::typed::Codec;
use plane_core::{EndpointId, InstanceId, Request};
use plane_manager::{EndpointClient, NetworkManager};
use serde::de::IgnoredAny;
use serde_json::Value;

use crate::exit::{Exit, Failure};
use crate::signals::Signals;
use crate::stderr::say;
use crate::units;

/// Makes one call and prints each message of its answer as a line of JSON, as it arrives.
///
/// Example: plane call dynamo.backend.generate '{"model": "echo", "prompt": "Hello!"}'
#[derive(Debug, Args)]
pub(super) struct CallArgs {
    /// What is called: namespace.component.endpoint
    endpoint: EndpointId,
    /// The request as JSON; - reads it from stdin.
    json: String,
    /// Time that the call may take as a whole.
    #[arg(long, default_value = "60s", value_name = "DURATION", value_parser = units::timeout)]
    timeout: Duration,
    /// A header of the request; may be repeated.
    #[arg(long, value_name = "NAME=VALUE", value_parser = header)]
    header: Vec<(HeaderName, HeaderValue)>,
    /// Calls just this instance.
    #[arg(long, value_name = "HEX")]
    instance: Option<InstanceId>,
}

/// How long nobody wonders why nothing happens.
const PATIENCE: Duration = Duration::from_secs(1);

fn header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once('=').ok_or("use NAME=VALUE")?;
    let name = name.trim().parse().map_err(|_| format!("{name:?} is no header name"))?;
    let value = HeaderValue::from_str(value).map_err(|_| format!("{value:?} is no header value"))?;
    Ok((name, value))
}

pub(super) async fn run(args: CallArgs, manager: &NetworkManager) -> Result<(), Failure> {
    let json = read_json(args.json)?;
    let mut signals = Signals::listen()?;
    let mut request = Request::new(args.endpoint.clone(), json).with_timeout(args.timeout);
    Codec::Json.tell(&mut request.headers);
    for (name, value) in args.header {
        request.headers.append(name, value);
    }
    let client = manager.client(args.endpoint);
    let client = match args.instance {
        Some(instance) => client.direct(instance),
        None => client,
    };
    let calling = async {
        let mut response = client.call(request).await?;
        let codec = Codec::of(&response.headers)?;
        while let Some(message) = response.next().await {
            print_line(&json_line(codec, &message?)?)?;
        }
        Ok(())
    };
    signals.unless(told_to_wait(&client, calling)).await?
}

/// Does `calling`, and says so if it has nobody to call for a while.
async fn told_to_wait<T>(client: &EndpointClient, calling: impl Future<Output = T>) -> T {
    let wait = async {
        if client.ready(PATIENCE).await.is_err() {
            say(format_args!("waiting for an instance of {}", client.endpoint()));
        }
        pending::<Infallible>().await
    };
    tokio::select! {
        done = calling => done,
        never = wait => match never {},
    }
}

fn read_json(argument: String) -> Result<String, Failure> {
    let json = if argument == "-" {
        let mut text = String::new();
        let read = io::stdin().read_to_string(&mut text);
        read.map_err(|error| Failure::usage(format!("cannot read the request from stdin: {error}")))?;
        text
    } else {
        argument
    };
    let refuse = |error| {
        let what =
            format!("the request is not JSON: {error}; quote it for the shell, as in '{{\"prompt\": \"Hello!\"}}'");
        Failure::usage(what)
    };
    serde_json::from_str::<IgnoredAny>(&json).map_err(refuse)?;
    Ok(json)
}

/// A message on one line. JSON that already is one line stays as it came.
fn json_line(codec: Codec, message: &[u8]) -> Result<String, Failure> {
    if let (Codec::Json, Ok(text)) = (codec, std::str::from_utf8(message))
        && !text.contains(['\n', '\r'])
        && serde_json::from_str::<IgnoredAny>(text).is_ok()
    {
        return Ok(text.to_owned());
    }
    let value: Value = codec.decode(message).map_err(plane_core::Error::from)?;
    Ok(value.to_string())
}

fn print_line(line: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let written = writeln!(out, "{line}").and_then(|()| out.flush());
    written.map_err(|error| Failure::new(Exit::Failed, format!("cannot write the answer to stdout: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_one_line_of_json() {
        assert_eq!(json_line(Codec::Json, b"{\"b\":1, \"a\":2}").unwrap(), "{\"b\":1, \"a\":2}");
        assert_eq!(json_line(Codec::Json, b"{\n \"a\": [1,\n 2]}").unwrap(), "{\"a\":[1,2]}");
        let packed = Codec::MsgPack.encode(&serde_json::json!({"a": "é"})).unwrap();
        assert_eq!(json_line(Codec::MsgPack, &packed).unwrap(), "{\"a\":\"é\"}");
        assert_eq!(json_line(Codec::Json, b"\xff").unwrap_err().exit(), Exit::Failed);
    }
}
