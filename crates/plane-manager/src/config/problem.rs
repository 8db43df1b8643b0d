//! What is wrong with the variables, all of it in one error.

use std::fmt;

use super::names::{NATS_AUTH_NKEY, NATS_AUTH_PASSWORD, NATS_AUTH_TOKEN, NATS_SERVER, REQUEST_PLANE};

pub(super) const MODES: &str = "tcp or nats";

/// One variable with a value that cannot work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigProblem {
    variable: &'static str,
    value: String,
    accepted: String,
}

impl ConfigProblem {
    pub(super) fn new(variable: &'static str, value: &str, accepted: impl Into<String>) -> Self {
        let value = match variable {
            NATS_AUTH_PASSWORD | NATS_AUTH_TOKEN | NATS_AUTH_NKEY => "...".to_owned(),
            // A URL may have a password in it.
            NATS_SERVER => value.split(',').map(without_user).collect::<Vec<_>>().join(","),
            _ => value.to_owned(),
        };
        Self { variable, value: shown(&value), accepted: accepted.into() }
    }

    pub(super) fn invalid_mode(value: &str) -> Self {
        Self::new(REQUEST_PLANE, value, format!("{MODES}, in upper or lower case"))
    }

    /// The name of the variable.
    #[must_use]
    pub fn variable(&self) -> &'static str {
        self.variable
    }

    /// Its value, escaped and cut to a length that fits a message. Secrets are left out.
    #[must_use]
    pub fn value(&self) -> &str {
        &self.value
    }

    /// What it accepts.
    #[must_use]
    pub fn accepted(&self) -> &str {
        &self.accepted
    }
}

impl fmt::Display for ConfigProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { variable, value, accepted } = self;
        if *variable == REQUEST_PLANE {
            return write!(f, "Invalid request plane mode: {variable}=\"{value}\"; accepted: {accepted}");
        }
        write!(f, "{variable}=\"{value}\" is invalid; accepted: {accepted}")
    }
}

/// The URL without who it says to log in as.
pub(super) fn without_user(url: &str) -> String {
    let Some((before, host)) = url.rsplit_once('@') else { return url.to_owned() };
    let scheme = before.split_once("://").map_or_else(String::new, |(scheme, _)| format!("{scheme}://"));
    format!("{scheme}...@{host}")
}

/// The longest value that a message shows, in characters.
const SHOWN: usize = 128;

fn shown(value: &str) -> String {
    let mut text: String = value.chars().take(SHOWN).flat_map(char::escape_debug).collect();
    if value.chars().nth(SHOWN).is_some() {
        text.push_str("...");
    }
    text
}

/// Every variable with a value that cannot work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", listed(.problems))]
pub struct InvalidConfig {
    problems: Vec<ConfigProblem>,
}

impl InvalidConfig {
    /// The bad values, at least one.
    #[must_use]
    pub fn problems(&self) -> &[ConfigProblem] {
        &self.problems
    }
}

fn listed(problems: &[ConfigProblem]) -> String {
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

/// Something odd that does not keep a manager from starting.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigWarning {
    /// `DYN_REQUEST_PLANE` names no mode, and TCP is used.
    InvalidMode {
        /// What it says.
        value: String,
    },
    /// A `DYN_TCP_*` variable that nothing reads.
    UnknownVariable {
        /// Its name.
        name: String,
        /// The known name that is nearest to it.
        nearest: &'static str,
    },
    /// A variable that is read only if another one has a certain value.
    Unused {
        /// Its name.
        variable: &'static str,
        /// The other one.
        unless: &'static str,
        /// Its value.
        needed: &'static str,
    },
}

impl fmt::Display for ConfigWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidMode { value } => write!(f, "{}; tcp is used", ConfigProblem::invalid_mode(value)),
            Self::UnknownVariable { name, nearest } => {
                write!(f, "{} is not a known variable and is ignored; did you mean {nearest}?", shown(name))
            }
            Self::Unused { variable, unless, needed } => {
                write!(f, "{variable} has no effect unless {unless} is {needed}")
            }
        }
    }
}

/// What was found while the variables were checked.
#[derive(Debug, Default)]
pub(super) struct Findings {
    problems: Vec<ConfigProblem>,
    warnings: Vec<ConfigWarning>,
}

impl Findings {
    pub(super) fn refuse(&mut self, problem: ConfigProblem) {
        self.problems.push(problem);
    }

    pub(super) fn warn(&mut self, warning: ConfigWarning) {
        self.warnings.push(warning);
    }

    pub(super) fn into_result(self) -> Result<Vec<ConfigWarning>, InvalidConfig> {
        let Self { problems, warnings } = self;
        if problems.is_empty() { Ok(warnings) } else { Err(InvalidConfig { problems }) }
    }
}
