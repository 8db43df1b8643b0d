//! Who may call what ([`Authorizer`]).

use std::fmt;
use std::sync::Arc;

use crate::context::contain_panic;
use crate::name::EndpointId;
use crate::peer::Peer;
use crate::refusal::Refusal;
use crate::status::{Code, Status};

type Rule = dyn Fn(&Peer, &EndpointId) -> bool + Send + Sync;

/// Decides which peer may call which endpoint, before a handler is started. Clones are the same rule.
///
/// Every server takes one, whatever its transport. A call that it forbids is refused with
/// [`Code::PERMISSION_DENIED`] and was not executed; one of an endpoint that is not served is
/// [`Code::NOT_FOUND`] to anybody.
///
/// ```
/// use plane_core::{Authorizer, EndpointId, Peer};
/// let routers_only = Authorizer::new(|peer: &Peer, _: &EndpointId| {
///     peer.identity.certificate().is_some_and(|who| who.dns.iter().any(|name| name == "router.internal"))
/// });
/// # drop(routers_only);
/// ```
#[derive(Clone)]
pub struct Authorizer {
    rule: Arc<Rule>,
}

impl Authorizer {
    /// Asks this for each call. It is called in the task that reads the connection, so it must not block or wait: look
    /// things up beforehand. If it panics the call is refused with [`Code::INTERNAL`].
    pub fn new(rule: impl Fn(&Peer, &EndpointId) -> bool + Send + Sync + 'static) -> Self {
        Self { rule: Arc::new(rule) }
    }

    /// Whether the call may go on, and what it is refused with if not.
    pub(crate) fn check(&self, peer: &Peer, endpoint: &EndpointId) -> Result<(), (Refusal, Status)> {
        let status = match contain_panic(|| (self.rule)(peer, endpoint)) {
            Ok(true) => return Ok(()),
            Ok(false) => {
                Status::new(Code::PERMISSION_DENIED, format!("{} may not call {endpoint} here", peer.identity))
            }
            // What the rule says of itself is nobody's business.
            Err(_) => Status::internal("whether the call is allowed could not be decided"),
        };
        Err((Refusal::Denied, status))
    }
}

/// The same rule, not one that decides alike.
impl PartialEq for Authorizer {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.rule, &other.rule)
    }
}

impl Eq for Authorizer {}

impl fmt::Debug for Authorizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authorizer")
    }
}
