//! Memory, descriptors and tasks of a process, and whether they stay flat.

use std::fmt;

use anyhow::{Context, Result};

/// What a process holds at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Vitals {
    /// Memory that is its own, in KiB: what is resident, without pages of files.
    pub(crate) memory: u64,
    /// Open descriptors.
    pub(crate) descriptors: u64,
    /// Tasks of its runtime.
    pub(crate) tasks: u64,
}

impl Vitals {
    /// Of the process with this id, which says itself how many tasks it has.
    pub(crate) fn of(id: u32, tasks: u64) -> Result<Self> {
        let status = std::fs::read_to_string(format!("/proc/{id}/status"))
            .with_context(|| format!("cannot read /proc/{id}/status; this needs Linux"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
        let memory = line.and_then(|line| line.split_whitespace().next()).and_then(|number| number.parse().ok());
        let descriptors = std::fs::read_dir(format!("/proc/{id}/fd")).context("cannot count descriptors")?.count();
        Ok(Self { memory: memory.context("no RssAnon in /proc")?, descriptors: descriptors as u64, tasks })
    }

    /// Of this process.
    pub(crate) fn own() -> Result<Self> {
        Self::of(std::process::id(), tokio::runtime::Handle::current().metrics().num_alive_tasks() as u64)
    }
}

/// The vitals of one process over time, each taken while nothing was in flight.
#[derive(Debug)]
pub(crate) struct Series {
    pub(crate) name: String,
    taken: Vec<Vitals>,
}

/// The first part of a run warms up, one in so many samples: buffers and tables take the size that they keep.
const WARM_UP: usize = 4;

/// Samples after the warm-up that can tell something.
const ENOUGH: usize = 6;

/// A name, what it is, and a number.
type Slack = (&'static str, fn(&Vitals) -> u64, u64);

/// What the median of each kind of vitals may grow by, from the first half after the warm-up to the second, beside a
/// quarter of it.
const SLACK: [Slack; 3] = [
    ("memory (KiB)", |vitals| vitals.memory, 4 * 1024),
    ("descriptors", |vitals| vitals.descriptors, 4),
    ("tasks", |vitals| vitals.tasks, 4),
];

impl Series {
    pub(crate) fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), taken: Vec::new() }
    }

    pub(crate) fn add(&mut self, vitals: Vitals) {
        self.taken.push(vitals);
    }

    fn warm(&self) -> &[Vitals] {
        let cold = self.taken.len().div_ceil(WARM_UP);
        &self.taken[cold..]
    }

    /// What has grown, if anything has; `None` also if there are too few samples to tell.
    pub(crate) fn growth(&self) -> Option<String> {
        let warm = self.warm();
        if warm.len() < ENOUGH {
            return None;
        }
        let (before, after) = warm.split_at(warm.len() / 2);
        let grown = SLACK.iter().find(|(_, of, slack)| middle(after, *of) > middle(before, *of) * 5 / 4 + slack)?;
        let (what, of, _) = *grown;
        Some(format!("{}: {what} grew from {} to {}", self.name, middle(before, of), middle(after, of)))
    }
}

/// The median.
fn middle(part: &[Vitals], of: fn(&Vitals) -> u64) -> u64 {
    let mut all: Vec<u64> = part.iter().map(of).collect();
    all.sort_unstable();
    all.get(all.len() / 2).copied().unwrap_or(0)
}

/// One line of a table: least and most after the warm-up, and the last.
impl fmt::Display for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "| {} |", self.name)?;
        for (_, of, _) in SLACK {
            let all = || self.warm().iter().map(of);
            let (least, most) = (all().min().unwrap_or(0), all().max().unwrap_or(0));
            write!(f, " {least} to {most}, last {} |", self.taken.last().map_or(0, of))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(memory: impl IntoIterator<Item = u64>) -> Series {
        let taken = memory.into_iter().map(|memory| Vitals { memory, descriptors: 9, tasks: 9 }).collect();
        Series { name: "a".to_owned(), taken }
    }

    #[test]
    fn growth_is_told_from_warming_up_and_noise() {
        let steady = [10_000; 20].into_iter();
        assert_eq!(series((0..10).map(|n| n * 1_000).chain(steady.clone())).growth(), None, "it warmed up");
        assert_eq!(series(steady.chain([10_500, 9_000])).growth(), None, "noise");
        assert!(series((0..40).map(|n| 100_000 + n * 5_000)).growth().is_some());
        assert_eq!(series([1, 1_000_000]).growth(), None, "too few to tell");
    }
}
