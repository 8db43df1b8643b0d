//! Calls so far.

use std::sync::atomic::AtomicU64;

/// What a server has done so far.
#[derive(Default)]
pub(super) struct Counts {
    pub(super) started: AtomicU64,
    pub(super) completed: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) cancelled: AtomicU64,
    pub(super) refused: AtomicU64,
}
