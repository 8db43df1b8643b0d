//! What a client knows of the instances that it may call.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use plane_core::{Delivery, EndpointId, Error, ErrorKind, Instance, InstanceId};

use super::retry::expired;
use super::selection::Selection;
use crate::discovery::{Discovery, InstanceSet, InstanceWatch};
use crate::transports::Reach;

/// The instances of one endpoint, or those of them that are wanted.
pub(super) struct Known {
    endpoint: EndpointId,
    discovery: Arc<dyn Discovery>,
    watch: InstanceWatch,
    selection: Selection,
    /// Whether there ever was one. If so, none now means that they are gone, not that they are still to come.
    seen: AtomicBool,
}

impl Known {
    pub(super) fn new(endpoint: EndpointId, discovery: Arc<dyn Discovery>, reach: Reach) -> Self {
        let watch = discovery.watch(&endpoint);
        Self { endpoint, discovery, watch, selection: Selection::new(reach), seen: AtomicBool::new(false) }
    }

    /// Those that `wanted` is true for.
    pub(super) fn only(&self, wanted: impl Fn(&Instance) -> bool + Send + Sync + 'static) -> Self {
        let only = Self {
            endpoint: self.endpoint.clone(),
            discovery: self.discovery.clone(),
            watch: self.watch.clone(),
            selection: self.selection.only(wanted),
            seen: AtomicBool::new(false),
        };
        only.now();
        only
    }

    pub(super) fn endpoint(&self) -> &EndpointId {
        &self.endpoint
    }

    /// Whether only some of them are wanted.
    pub(super) fn is_narrow(&self) -> bool {
        self.selection.is_narrow()
    }

    /// Those that are known now; remembers whether there were any.
    pub(super) fn now(&self) -> InstanceSet {
        let all = self.watch.borrow().clone();
        let instances = self.selection.of(&all);
        if !instances.is_empty() && !self.seen.load(Ordering::Relaxed) {
            self.seen.store(true, Ordering::Relaxed);
        }
        instances
    }

    /// Waits until there is one, at most this long.
    pub(super) async fn ready(&self, timeout: Duration) -> Result<(), Error> {
        let mut watch = self.watch.clone();
        // One that can never be called is an answer, too.
        let enough = |all: &InstanceSet| {
            all.iter().any(|instance| self.selection.contains(instance)) || self.selection.refusal(all).is_some()
        };
        // Whether it was in time shows in the set.
        let _ = tokio::time::timeout(timeout, watch.wait_for(enough)).await;
        if self.now().is_empty() { Err(self.nobody(Some(timeout))) } else { Ok(()) }
    }

    /// Waits for the first one if there never was any, at most until the deadline.
    ///
    /// Takes no `&Request`: held across an await, it would keep the future of a call from being `Send`.
    pub(super) async fn first(&self, patience: Duration, deadline: Option<Instant>) -> Result<(), Error> {
        if let Some(expired) = expired(&self.endpoint, deadline) {
            return Err(expired);
        }
        if !self.now().is_empty() {
            return Ok(());
        }
        if self.seen.load(Ordering::Relaxed) {
            return Err(self.nobody(None));
        }
        let now = tokio::time::Instant::now().into_std();
        let remaining = deadline.map(|deadline| deadline.saturating_duration_since(now));
        let ready = self.ready(remaining.map_or(patience, |remaining| remaining.min(patience))).await;
        ready.map_err(|nobody| match expired(&self.endpoint, deadline) {
            // Late, and this is why.
            Some(_) => Error::new(ErrorKind::DeadlineExceeded, Delivery::NotSent, nobody.to_string()),
            None => nobody,
        })
    }

    /// There is none that can be called.
    pub(super) fn nobody(&self, waited: Option<Duration>) -> Error {
        if let Some(refusal) = self.selection.refusal(&self.watch.borrow()) {
            return refusal;
        }
        let whole_millis = |time: Duration| Duration::from_secs_f64((time.as_secs_f64() * 1e3).ceil() / 1e3);
        let waited = waited.map_or_else(String::new, |time| format!(" within {:?}", whole_millis(time)));
        let wanted = if self.selection.is_narrow() { "wanted " } else { "" };
        let what = format!(
            "no {wanted}instance of {} was found{waited}; looked in {}. Start one that uses the same discovery",
            self.endpoint,
            self.discovery.describe()
        );
        Error::new(ErrorKind::Unavailable, Delivery::NotSent, what)
    }

    /// There is none of this id.
    pub(super) fn not_this(&self, id: InstanceId) -> Error {
        let what = format!("{} has no instance {id}; looked in {}", self.endpoint, self.discovery.describe());
        Error::new(ErrorKind::NotFound, Delivery::NotSent, what)
    }
}
