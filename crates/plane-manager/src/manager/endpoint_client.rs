//! Calls to one endpoint, whichever instance answers.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use plane_core::{Address, Delivery, EndpointId, Error, ErrorKind, Instance, InstanceId, Request, Response};
use tokio::time::Instant;

use super::budget::RetryBudget;
use super::retry::{ATTEMPTS, expired, may_go_elsewhere};
use super::selection::Selection;
use super::{Inner, IntoRequest};
use crate::balance::InstancePicker;
use crate::discovery::{ANY_INSTANCE, InstanceSet, InstanceWatch};

/// Calls one endpoint, whichever instance answers. Clones share the turns of the instances and the budget of retries.
///
/// A call that certainly did not run ([`Delivery::NotSent`], [`Delivery::NotExecuted`]) goes to another instance, up to
/// three in all, unless the request is wrong in itself or its body is a stream. Retries are at most a tenth of the calls
/// in the long run.
#[derive(Clone)]
pub struct EndpointClient {
    manager: Arc<Inner>,
    shared: Arc<Shared>,
    watch: InstanceWatch,
    pinned: Option<InstanceId>,
}

struct Shared {
    endpoint: EndpointId,
    picker: Arc<dyn InstancePicker>,
    budget: Arc<RetryBudget>,
    selection: Option<Selection>,
    /// Whether there ever was an instance. If so, none now means that they are gone, not that they are still to come.
    seen: AtomicBool,
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

impl Shared {
    fn may_call(&self, instance: &Instance) -> bool {
        self.selection.as_ref().is_none_or(|selection| selection.contains(instance))
    }
}

impl EndpointClient {
    pub(super) fn new(manager: Arc<Inner>, endpoint: EndpointId) -> Self {
        let watch = manager.discovery.watch(&endpoint);
        let shared = Shared {
            endpoint,
            picker: (manager.new_picker)(),
            budget: Arc::default(),
            selection: None,
            seen: AtomicBool::new(false),
        };
        Self { manager, shared: Arc::new(shared), watch, pinned: None }
    }

    /// What is called.
    #[must_use]
    pub fn endpoint(&self) -> &EndpointId {
        &self.shared.endpoint
    }

    /// The instances that are known now and may be called.
    #[must_use]
    pub fn instances(&self) -> InstanceSet {
        let all = self.watch.borrow().clone();
        match &self.shared.selection {
            Some(selection) => selection.of(&all),
            None => all,
        }
    }

    /// A client that calls only the instances that `wanted` is true for, for example those whose metadata name a model.
    ///
    /// It gives each of them its turn, whatever others are called, and shares the budget of retries with this one. It
    /// asks `wanted` once per change of the set, about each instance.
    #[must_use]
    pub fn only(&self, wanted: impl Fn(&Instance) -> bool + Send + Sync + 'static) -> Self {
        let outer = self.shared.clone();
        let both = move |instance: &Instance| outer.may_call(instance) && wanted(instance);
        let shared = Shared {
            endpoint: self.endpoint().clone(),
            picker: (self.manager.new_picker)(),
            budget: self.shared.budget.clone(),
            selection: Some(Selection::new(both)),
            seen: AtomicBool::new(false),
        };
        let only = Self { shared: Arc::new(shared), ..self.clone() };
        only.look();
        only
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
        let mut watch = self.watch.clone();
        let wanted = |instance: &Instance| self.shared.may_call(instance);
        // Whether it was in time shows in the set.
        let _ = tokio::time::timeout(timeout, watch.wait_for(|all| all.iter().any(wanted))).await;
        if self.look().is_empty() { Err(self.nobody(Some(timeout))) } else { Ok(()) }
    }

    /// Calls the endpoint. Takes a [`Request`], or just a body.
    ///
    /// If no instance was ever seen, waits for the first up to the request timeout (`DYN_TCP_REQUEST_TIMEOUT`) and the
    /// deadline of the request.
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
        self.shared.budget.earn();
        self.wait_for_first(request.deadline).await?;
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
        let instances = self.look();
        let instance = self.shared.picker.pick(&instances, tried)?;
        self.shared.budget.spend().then(|| (instance.into(), request))
    }

    fn pick(&self, wanted: Option<InstanceId>) -> Result<Target, Error> {
        let instances = self.look();
        let Some(id) = self.pinned.or(wanted) else {
            return self.shared.picker.pick(&instances, &[]).map(Target::from).ok_or_else(|| self.nobody(None));
        };
        instances.iter().find(|instance| instance.id == id).map(Target::from).ok_or_else(|| {
            let place = self.manager.discovery.describe();
            let what = format!("{} has no instance {id}; looked in {place}", self.endpoint());
            Error::new(ErrorKind::NotFound, Delivery::NotSent, what)
        })
    }

    /// The instances that are known now; remembers whether there were any.
    fn look(&self) -> InstanceSet {
        let instances = self.instances();
        if !instances.is_empty() && !self.shared.seen.load(Ordering::Relaxed) {
            self.shared.seen.store(true, Ordering::Relaxed);
        }
        instances
    }

    /// Takes no `&Request`: held across an await, it would keep the future of a call from being `Send`.
    async fn wait_for_first(&self, deadline: Option<std::time::Instant>) -> Result<(), Error> {
        if let Some(expired) = expired(self.endpoint(), deadline) {
            return Err(expired);
        }
        if !self.look().is_empty() {
            return Ok(());
        }
        if self.shared.seen.load(Ordering::Relaxed) {
            return Err(self.nobody(None));
        }
        let patience = self.manager.config.tcp.request_timeout;
        let remaining = deadline.map(|at| Instant::from_std(at).saturating_duration_since(Instant::now()));
        let ready = self.ready(remaining.map_or(patience, |remaining| remaining.min(patience))).await;
        ready.map_err(|nobody| match expired(self.endpoint(), deadline) {
            // Late, and this is why.
            Some(_) => Error::new(ErrorKind::DeadlineExceeded, Delivery::NotSent, nobody.to_string()),
            None => nobody,
        })
    }

    fn nobody(&self, waited: Option<Duration>) -> Error {
        let (endpoint, place) = (self.endpoint(), self.manager.discovery.describe());
        let whole_millis = |time: Duration| Duration::from_secs_f64((time.as_secs_f64() * 1e3).ceil() / 1e3);
        let waited = waited.map_or_else(String::new, |time| format!(" within {:?}", whole_millis(time)));
        let wanted = if self.shared.selection.is_some() { "wanted " } else { "" };
        let what = format!(
            "no {wanted}instance of {endpoint} was found{waited}; looked in {place}. Start one that uses the same discovery"
        );
        Error::new(ErrorKind::Unavailable, Delivery::NotSent, what)
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
