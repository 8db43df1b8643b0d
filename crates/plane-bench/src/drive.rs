//! The calling side: makes the calls of a cell for a while.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use plane_core::{Address, EndpointId, Error, Request, RequestPlaneClient};
use tokio::task::JoinSet;

use crate::cell::{Cell, Pace, Shape};
use crate::handlers::{ECHO, PACED, READY, endpoint, stream_request};
use crate::sample::{Recorder, Sample};

/// Why a cell could not be measured. A number that hides failed calls is no number.
#[derive(Debug)]
#[non_exhaustive]
pub enum DriveError {
    /// A call failed.
    Call(Error),
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
            Self::Caller(error) => Some(error),
            Self::Wrong { .. } => None,
        }
    }
}

/// Calls for at least `time`, after a tenth of it to warm up. Each caller makes at least one call.
///
/// # Errors
/// The first call that failed or brought the wrong answer.
pub async fn drive(
    client: &Arc<dyn RequestPlaneClient>,
    address: &Address,
    cell: Cell,
    time: Duration,
) -> Result<Sample, DriveError> {
    round(client, address, cell, time / 10).await?;
    let started = Instant::now();
    let recorder = round(client, address, cell, time).await?;
    Ok(recorder.sample(cell.name, started.elapsed()))
}

async fn round(
    client: &Arc<dyn RequestPlaneClient>,
    address: &Address,
    cell: Cell,
    time: Duration,
) -> Result<Recorder, DriveError> {
    let call = Arc::new(Call::new(cell.shape));
    let until = Instant::now() + time;
    let mut callers = JoinSet::new();
    for _ in 0..cell.shape.in_flight() {
        let (client, address, call) = (client.clone(), address.clone(), call.clone());
        callers.spawn(async move {
            let mut recorder = Recorder::default();
            loop {
                call.make(client.as_ref(), &address, &mut recorder).await?;
                if Instant::now() >= until {
                    return Ok(recorder);
                }
            }
        });
    }
    let mut all = Recorder::default();
    while let Some(ended) = callers.join_next().await {
        all.merge(&ended.map_err(DriveError::Caller)??);
    }
    Ok(all)
}

/// One kind of call and what its answer must be.
struct Call {
    endpoint: EndpointId,
    message: Bytes,
    items: u64,
    bytes: u64,
}

impl Call {
    fn new(shape: Shape) -> Self {
        let (name, message, items, bytes) = match shape {
            Shape::Unary { bytes, .. } => (ECHO, Bytes::from(vec![b'x'; bytes]), 1, bytes as u64),
            Shape::Stream { items, bytes, pace, .. } => {
                let name = if pace == Pace::Ready { READY } else { PACED };
                (name, stream_request(items, bytes), u64::from(items), u64::from(items) * u64::from(bytes))
            }
        };
        Self { endpoint: endpoint(name).expect("a valid constant"), message, items, bytes }
    }

    async fn make(
        &self,
        client: &dyn RequestPlaneClient,
        address: &Address,
        recorder: &mut Recorder,
    ) -> Result<(), DriveError> {
        let started = Instant::now();
        let request = Request::new(self.endpoint.clone(), self.message.clone());
        let mut response = client.call(address, request).await.map_err(DriveError::Call)?;
        let mut first = None;
        let mut came = (0, 0);
        while let Some(item) = response.next().await {
            let item = item.map_err(DriveError::Call)?;
            first.get_or_insert_with(|| started.elapsed());
            came = (came.0 + 1, came.1 + item.len() as u64);
        }
        let whole = started.elapsed();
        if came != (self.items, self.bytes) {
            return Err(DriveError::Wrong { items: self.items, bytes: self.bytes, came });
        }
        recorder.call(first.unwrap_or(whole), whole, came.0, came.1 + self.message.len() as u64);
        Ok(())
    }
}
