//! Each registration as a service of the NATS micro protocol, so that `nats micro` finds it
//! (docs/nats.md, "Finding services").

use std::sync::Arc;
use std::time::SystemTime;

use async_nats::{Client, Message, SubscribeError, Subscriber};
use futures_util::StreamExt;
use futures_util::stream::select_all;
use plane_core::{Instance, Registration, Tallied, Tally};
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::sync::{oneshot, watch};

use super::core::Core;
use super::{Closing, QUEUE};
use crate::connection::Outbound;
use crate::subject;

/// What every service's subjects begin with.
const SERVICES: &str = "$SRV";

/// As much of an error's text is shown.
const SHOWN_ERROR: usize = 256;

/// What one registration says of itself.
pub(super) struct Service {
    identity: Identity,
    endpoint: Endpoint,
    description: String,
    started: String,
    tally: Tally,
}

/// A service, and what asks about it until it ends.
pub(super) struct Questions {
    service: Service,
    subscribers: [Subscriber; 3],
    unregistered: oneshot::Receiver<()>,
}

/// What every answer begins with.
#[derive(Serialize)]
struct Identity {
    name: String,
    id: String,
    version: &'static str,
    metadata: Metadata,
}

#[derive(Serialize)]
struct Metadata {
    endpoint: String,
    instance: String,
    server: String,
    plane: &'static str,
}

#[derive(Serialize)]
struct Endpoint {
    name: String,
    subject: String,
    queue_group: &'static str,
}

#[derive(Serialize)]
struct Answer<'a, Rest: Serialize> {
    r#type: &'static str,
    #[serde(flatten)]
    identity: &'a Identity,
    #[serde(flatten)]
    rest: Rest,
}

#[derive(Serialize)]
struct Nothing {}

#[derive(Serialize)]
struct Info<'a> {
    description: &'a str,
    endpoints: [&'a Endpoint; 1],
}

#[derive(Serialize)]
struct Stats<'a> {
    started: &'a str,
    endpoints: [EndpointStats<'a>; 1],
}

#[derive(Serialize)]
struct EndpointStats<'a> {
    #[serde(flatten)]
    endpoint: &'a Endpoint,
    num_requests: u64,
    num_errors: u64,
    last_error: String,
    /// In nanoseconds, as is the next.
    processing_time: u64,
    average_processing_time: u64,
}

impl Service {
    pub(super) fn new(core: &Core, registration: &Registration) -> Self {
        let Instance { endpoint, id, .. } = registration.instance();
        let prefix = &core.connection().config().prefix;
        let version = env!("CARGO_PKG_VERSION");
        let metadata = Metadata {
            endpoint: endpoint.to_string(),
            instance: id.to_string(),
            server: core.address().to_owned(),
            plane: version,
        };
        let (namespace, component, name) = (endpoint.namespace(), endpoint.component(), endpoint.endpoint());
        // The names of services have no dots.
        let identity =
            Identity { name: format!("{namespace}-{component}-{name}"), id: id.to_string(), version, metadata };
        let subject = subject::call(prefix, endpoint, None);
        // A clock before the year 0 or after 9999 is not worth an error.
        let started = OffsetDateTime::from(SystemTime::now()).format(&Rfc3339).unwrap_or_default();
        Self {
            identity,
            endpoint: Endpoint { name: name.to_owned(), subject, queue_group: QUEUE },
            description: format!("{endpoint} on the request plane {prefix}"),
            started,
            tally: registration.tally().clone(),
        }
    }

    /// Listens for questions to all services, to those of this name, and to this one.
    pub(super) async fn listen(
        self,
        client: &Client,
        unregistered: oneshot::Receiver<()>,
    ) -> Result<Questions, SubscribeError> {
        let Identity { name, id, .. } = &self.identity;
        let subscribers = [
            client.subscribe(format!("{SERVICES}.*")).await?,
            client.subscribe(format!("{SERVICES}.*.{name}")).await?,
            client.subscribe(format!("{SERVICES}.*.{name}.{id}")).await?,
        ];
        Ok(Questions { service: self, subscribers, unregistered })
    }

    async fn answer(&self, core: &Core, question: Message) {
        let verb = question.subject.split('.').nth(1).unwrap_or_default();
        let (Some(payload), Some(subject)) = (self.say(verb), question.reply) else { return };
        let answer = Outbound { subject, reply: None, headers: None, payload: payload.into() };
        if let Err(error) = core.connection().publish(answer).await {
            // Whoever asked asks again.
            tracing::debug!(%error, "a question about services was not answered");
        }
    }

    /// The answer to a question; `None` to one that this version of the protocol does not know.
    fn say(&self, verb: &str) -> Option<Vec<u8>> {
        match verb {
            "PING" => self.with("io.nats.micro.v1.ping_response", Nothing {}),
            "INFO" => {
                let info = Info { description: &self.description, endpoints: [&self.endpoint] };
                self.with("io.nats.micro.v1.info_response", info)
            }
            "STATS" => {
                let endpoints = [EndpointStats::new(&self.endpoint, self.tally.read())];
                self.with("io.nats.micro.v1.stats_response", Stats { started: &self.started, endpoints })
            }
            _ => None,
        }
    }

    fn with(&self, kind: &'static str, rest: impl Serialize) -> Option<Vec<u8>> {
        // Names and numbers can always be written.
        serde_json::to_vec(&Answer { r#type: kind, identity: &self.identity, rest }).ok()
    }
}

impl Questions {
    /// Answers questions, one after the other, until the registration or the server ends.
    pub(super) async fn run(self, core: Arc<Core>, mut closing: watch::Receiver<Closing>) {
        let Self { service, subscribers, unregistered } = self;
        let answering = async {
            let mut questions = select_all(subscribers);
            while let Some(question) = questions.next().await {
                service.answer(&core, question).await;
            }
        };
        tokio::select! {
            () = answering => {}
            _ = unregistered => {}
            // A server that is gone is as good as one that drains.
            _ = closing.wait_for(|closing| *closing >= Closing::Draining) => {}
        }
    }
}

impl<'a> EndpointStats<'a> {
    fn new(endpoint: &'a Endpoint, tallied: Tallied) -> Self {
        let processing_time = u64::try_from(tallied.took.as_nanos()).unwrap_or(u64::MAX);
        let last_error = tallied.last_failure.map(|status| status.to_string().chars().take(SHOWN_ERROR).collect());
        Self {
            endpoint,
            num_requests: tallied.started,
            num_errors: tallied.failed,
            last_error: last_error.unwrap_or_default(),
            processing_time,
            average_processing_time: processing_time.checked_div(tallied.started).unwrap_or(0),
        }
    }
}
