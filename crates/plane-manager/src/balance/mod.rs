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

#[cfg(test)]
mod tests {
    use plane_core::Address;

    use super::*;

    fn instances(count: u64) -> Vec<Instance> {
        let one = |id| Instance {
            endpoint: "n.c.e".parse().unwrap(),
            id: InstanceId::new(id).unwrap(),
            address: Address::mem("x"),
            metadata: [].into(),
        };
        (1..=count).map(one).collect()
    }

    fn each_policy(check: impl Fn(&dyn InstancePicker)) {
        check(&RoundRobin::default());
        check(&Random::default());
    }

    #[test]
    fn nothing_is_picked_from_nothing() {
        each_policy(|policy| assert!(policy.pick(&[], &[]).is_none(), "{policy:?}"));
    }

    #[test]
    fn a_tried_instance_is_not_picked_again() {
        let three = instances(3);
        each_policy(|policy| {
            for _ in 0..100 {
                let mut tried = Vec::new();
                while let Some(instance) = policy.pick(&three, &tried) {
                    assert!(!tried.contains(&instance.id), "{policy:?}");
                    tried.push(instance.id);
                }
                assert_eq!(tried.len(), 3, "{policy:?}");
            }
        });
    }

    #[test]
    fn turns_are_even_and_chance_is_fair() {
        let three = instances(3);
        let count = |policy: &dyn InstancePicker| {
            let picked: Vec<u64> = (0..3_000).filter_map(|_| policy.pick(&three, &[])).map(|i| i.id.get()).collect();
            [1, 2, 3].map(|id| picked.iter().filter(|picked| **picked == id).count())
        };
        assert_eq!(count(&RoundRobin::default()), [1_000; 3]);
        // Off by 200 happens once in 10^14 runs.
        assert!(count(&Random::default()).iter().all(|n| (800..1_200).contains(n)));
    }
}
