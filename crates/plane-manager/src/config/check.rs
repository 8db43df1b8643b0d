//! Reads one variable after the other and collects what is wrong.

use std::fmt::Debug;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::problem::{ConfigProblem, Findings};

pub(super) const TIMEOUTS: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(3600);
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
