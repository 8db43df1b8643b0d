//! What a server keeps: one entry for each handler, and what they share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize};

use parking_lot::RwLock;
use rustc_hash::FxHashMap;
use tokio::sync::Semaphore;

use crate::address::Instance;
use crate::authorizer::Authorizer;
use crate::endpoints::counts::Counts;
use crate::endpoints::gauge::Gauge;
use crate::endpoints::pace::Pace;
use crate::endpoints::tally::Tally;
use crate::handler::Handler;
use crate::name::EndpointId;
use crate::refusal::Refusals;

/// How many calls a server takes on at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdmissionLimits {
    /// Handlers running at once. 8,192 by default. Too low leaves the machine idle, too high lets a burst take its
    /// memory.
    pub running: usize,
    /// Calls that wait for their turn beyond those. 1,024 by default. Too high lets calls grow old in the queue.
    pub queued: usize,
}

impl Default for AdmissionLimits {
    fn default() -> Self {
        Self { running: 8_192, queued: 1_024 }
    }
}

/// What all handlers of a server share.
pub(super) struct Shared {
    pub(super) table: RwLock<FxHashMap<EndpointId, Vec<Arc<Served>>>>,
    /// How often the table was added to.
    pub(super) additions: AtomicU64,
    pub(super) authorizer: Option<Authorizer>,
    pub(super) load: Arc<Load>,
    pub(super) refusals: Refusals,
}

/// The calls of a server. Each handler has a share of it, so that a call holds its handler and nothing else.
pub(super) struct Load {
    pub(super) limits: AdmissionLimits,
    pub(super) turns: Semaphore,
    pub(super) gauge: Gauge,
    pub(super) queued: AtomicUsize,
    pub(super) counts: Counts,
}

/// One handler in the table.
pub(super) struct Served {
    pub(super) instance: Instance,
    pub(super) handler: Arc<dyn Handler>,
    pub(super) gauge: Gauge,
    pub(super) pace: Pace,
    pub(super) tally: Tally,
    pub(super) load: Arc<Load>,
}
