//! Which models there are, and calls to the workers that serve one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, StatusCode};
use parking_lot::Mutex;
use plane_core::EndpointId;
use plane_core::typed::{self, Codec, TypedResponse};
use plane_manager::{EndpointClient, InstanceSet, NetworkManager};

use crate::generate::{GenerateChunk, GenerateRequest};
use crate::openai::ApiError;
use crate::worker::MODEL;

/// The models that the workers of one endpoint serve.
#[derive(Debug)]
pub(super) struct Models {
    client: EndpointClient,
    default_model: Option<String>,
    table: Mutex<Table>,
}

/// What is made of the last set of instances that was seen.
#[derive(Debug)]
struct Table {
    seen: InstanceSet,
    /// A client of the workers of each model that has, or once had, one.
    models: BTreeMap<String, EndpointClient>,
}

impl Models {
    pub(super) fn new(manager: &NetworkManager, endpoint: EndpointId, default_model: Option<String>) -> Self {
        let table = Table { seen: Arc::default(), models: BTreeMap::new() };
        Self { client: manager.client(endpoint), default_model, table: Mutex::new(table) }
    }

    pub(super) fn endpoint(&self) -> &EndpointId {
        self.client.endpoint()
    }

    /// Each model that has a worker, and how many it has.
    pub(super) fn live(&self) -> BTreeMap<String, usize> {
        let workers = |(name, client): (&String, &EndpointClient)| (name.clone(), client.instances().len());
        self.with_table(|models| models.iter().map(workers).filter(|(_, workers)| *workers > 0).collect())
    }

    /// Asks a worker of the request's model.
    pub(super) async fn ask(
        &self,
        asked: &GenerateRequest,
        headers: HeaderMap,
        timeout: Duration,
    ) -> Result<TypedResponse<GenerateChunk>, ApiError> {
        let workers = self.find(&asked.model)?;
        let mut request = typed::request(self.endpoint().clone(), asked, Codec::MsgPack)?.with_timeout(timeout);
        request.headers.extend(headers);
        Ok(TypedResponse::new(workers.call(request).await?)?)
    }

    fn find(&self, name: &str) -> Result<EndpointClient, ApiError> {
        let known = self.with_table(|models| models.get(name).cloned());
        match known {
            Some(workers) if !workers.instances().is_empty() => Ok(workers),
            Some(_) => Err(unavailable(format!("the model {name:?} has no live worker left"))),
            None => Err(self.unknown(name)),
        }
    }

    fn unknown(&self, name: &str) -> ApiError {
        let live = Vec::from_iter(self.live().into_keys()).join(", ");
        if live.is_empty() {
            return unavailable(format!("no model has a live worker, {name:?} neither; start one with `plane worker`"));
        }
        let what = format!("the model {name:?} does not exist; available: {live}");
        ApiError::new(StatusCode::NOT_FOUND, Some("model_not_found"), what).with_param("model")
    }

    fn with_table<T>(&self, read: impl FnOnce(&BTreeMap<String, EndpointClient>) -> T) -> T {
        let now = self.client.instances();
        let mut table = self.table.lock();
        if !Arc::ptr_eq(&table.seen, &now) {
            for instance in now.iter() {
                if let Some(name) = instance.metadata.get(MODEL).or(self.default_model.as_ref())
                    && !table.models.contains_key(name)
                {
                    table.models.insert(name.clone(), self.workers_of(name));
                }
            }
            table.seen = now;
        }
        read(&table.models)
    }

    fn workers_of(&self, name: &str) -> EndpointClient {
        let (name, default_model) = (name.to_owned(), self.default_model.clone());
        self.client.only(move |worker| worker.metadata.get(MODEL).or(default_model.as_ref()) == Some(&name))
    }
}

fn unavailable(what: String) -> ApiError {
    ApiError::new(StatusCode::SERVICE_UNAVAILABLE, Some("unavailable"), what).with_retry_after(Duration::from_secs(1))
}
