//! Limits and times of the in-process transport.

use std::time::Duration;

use crate::authorizer::Authorizer;
use crate::endpoints::AdmissionLimits;
use crate::headers::HeaderLimits;

/// What one side of the in-process transport is set to. Where both sides have a limit, the lower one holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemConfig {
    /// The largest message that is sent or received, in bytes; 32 MiB by default.
    ///
    /// Messages are not copied here. The limit is that of the other transports, so that what works in one process
    /// works across two.
    pub max_message: usize,
    /// How many headers a request or an answer may carry; 64 headers and 16 KiB by default.
    pub headers: HeaderLimits,
    /// How many calls a server takes on at once.
    pub admission: AdmissionLimits,
    /// How long a client's call may wait for its turn in the server's queue; 10 s by default.
    pub request_timeout: Duration,
    /// Who may call what at a server; anybody anything by default. Every caller is
    /// [`Identity::Own`](crate::Identity::Own).
    pub authorizer: Option<Authorizer>,
}

impl Default for MemConfig {
    fn default() -> Self {
        Self {
            max_message: 32 * 1024 * 1024,
            headers: HeaderLimits::default(),
            admission: AdmissionLimits::default(),
            request_timeout: Duration::from_secs(10),
            authorizer: None,
        }
    }
}
