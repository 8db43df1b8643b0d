//! How a command ends for the shell ([`Exit`], [`Failure`]).

use std::fmt;
use std::process::ExitCode;

use plane_core::{Delivery, Error, ErrorKind};

/// What a command's exit code means. `--help` has the same list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// The call, or the command as a whole, failed.
    Failed = 1,
    /// A flag, a variable or the input cannot be what it is.
    Usage = 2,
    /// Nothing is there to be called, or it does not take calls.
    Unavailable = 3,
    /// The deadline passed.
    Deadline = 4,
    /// A signal ended the command at once.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command did not end well: one message for people, one code for scripts.
#[derive(Debug)]
pub struct Failure {
    exit: Exit,
    message: String,
}

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into() }
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// Something could not be started: an address, a directory or a mode is not to be had, and a setting chose it.
    pub(crate) fn at_start(error: &Error) -> Self {
        Self::usage(error.to_string())
    }

    pub(crate) fn interrupted() -> Self {
        Self::new(Exit::Interrupted, "interrupted")
    }

    /// The exit code.
    #[must_use]
    pub fn exit(&self) -> Exit {
        self.exit
    }
}

/// How a call failed.
impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let delivery = error.delivery();
        let exit = match error.kind() {
            ErrorKind::InvalidArgument | ErrorKind::FailedPrecondition if delivery == Delivery::NotSent => Exit::Usage,
            // Whatever a handler says, it was there.
            ErrorKind::Unavailable | ErrorKind::NotFound if delivery != Delivery::Executed => Exit::Unavailable,
            ErrorKind::DeadlineExceeded => Exit::Deadline,
            _ => Exit::Failed,
        };
        Self::new(exit, error.to_string())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}
