//! What the frontend counts ([`Metrics`]), and the watch over one request ([`Observed`]).

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use http::StatusCode;
use plane_manager::NetworkManager;
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use super::calls::Calls;
use crate::generate::Usage;
use crate::openai::Route;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: &'static str,
    code: u16,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    route: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TokenLabels {
    kind: &'static str,
}

/// What the frontend counts. Every request ends in exactly one outcome: `ok`, `error` or `cancelled`.
pub(super) struct Metrics {
    registry: Registry,
    series: Arc<Series>,
}

struct Series {
    requests: Family<RequestLabels, Counter>,
    in_flight: Gauge,
    first_token: Family<RouteLabels, Histogram>,
    duration: Family<RouteLabels, Histogram>,
    tokens: Family<TokenLabels, Counter>,
}

/// 1 ms to 262 s, each bucket twice the one before.
fn latency() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 2.0, 19))
}

impl Metrics {
    /// Those of a frontend that calls workers by this manager.
    pub(super) fn new(manager: &NetworkManager) -> Self {
        let series = Series {
            requests: Family::default(),
            in_flight: Gauge::default(),
            first_token: Family::new_with_constructor(latency),
            duration: Family::new_with_constructor(latency),
            tokens: Family::default(),
        };
        let mut registry = Registry::with_prefix("plane_frontend");
        registry.register("requests", "Requests that have ended", series.requests.clone());
        registry.register("requests_in_flight", "Requests that have not ended", series.in_flight.clone());
        let help = "Time from a request to the first text of its answer";
        registry.register_with_unit("time_to_first_token", help, Unit::Seconds, series.first_token.clone());
        let help = "Time from a request to the end of its answer";
        registry.register_with_unit("request_duration", help, Unit::Seconds, series.duration.clone());
        registry.register("tokens", "Tokens, as the workers counted them", series.tokens.clone());
        let unverified: Gauge = Gauge::default();
        unverified.set(manager.config().tcp.tls.insecure_skip_verify.into());
        let help = "1 if DYN_TCP_TLS_INSECURE_SKIP_VERIFY takes every worker at its word, else 0";
        registry.register("tls_unverified", help, unverified);
        registry.register_collector(Box::new(Calls(manager.clone())));
        Self { registry, series: Arc::new(series) }
    }

    /// Begins the watch over one request.
    pub(super) fn observe(&self, route: Route) -> Observed {
        self.series.in_flight.inc();
        Observed {
            series: self.series.clone(),
            route: route.path(),
            began: Instant::now(),
            spoke: false,
            code: StatusCode::OK,
            outcome: "cancelled",
        }
    }

    /// All of it in the text format.
    pub(super) fn render(&self) -> Result<String, fmt::Error> {
        let mut out = String::new();
        text::encode(&mut out, &self.registry)?;
        Ok(out)
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

/// The watch over one request. Dropped before an end was told, the request counts as cancelled by its client.
pub(super) struct Observed {
    series: Arc<Series>,
    route: &'static str,
    began: Instant,
    spoke: bool,
    code: StatusCode,
    outcome: &'static str,
}

impl Observed {
    /// Text was sent.
    pub(super) fn text(&mut self) {
        if !std::mem::replace(&mut self.spoke, true) {
            let labels = RouteLabels { route: self.route };
            self.series.first_token.get_or_create(&labels).observe(self.began.elapsed().as_secs_f64());
        }
    }

    /// The answer ended well.
    pub(super) fn complete(mut self, usage: Option<Usage>) {
        self.outcome = "ok";
        if let Some(usage) = usage {
            for (kind, tokens) in [("prompt", usage.prompt_tokens), ("completion", usage.completion_tokens)] {
                self.series.tokens.get_or_create(&TokenLabels { kind }).inc_by(tokens.into());
            }
        }
    }

    /// The answer is an error, or ended with one.
    pub(super) fn fail(mut self, code: StatusCode) {
        self.outcome = "error";
        self.code = code;
    }
}

/// What a client that went away would have been told, by the convention of nginx.
const CLIENT_CLOSED_REQUEST: u16 = 499;

impl Drop for Observed {
    fn drop(&mut self) {
        let Self { route, outcome, .. } = *self;
        let code = if outcome == "cancelled" { CLIENT_CLOSED_REQUEST } else { self.code.as_u16() };
        self.series.in_flight.dec();
        self.series.requests.get_or_create(&RequestLabels { route, code, outcome }).inc();
        let elapsed = self.began.elapsed().as_secs_f64();
        self.series.duration.get_or_create(&RouteLabels { route }).observe(elapsed);
    }
}

impl fmt::Debug for Observed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observed").field("route", &self.route).field("began", &self.began).finish_non_exhaustive()
    }
}
