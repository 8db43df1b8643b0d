//! An HTTP client's view of the frontend.

use std::sync::Arc;

use reqwest::{Client, Response};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;

/// A client that needs no certificates.
pub(crate) fn http_client() -> Client {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let tls = tls.with_root_certificates(RootCertStore::empty()).with_no_client_auth();
    Client::builder().tls_backend_preconfigured(tls).build().unwrap()
}

/// The events of a streamed answer, as they arrive.
pub(crate) struct Events {
    response: Response,
    unread: String,
}

impl Events {
    pub(crate) fn of(response: Response) -> Self {
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { response, unread: String::new() }
    }

    /// The next event's name and data; `None` at the clean end, an error at any other.
    pub(crate) async fn next(&mut self) -> Result<Option<(String, String)>, reqwest::Error> {
        loop {
            if let Some((event, rest)) = self.unread.split_once("\n\n") {
                let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
                let found = (field("event: ").to_owned(), field("data: ").to_owned());
                self.unread = rest.to_owned();
                return Ok(Some(found));
            }
            match self.response.chunk().await? {
                Some(bytes) => self.unread.push_str(std::str::from_utf8(&bytes).unwrap()),
                None => return Ok(None),
            }
        }
    }

    /// The next event's data as JSON; it must be an ordinary event.
    pub(crate) async fn json(&mut self) -> Value {
        let (name, data) = self.next().await.unwrap().expect("an event");
        assert_eq!(name, "");
        serde_json::from_str(&data).unwrap()
    }

    /// The data of all events up to the clean end.
    pub(crate) async fn rest(mut self) -> Vec<String> {
        let mut all = Vec::new();
        while let Some((name, data)) = self.next().await.unwrap() {
            assert_eq!(name, "");
            all.push(data);
        }
        all
    }
}
