//! What a transport's test crate provides.

use std::sync::Arc;
use std::time::Duration;

use plane_core::{Address, AdmissionLimits, HeaderLimits, RequestPlaneClient, RequestPlaneServer};

/// A transport under test: where servers and clients of one case come from.
pub trait Plane: Send + Sync + 'static {
    /// A plane of its own for one case; two never meet.
    fn new() -> Self;

    /// A server that is ready to answer, at an address of its own.
    fn serve(&self, limits: Limits) -> impl Future<Output = Arc<dyn RequestPlaneServer>> + Send;

    /// A server at the address of one that was drained and dropped.
    fn serve_again(
        &self,
        address: &Address,
        limits: Limits,
    ) -> impl Future<Output = Arc<dyn RequestPlaneServer>> + Send;

    /// A client that reaches every server of this plane.
    fn client(&self, limits: Limits) -> Arc<dyn RequestPlaneClient>;

    /// A well-formed address where nobody listens.
    fn nowhere(&self) -> Address;

    /// A well-formed address of a transport that the client does not speak.
    fn foreign(&self) -> Address {
        Address::Nats("elsewhere".into())
    }
}

/// What a case needs its server and client to be set to. A transport without such a setting ignores it.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// How many calls the server takes on at once.
    pub admission: AdmissionLimits,
    /// The largest message, in bytes.
    pub max_message: usize,
    /// How many headers a message may carry.
    pub headers: HeaderLimits,
    /// How long the server may take to accept a call.
    pub request_timeout: Duration,
    /// What may be on its way and unread for each call, in bytes.
    pub window: u32,
    /// Connections per address.
    pub connections: usize,
    /// Requests queued on one connection before it counts as full.
    pub queue: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            admission: AdmissionLimits::default(),
            max_message: 32 * 1024 * 1024,
            headers: HeaderLimits::default(),
            request_timeout: Duration::from_secs(10),
            window: 1024 * 1024,
            connections: 4,
            queue: 100,
        }
    }
}
