//! Which failed calls may go to another instance.

use std::time::Instant;

use plane_core::{Delivery, EndpointId, Error, ErrorKind};

/// How many instances one call tries at most.
pub(super) const ATTEMPTS: usize = 3;

/// Whether another instance may answer where this one did not, without the call running twice.
pub(super) fn may_go_elsewhere(error: &Error) -> bool {
    // Every instance would say the same to these, or the caller is gone. But the certificate of one server may be wrong and
    // that of the next in order.
    let same_everywhere = matches!(
        error.kind(),
        ErrorKind::InvalidArgument
            | ErrorKind::MessageTooLarge
            | ErrorKind::Codec
            | ErrorKind::PermissionDenied
            | ErrorKind::Cancelled
    ) || (error.kind() == ErrorKind::Unauthenticated && error.status().is_some());
    error.delivery().is_retry_safe() && !same_everywhere
}

/// The caller's deadline passed before anything was sent.
pub(super) fn expired(endpoint: &EndpointId, deadline: Option<Instant>) -> Option<Error> {
    let deadline = deadline.filter(|deadline| *deadline <= tokio::time::Instant::now().into_std())?;
    let late = tokio::time::Instant::now().into_std().saturating_duration_since(deadline);
    let what = format!("the deadline of the call to {endpoint} passed {late:?} before it was sent");
    Some(Error::new(ErrorKind::DeadlineExceeded, Delivery::NotSent, what))
}
