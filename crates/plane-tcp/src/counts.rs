//! What a client has done so far, and how one call gets into it.

use std::sync::atomic::{AtomicU64, Ordering};

use plane_core::Error;

/// What a client has done so far.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) started: AtomicU64,
    pub(crate) completed: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) cancelled: AtomicU64,
    pub(crate) dials: AtomicU64,
}

/// Counts one call in exactly one outcome: cancelled, unless something else is said before it is dropped.
#[derive(Debug)]
pub(crate) struct Counted<'a> {
    /// `None` once it is counted, or its [`CallHandle`] has the duty.
    counts: Option<&'a Counts>,
}

impl<'a> Counted<'a> {
    pub(crate) fn start(counts: &'a Counts) -> Self {
        counts.started.fetch_add(1, Ordering::Relaxed);
        Self { counts: Some(counts) }
    }

    /// Has the duty back from a handle.
    pub(crate) fn go_on(counts: &'a Counts) -> Self {
        Self { counts: Some(counts) }
    }

    /// Passes the duty on.
    pub(crate) fn pass(mut self) {
        self.counts = None;
    }

    /// Counts a failure and passes the error on.
    pub(crate) fn fail(&mut self, error: Error) -> Error {
        if let Some(counts) = self.counts.take() {
            counts.failed.fetch_add(1, Ordering::Release);
        }
        error
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        if let Some(counts) = self.counts.take() {
            counts.cancelled.fetch_add(1, Ordering::Release);
        }
    }
}
