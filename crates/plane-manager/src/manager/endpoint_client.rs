//! Calls to one endpoint, whichever instance answers.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use plane_core::{Address, Delivery, EndpointId, Error, ErrorKind, Instance, InstanceId, Request, Response};

use super::budget::RetryBudget;
use super::known::Known;
use super::retry::{ATTEMPTS, expired, may_go_elsewhere};
use super::{Inner, IntoRequest};
use crate::balance::InstancePicker;
use crate::config::NATS_DELIVERY;
use crate::discovery::{ANY_INSTANCE, InstanceSet};

/// Calls one endpoint, whichever instance answers. Clones share the turns of the instances and the budget of retries.
///
/// A call that certainly did not run ([`Delivery::NotSent`], [`Delivery::NotExecuted`]) goes to another instance, up to
/// three in all, unless the request is wrong in itself or its body is a stream. Retries are at most a tenth of the calls
/// in the long run.
#[derive(Clone)]
pub struct EndpointClient {
    manager: Arc<Inner>,
    shared: Arc<Shared>,
    pinned: Option<InstanceId>,
}

struct Shared {
    known: Known,
    picker: Arc<dyn InstancePicker>,
    budget: Arc<RetryBudget>,
}

/// Where one try goes. Cheap to copy out of the set, unlike an instance with its metadata.
struct Target {
    id: InstanceId,
    address: Address,
    /// The id was made up: whoever answers there is right.
    any: bool,
}

impl From<&Instance> for Target {
    fn from(instance: &Instance) -> Self {
        let any = instance.metadata.contains_key(ANY_INSTANCE);
        Self { id: instance.id, address: instance.address.clone(), any }
    }
}

impl EndpointClient {
    pub(super) fn new(manager: Arc<Inner>, endpoint: EndpointId) -> Self {
        let known = Known::new(endpoint, manager.discovery.clone(), manager.transports.reach());
        Self::of(manager, known, Arc::default())
    }

    fn of(manager: Arc<Inner>, known: Known, budget: Arc<RetryBudget>) -> Self {
        let shared = Shared { known, picker: (manager.new_picker)(), budget };
        Self { manager, shared: Arc::new(shared), pinned: None }
    }

    /// What is called.
    #[must_use]
    pub fn endpoint(&self) -> &EndpointId {
        self.shared.known.endpoint()
    }

    /// The instances that are known now and may be called.
    #[must_use]
    pub fn instances(&self) -> InstanceSet {
        self.shared.known.now()
    }

    /// A client that calls only the instances that `wanted` is true for, for example those whose metadata name a model.
    ///
    /// It gives each of them its turn, whatever others are called, and shares the budget of retries with this one.
    /// `wanted` is asked when the set changes, not for each call.
    #[must_use]
    pub fn only(&self, wanted: impl Fn(&Instance) -> bool + Send + Sync + 'static) -> Self {
        let only = Self::of(self.manager.clone(), self.shared.known.only(wanted), self.shared.budget.clone());
        Self { pinned: self.pinned, ..only }
    }

    /// The same client, calling just this instance. Nothing is retried elsewhere.
    #[must_use]
    pub fn direct(&self, instance: InstanceId) -> Self {
        Self { pinned: Some(instance), ..self.clone() }
    }

    /// Waits until an instance is known.
    ///
    /// # Errors
    /// `Unavailable` if there is none after `timeout`.
    ///
    /// # Cancel safety
    /// May be dropped and called again at any time.
    pub async fn ready(&self, timeout: Duration) -> Result<(), Error> {
        self.shared.known.ready(timeout).await
    }

    /// Calls the endpoint. Takes a [`Request`], or just a body.
    ///
    /// If no instance was ever seen, waits for the first up to the request timeout (`DYN_TCP_REQUEST_TIMEOUT`,
    /// `DYN_NATS_REQUEST_TIMEOUT`) and the deadline of the request. With `DYN_NATS_DELIVERY=jetstream` the request is stored
    /// instead, for whatever instance takes it, now or later.
    ///
    /// # Errors
    /// Any [`ErrorKind`]; `Unavailable` with [`Delivery::NotSent`] if there is no instance, `NotFound` if a
    /// [`direct`](Self::direct) one is not there, `InvalidArgument` for a request to another endpoint.
    ///
    /// # Cancel safety
    /// Dropping the future aborts the call.
    pub async fn call(&self, request: impl IntoRequest) -> Result<Response, Error> {
        let mut request = request.into_request(self.endpoint());
        if request.endpoint != *self.endpoint() {
            let what = format!("a client of {} cannot call {}", self.endpoint(), request.endpoint);
            return Err(Error::new(ErrorKind::InvalidArgument, Delivery::NotSent, what));
        }
        if let Some(store) = self.manager.transports.store() {
            return self.send_stored(&store, request).await;
        }
        self.shared.budget.earn();
        self.shared.known.first(self.manager.config.request_timeout(), request.deadline).await?;
        let mut tried = Vec::new();
        let mut target = self.pick(request.instance)?;
        loop {
            let spare = self.spare(&request, tried.len());
            let error = match self.send(&target, request).await {
                Err(error) if may_go_elsewhere(&error) => error,
                ended => return ended,
            };
            tried.push(target.id);
            (target, request) = self.another_try(spare, &tried).ok_or(error)?;
            tracing::debug!(endpoint = %self.endpoint(), "the call goes to another instance");
        }
    }

    /// Whoever takes the request out of the store runs it, now or later: it is not a matter of who is there.
    async fn send_stored(&self, store: &Address, request: Request) -> Result<Response, Error> {
        if self.pinned.or(request.instance).is_some() || self.shared.known.is_narrow() {
            let what = format!(
                "a stored request ({NATS_DELIVERY}=jetstream) goes to any instance of {}: it cannot name one",
                self.endpoint()
            );
            return Err(Error::new(ErrorKind::InvalidArgument, Delivery::NotSent, what));
        }
        self.manager.transports.client(store)?.call(store, request).await
    }

    /// A copy of the request for another try, unless it can be sent only once, here or at all.
    fn spare(&self, request: &Request, tried: usize) -> Option<Request> {
        let may_retry = tried + 1 < ATTEMPTS && self.pinned.or(request.instance).is_none();
        if may_retry { request.try_clone() } else { None }
    }

    async fn send(&self, target: &Target, mut request: Request) -> Result<Response, Error> {
        request.instance = (!target.any).then_some(target.id);
        self.manager.transports.client(&target.address)?.call(&target.address, request).await
    }

    /// The request and an instance that it has not been to, unless there is none, no time, or too much is retried.
    fn another_try(&self, spare: Option<Request>, tried: &[InstanceId]) -> Option<(Target, Request)> {
        let request = spare.filter(|request| expired(self.endpoint(), request.deadline).is_none())?;
        let instances = self.instances();
        let instance = self.shared.picker.pick(&instances, tried)?;
        self.shared.budget.spend().then(|| (instance.into(), request))
    }

    fn pick(&self, wanted: Option<InstanceId>) -> Result<Target, Error> {
        let instances = self.instances();
        let Shared { known, picker, .. } = &*self.shared;
        let target = match self.pinned.or(wanted) {
            Some(id) => instances.iter().find(|instance| instance.id == id).ok_or_else(|| known.not_this(id)),
            None => picker.pick(&instances, &[]).ok_or_else(|| known.nobody(None)),
        };
        target.map(Target::from)
    }
}

impl fmt::Debug for EndpointClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EndpointClient")
            .field("endpoint", self.endpoint())
            .field("instances", &self.instances())
            .field("pinned", &self.pinned)
            .finish_non_exhaustive()
    }
}
