//! Where the server is and how to reach it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use reqwest::{Client, Url, redirect};
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt;

/// Which OpenAI-compatible server answers.
#[derive(Clone)]
pub struct OpenAiConfig {
    pub(super) upstream: Url,
    pub(super) model: Option<String>,
    pub(super) api_key: Option<String>,
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

impl OpenAiConfig {
    /// The server at `upstream`: `http://host:port`, with or without `/v1` behind it.
    ///
    /// # Errors
    /// A text that says what is wrong with the URL.
    pub fn new(upstream: &str) -> Result<Self, String> {
        let refuse =
            |problem: &str| format!("the upstream \"{upstream}\" {problem}; use http://host:port or https://host");
        let mut url: Url = upstream.parse().map_err(|error| refuse(&format!("is no URL ({error})")))?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err(refuse("is not an http or https URL"));
        }
        let path = url.path().trim_end_matches('/');
        // Joining a path below needs the slash at the end.
        let path = if path.is_empty() { "/v1/".to_owned() } else { format!("{path}/") };
        url.set_path(&path);
        Ok(Self { upstream: url, model: None, api_key: None })
    }

    /// Asks the server for this model instead of the one that the caller named.
    #[must_use]
    pub fn with_model(mut self, model: Option<String>) -> Self {
        self.model = model;
        self
    }

    /// Shows this key to the server.
    #[must_use]
    pub fn with_api_key(mut self, api_key: Option<String>) -> Self {
        self.api_key = api_key;
        self
    }

    pub(super) fn client(&self) -> Result<Client, String> {
        let tls = self.tls().map_err(|error| format!("cannot set up TLS for {}: {error}", self.upstream))?;
        Client::builder()
            .tls_backend_preconfigured(tls)
            .connect_timeout(CONNECT_TIMEOUT)
            // A redirected POST becomes a GET; an upstream that needs one is configured wrongly.
            .redirect(redirect::Policy::none())
            .build()
            .map_err(|error| format!("cannot set up the client for {}: {error}", self.upstream))
    }

    /// Passed in whole, because a provider of cryptography would otherwise have to be installed for the process.
    fn tls(&self) -> Result<ClientConfig, rustls::Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let builder = if self.upstream.scheme() == "https" {
            builder.with_platform_verifier()?
        } else {
            // A machine without certificates can still use plain HTTP.
            builder.with_root_certificates(RootCertStore::empty())
        };
        Ok(builder.with_no_client_auth())
    }
}

impl fmt::Debug for OpenAiConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenAiConfig").field("upstream", &self.upstream.as_str()).field("model", &self.model).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_added_where_it_is_missing() {
        let join = |upstream| OpenAiConfig::new(upstream).unwrap().upstream.join("completions").unwrap().to_string();
        assert_eq!(join("http://127.0.0.1:9000"), "http://127.0.0.1:9000/v1/completions");
        assert_eq!(join("http://127.0.0.1:9000/v1"), "http://127.0.0.1:9000/v1/completions");
        assert_eq!(join("https://host/proxy/v1/"), "https://host/proxy/v1/completions");
    }

    #[test]
    fn what_is_no_server_is_refused() {
        for upstream in ["", "localhost:9000", "ftp://host", "http://", "unix:///run/x"] {
            assert!(OpenAiConfig::new(upstream).is_err(), "{upstream:?}");
        }
    }
}
