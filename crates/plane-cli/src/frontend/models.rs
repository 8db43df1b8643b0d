//! Which models there are, and calls to the workers that serve one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, StatusCode};
use parking_lot::Mutex;
use plane_core::typed::{self, Codec, TypedResponse};
use plane_core::{EndpointId, Error, ErrorKind, Instance, Request};
use plane_manager::{EndpointClient, InstancePicker, InstanceSet, NetworkManager, RoundRobin};

use crate::generate::{GenerateChunk, GenerateRequest};
use crate::openai::ApiError;
use crate::worker::MODEL;

/// How many workers one call tries at most.
const ATTEMPTS: usize = 3;

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
    models: BTreeMap<String, Model>,
}

/// A model that has, or once had, a worker.
#[derive(Debug, Clone, Default)]
struct Model {
    workers: Arc<[Instance]>,
    picker: Arc<RoundRobin>,
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
        let live = |(name, model): (&String, &Model)| Some((name.clone(), model.workers.len())).filter(|(_, n)| *n > 0);
        self.with_table(|models| models.iter().filter_map(live).collect())
    }

    /// Asks a worker of the request's model, and another one if the call certainly did not run.
    pub(super) async fn ask(
        &self,
        asked: &GenerateRequest,
        headers: HeaderMap,
        timeout: Duration,
    ) -> Result<TypedResponse<GenerateChunk>, ApiError> {
        let model = self.find(&asked.model)?;
        let mut request = typed::request(self.endpoint().clone(), asked, Codec::MsgPack)?.with_timeout(timeout);
        request.headers.extend(headers);
        let mut tried = Vec::new();
        loop {
            let spare = request.try_clone();
            let Some(worker) = model.picker.pick(&model.workers, &tried) else { return Err(gone(&asked.model)) };
            tried.push(worker.id);
            match (self.send(worker, request).await, spare) {
                (Ok(response), _) => return Ok(response),
                (Err(error), Some(spare)) if tried.len() < ATTEMPTS && may_go_elsewhere(&error) => {
                    if tried.len() == model.workers.len() {
                        return Err(error.into());
                    }
                    request = spare;
                }
                (Err(error), _) => return Err(error.into()),
            }
        }
    }

    async fn send(&self, worker: &Instance, mut request: Request) -> Result<TypedResponse<GenerateChunk>, Error> {
        request.instance = Some(worker.id);
        TypedResponse::new(self.client.call(request).await?)
    }

    fn find(&self, name: &str) -> Result<Model, ApiError> {
        self.with_table(|models| match models.get(name) {
            Some(model) if !model.workers.is_empty() => Ok(model.clone()),
            Some(_) => Err(gone(name)),
            None => Err(unknown(name, models)),
        })
    }

    fn with_table<T>(&self, read: impl FnOnce(&BTreeMap<String, Model>) -> T) -> T {
        let now = self.client.instances();
        let mut table = self.table.lock();
        if !Arc::ptr_eq(&table.seen, &now) {
            table.refresh(now, self.default_model.as_ref());
        }
        read(&table.models)
    }
}

impl Table {
    fn refresh(&mut self, now: InstanceSet, default_model: Option<&String>) {
        let mut workers: BTreeMap<&str, Vec<Instance>> = BTreeMap::new();
        for instance in now.iter() {
            if let Some(model) = instance.metadata.get(MODEL).or(default_model) {
                workers.entry(model).or_default().push(instance.clone());
            }
        }
        let names: BTreeSet<String> =
            self.models.keys().cloned().chain(workers.keys().map(|name| (*name).to_owned())).collect();
        for name in names {
            let live = workers.remove(name.as_str()).unwrap_or_default();
            self.models.entry(name).or_default().workers = live.into();
        }
        self.seen = now;
    }
}

/// Whether another worker may answer where this one did not, without the call running twice.
fn may_go_elsewhere(error: &Error) -> bool {
    let same_everywhere =
        matches!(error.kind(), ErrorKind::InvalidArgument | ErrorKind::MessageTooLarge | ErrorKind::Codec);
    error.delivery().is_retry_safe() && !same_everywhere
}

fn unknown(name: &str, models: &BTreeMap<String, Model>) -> ApiError {
    let live: Vec<&str> =
        models.iter().filter(|(_, model)| !model.workers.is_empty()).map(|(name, _)| name.as_str()).collect();
    if live.is_empty() {
        return unavailable(format!("no model has a live worker, {name:?} neither; start one with `plane worker`"));
    }
    let what = format!("the model {name:?} does not exist; available: {}", live.join(", "));
    ApiError::new(StatusCode::NOT_FOUND, Some("model_not_found"), what).with_param("model")
}

fn gone(name: &str) -> ApiError {
    unavailable(format!("the model {name:?} has no live worker left"))
}

fn unavailable(what: String) -> ApiError {
    ApiError::new(StatusCode::SERVICE_UNAVAILABLE, Some("unavailable"), what).with_retry_after(Duration::from_secs(1))
}
