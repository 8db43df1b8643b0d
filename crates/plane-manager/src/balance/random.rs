//! Any of them.

use plane_core::{Instance, InstanceId};

use super::InstancePicker;

/// Any instance, each as likely as the others.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Random;

impl InstancePicker for Random {
    fn pick<'a>(&self, instances: &'a [Instance], tried: &[InstanceId]) -> Option<&'a Instance> {
        let untried = || instances.iter().filter(|instance| !tried.contains(&instance.id));
        let index = fastrand::usize(..untried().count().max(1));
        untried().nth(index)
    }
}
