//! Who makes the calls: one call at a time, and whether it brought what it should have.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use plane_core::{Address, EndpointId, Error, Request, RequestPlaneClient};

use crate::cell::{Pace, Shape};
use crate::handlers::{ECHO, PACED, READY, endpoint, stream_request};
use crate::sample::{Ended, Way};

/// Why a cell could not be measured. A number that hides failed calls is no number.
#[derive(Debug)]
#[non_exhaustive]
pub enum DriveError {
    /// A call failed.
    Call(Error),
    /// A call of what the plane is compared with failed.
    Bare(Box<dyn std::error::Error + Send + Sync>),
    /// A call ended well and did not bring what it should have.
    Wrong {
        /// Messages that were expected.
        items: u64,
        /// Bytes that were expected.
        bytes: u64,
        /// Messages and bytes that came.
        came: (u64, u64),
    },
    /// A caller panicked.
    Caller(tokio::task::JoinError),
}

impl std::fmt::Display for DriveError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Call(error) => write!(f, "a call failed: {error}"),
            Self::Bare(error) => write!(f, "a bare call failed: {error}"),
            Self::Wrong { items, bytes, came } => {
                write!(f, "expected {items} messages with {bytes} bytes, {} with {} came", came.0, came.1)
            }
            Self::Caller(error) => write!(f, "a caller panicked: {error}"),
        }
    }
}

impl std::error::Error for DriveError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Call(error) => Some(error),
            Self::Bare(error) => Some(error.as_ref()),
            Self::Caller(error) => Some(error),
            Self::Wrong { .. } => None,
        }
    }
}

/// Makes the calls of one cell.
pub trait Caller: Send + Sync + 'static {
    /// What makes them.
    const WAY: Way;

    /// Makes one call, which began just now, and tells what it brought once it has ended well.
    ///
    /// # Errors
    /// The call failed or brought the wrong answer.
    fn call(&self, began: Instant) -> impl Future<Output = Result<Ended, DriveError>> + Send;
}

/// One kind of call and what its answer must be.
#[derive(Debug)]
pub struct Exchange {
    /// The endpoint that is called.
    pub(crate) name: &'static str,
    message: Bytes,
    items: u64,
    bytes: u64,
}

impl Exchange {
    /// The call of this shape.
    #[must_use]
    pub fn new(shape: Shape) -> Self {
        let (name, message, items, bytes) = match shape {
            Shape::Unary { bytes, .. } => (ECHO, message(bytes), 1, bytes as u64),
            Shape::Stream { items, bytes, pace, .. } => {
                let name = if pace == Pace::Ready { READY } else { PACED };
                (name, stream_request(items, bytes), u64::from(items), u64::from(items) * u64::from(bytes))
            }
        };
        Self { name, message, items, bytes }
    }

    /// A call that began then.
    #[must_use]
    pub fn begin(&self, began: Instant) -> Seen<'_> {
        Seen { exchange: self, started: began, first: None, items: 0, bytes: 0 }
    }

    /// The request.
    #[must_use]
    pub fn message(&self) -> &Bytes {
        &self.message
    }

    /// How many messages an answer has.
    #[must_use]
    pub fn items(&self) -> u64 {
        self.items
    }
}

/// A request of so many bytes. A small one is no memory of its own: calls would count who shares it, which is not what is
/// measured.
fn message(bytes: usize) -> Bytes {
    static SMALL: [u8; 4096] = [b'x'; 4096];
    SMALL.get(..bytes).map_or_else(|| vec![b'x'; bytes].into(), Bytes::from_static)
}

/// What has come of an answer.
#[derive(Debug)]
pub struct Seen<'a> {
    exchange: &'a Exchange,
    started: Instant,
    first: Option<Duration>,
    items: u64,
    bytes: u64,
}

impl Seen<'_> {
    /// A message has come.
    pub fn item(&mut self, bytes: usize) {
        // The only one is there when the answer is; to read the clock is a part of what is measured.
        if self.exchange.items > 1 {
            self.first.get_or_insert_with(|| self.started.elapsed());
        }
        self.items += 1;
        self.bytes += bytes as u64;
    }

    /// What the call brought, if all of its answer has come.
    ///
    /// # Errors
    /// [`DriveError::Wrong`] if it has not.
    pub fn end(self) -> Result<Ended, DriveError> {
        let at = Instant::now();
        let Exchange { items, bytes, message, .. } = self.exchange;
        if (self.items, self.bytes) != (*items, *bytes) {
            return Err(DriveError::Wrong { items: *items, bytes: *bytes, came: (self.items, self.bytes) });
        }
        let bytes = self.bytes + message.len() as u64;
        Ok(Ended { at, first: self.first, whole: at.duration_since(self.started), items: self.items, bytes })
    }
}

/// Calls over a transport of the plane.
pub struct PlaneCaller {
    client: Arc<dyn RequestPlaneClient>,
    address: Address,
    endpoint: EndpointId,
    exchange: Exchange,
}

impl PlaneCaller {
    /// Makes calls of this shape to a server with [`serve_all`](crate::serve_all).
    ///
    /// # Panics
    /// Never: the endpoints are valid constants.
    #[must_use]
    pub fn new(client: Arc<dyn RequestPlaneClient>, address: Address, shape: Shape) -> Self {
        let exchange = Exchange::new(shape);
        let endpoint = endpoint(exchange.name).expect("a valid constant");
        Self { client, address, endpoint, exchange }
    }
}

impl Caller for PlaneCaller {
    const WAY: Way = Way::Plane;

    async fn call(&self, began: Instant) -> Result<Ended, DriveError> {
        let mut seen = self.exchange.begin(began);
        let request = Request::new(self.endpoint.clone(), self.exchange.message().clone());
        let mut response = self.client.call(&self.address, request).await.map_err(DriveError::Call)?;
        while let Some(item) = response.next().await {
            seen.item(item.map_err(DriveError::Call)?.len());
        }
        seen.end()
    }
}

impl std::fmt::Debug for PlaneCaller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PlaneCaller").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}
