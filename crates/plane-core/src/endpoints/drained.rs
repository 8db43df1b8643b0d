//! The end of the calls in flight, with a limit.

use std::time::Instant;

use crate::endpoints::gauge::Gauge;
use crate::report::DrainReport;

/// Waits until no call is in flight, or until `deadline`; tells how many finished and how many were left.
pub(super) async fn drained(gauge: &Gauge, deadline: Instant) -> DrainReport {
    let before = gauge.now();
    // Whether it was in time shows in the gauge.
    let _ = tokio::time::timeout_at(deadline.into(), gauge.emptied()).await;
    let left = gauge.now();
    DrainReport::new(before.saturating_sub(left) as u64, left as u64)
}
