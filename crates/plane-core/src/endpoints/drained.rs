//! The end of the calls in flight, with a limit.

use std::time::Instant;

use crate::endpoints::gauge::Gauge;
use crate::report::DrainReport;

/// Waits until no call is in flight behind a closed gauge, or until `deadline`; tells how many finished and how many were left.
pub(super) async fn drained(gauge: &Gauge, deadline: Instant) -> DrainReport {
    let before = gauge.now();
    // A call that is turned away counts for a moment, so the gauge is not asked again once it was empty.
    let emptied = tokio::time::timeout_at(deadline.into(), gauge.emptied()).await;
    let left = if emptied.is_ok() { 0 } else { gauge.now() };
    DrainReport::new(before.saturating_sub(left) as u64, left as u64)
}
