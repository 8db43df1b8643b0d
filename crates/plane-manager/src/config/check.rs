//! Reads one variable after the other and collects what is wrong.

use std::fmt::Debug;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::problem::{ConfigProblem, Findings};

pub(super) const TIMEOUTS: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(3600);
pub(super) const SWITCH: &str = "true or false";
const ABSOLUTE: &str = "the absolute path of a file";
pub(super) const TIMEOUT: &str = "1ms to 1h, as seconds (10, 0.5) or with a unit (500ms, 3s, 2m)";

/// Reads variables and collects what is wrong with them.
pub(super) struct Check<'a> {
    findings: &'a mut Findings,
}

impl<'a> Check<'a> {
    pub(super) fn new(findings: &'a mut Findings) -> Self {
        Self { findings }
    }

    /// What `parse` makes of the variable; `None` if it is not set, or refused.
    pub(super) fn read<T>(
        &mut self,
        variable: &'static str,
        text: &Option<String>,
        parse: impl FnOnce(&str) -> Option<T>,
        accepted: &str,
    ) -> Option<T> {
        let text = text.as_deref()?;
        let value = parse(text);
        if value.is_none() {
            self.findings.refuse(ConfigProblem::new(variable, text, accepted));
        }
        value
    }

    /// The same, and the value must be in this range.
    pub(super) fn ranged<T: PartialOrd + Debug>(
        &mut self,
        variable: &'static str,
        text: &Option<String>,
        parse: impl FnOnce(&str) -> Option<T>,
        range: RangeInclusive<T>,
        accepted: &str,
    ) -> Option<T> {
        self.read(variable, text, |text| parse(text).filter(|value| range.contains(value)), accepted)
    }
}

/// A file, wherever this process was started.
pub(super) fn path(variable: &'static str, text: &Option<String>, findings: &mut Findings) -> Option<PathBuf> {
    let parse = |text: &str| Path::new(text).is_absolute().then(|| PathBuf::from(text));
    Check::new(findings).read(variable, text, parse, ABSOLUTE)
}

/// The values of two variables that make no sense without each other.
pub(super) fn both<T>(
    first: (&'static str, Option<T>),
    second: (&'static str, Option<T>),
    findings: &mut Findings,
) -> Option<(T, T)> {
    let (alone, missing) = match (first.1, second.1) {
        (Some(one), Some(other)) => return Some((one, other)),
        (Some(_), None) => (first.0, second.0),
        (None, Some(_)) => (second.0, first.0),
        (None, None) => return None,
    };
    findings.refuse(ConfigProblem::new(alone, "...", format!("set only together with {missing}")));
    None
}
