//! What is served.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Weak};
use std::time::Instant;

use parking_lot::Mutex;
use plane_core::{DrainReport, EndpointId, Error, Handler, Instance, InstanceId, Registration};

use super::Inner;
use crate::discovery::Published;

/// An announcement that both its [`Service`] and a drain of the manager can take back.
type Announcement = Arc<Mutex<Option<Published>>>;

/// The announcements of one manager.
#[derive(Debug, Default)]
pub(super) struct Announcements {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    announced: Vec<Weak<Mutex<Option<Published>>>>,
    closed: bool,
}

impl Announcements {
    fn add(&self, published: Published) -> Announcement {
        let announcement = Arc::new(Mutex::new(Some(published)));
        let mut state = self.state.lock();
        state.announced.retain(|known| known.strong_count() > 0);
        state.announced.push(Arc::downgrade(&announcement));
        if state.closed {
            withdraw(&announcement);
        }
        drop(state);
        announcement
    }

    /// Withdraws what is announced, and what still comes.
    pub(super) fn withdraw_all(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        let announced = std::mem::take(&mut state.announced);
        drop(state);
        for announcement in announced.iter().filter_map(Weak::upgrade) {
            withdraw(&announcement);
        }
    }
}

fn withdraw(announcement: &Announcement) {
    let published = announcement.lock().take();
    drop(published);
}

/// One served instance. Dropping it withdraws the instance, then refuses its calls; those in flight go on.
#[must_use = "dropping a service ends it"]
#[derive(Debug)]
pub struct Service {
    instance: Instance,
    announcement: Announcement,
    registration: Option<Registration>,
    /// The server lives as long as what it serves.
    _manager: Arc<Inner>,
}

impl Service {
    pub(super) async fn start(
        manager: &Arc<Inner>,
        endpoint: EndpointId,
        metadata: BTreeMap<String, String>,
        handler: Arc<dyn Handler>,
    ) -> Result<Self, Error> {
        let server = manager.transports.server().await?;
        let address = server.address();
        let id = manager.discovery.assigned_id(&endpoint, &address)?.unwrap_or_else(new_id);
        // Registered first: whoever finds the instance can call it.
        let registration = server.register(endpoint.clone(), id, handler).await?;
        let instance = Instance { endpoint, id, address, metadata };
        let published = manager.discovery.publish(instance.clone()).await?;
        let announcement = manager.announcements.add(published);
        tracing::debug!(endpoint = %instance.endpoint, instance = %instance.id, address = %instance.address, "serving");
        Ok(Self { instance, announcement, registration: Some(registration), _manager: manager.clone() })
    }

    /// What is served, and where.
    #[must_use]
    pub fn instance(&self) -> &Instance {
        &self.instance
    }

    /// Withdraws the instance, refuses its calls and waits for those in flight, at most until `deadline`. Calls that
    /// are left then go on; the report counts them as aborted.
    pub async fn shutdown(mut self, deadline: Instant) -> DrainReport {
        withdraw(&self.announcement);
        match self.registration.take() {
            Some(registration) => registration.unregister(deadline).await,
            None => DrainReport::default(),
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        withdraw(&self.announcement);
    }
}

/// Random, so that processes that know nothing of each other do not choose the same. From the system's source: a
/// generator that starts from the clock would repeat itself among processes that start together.
fn new_id() -> InstanceId {
    InstanceId::new(RandomState::new().hash_one(0).max(1)).expect("at least one")
}
