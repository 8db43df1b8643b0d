//! Which instance answers the next call.

mod random;
mod round_robin;

use std::fmt::Debug;

use plane_core::{Instance, InstanceId};

pub use random::Random;
pub use round_robin::RoundRobin;

/// Picks the instance for the next call of one client.
///
/// It is given the live set each time and keeps no instance of its own, so one that is gone is never picked.
pub trait InstancePicker: Debug + Send + Sync + 'static {
    /// One of `instances` that is not among the `tried` ones; `None` if all were tried or there is none.
    fn pick<'a>(&self, instances: &'a [Instance], tried: &[InstanceId]) -> Option<&'a Instance>;
}
