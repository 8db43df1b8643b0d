//! What settings of every transport have in common: a setter refuses a value that cannot work.

use std::fmt::Debug;

/// A setting with a value that cannot work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{setting} cannot be {value}: {accepted}")]
pub struct ConfigError {
    setting: &'static str,
    value: String,
    accepted: &'static str,
}

impl ConfigError {
    /// The value, if the condition holds for it.
    ///
    /// # Errors
    /// [`ConfigError`] naming the setting, the value and what is accepted.
    pub fn check<T: Debug>(holds: bool, setting: &'static str, value: T, accepted: &'static str) -> Result<T, Self> {
        if holds { Ok(value) } else { Err(Self { setting, value: format!("{value:?}"), accepted }) }
    }

    /// The setting, as its setter is called.
    #[must_use]
    pub fn setting(&self) -> &'static str {
        self.setting
    }

    /// What the setting accepts.
    #[must_use]
    pub fn accepted(&self) -> &'static str {
        self.accepted
    }
}
