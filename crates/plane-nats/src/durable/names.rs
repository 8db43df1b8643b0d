//! Names of the streams and consumers of one prefix, and the subjects of what they keep.
//!
//! A stream's name may have no dot, so `=`, which no token of a prefix has, stands for it: two prefixes never share one.

use plane_core::{Delivery, EndpointId, Error, ErrorKind};

/// The longest name of a stream that NATS takes.
const MAX_NAME: usize = 255;

/// The names of one prefix.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    prefix: String,
    pub(crate) requests: String,
    pub(crate) answers: String,
    pub(crate) dead: String,
}

impl Names {
    pub(crate) fn new(prefix: &str) -> Self {
        let name = |kind: &str| format!("plane-{kind}={}", prefix.replace('.', "="));
        Self { prefix: prefix.to_owned(), requests: name("requests"), answers: name("answers"), dead: name("dead") }
    }

    /// Whether NATS takes these names.
    ///
    /// # Errors
    /// `InvalidArgument` for a prefix that is too long.
    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.requests.len() <= MAX_NAME {
            return Ok(());
        }
        let (length, most) = (self.prefix.len(), MAX_NAME - "plane-requests=".len());
        let what = format!(
            "a prefix of {length} bytes is too long for durable delivery, which takes {most} (DYN_NATS_PREFIX)"
        );
        Err(Error::new(ErrorKind::InvalidArgument, Delivery::NotSent, what))
    }

    /// Where requests of an endpoint are stored, or of all.
    pub(crate) fn request_subject(&self, endpoint: Option<&EndpointId>) -> String {
        self.subject("stored", endpoint)
    }

    /// Where dead letters of an endpoint are kept, or of all.
    pub(crate) fn dead_subject(&self, endpoint: Option<&EndpointId>) -> String {
        self.subject("dead", endpoint)
    }

    /// Where the answer to one request is kept.
    pub(crate) fn answer_subject(&self, endpoint: &EndpointId, id: &str) -> String {
        format!("{}.@answer.{endpoint}.{id}", self.prefix)
    }

    /// Where all answers are kept.
    pub(crate) fn answer_subjects(&self) -> String {
        format!("{}.@answer.*.*.*.*", self.prefix)
    }

    fn subject(&self, kind: &str, endpoint: Option<&EndpointId>) -> String {
        format!("{}.@{kind}.{}", self.prefix, endpoint.map_or("*.*.*", EndpointId::as_str))
    }

    /// The endpoint that a subject of a stored request or dead letter ends with.
    pub(crate) fn endpoint_of(&self, subject: &str) -> Option<EndpointId> {
        let rest = subject.strip_prefix(&self.prefix)?.strip_prefix(".@")?;
        let (_, endpoint) = rest.split_once('.')?;
        endpoint.parse().ok()
    }
}

/// The name of what keeps an endpoint's servers apart from each other's work.
pub(crate) fn consumer(endpoint: &EndpointId) -> String {
    endpoint.as_str().replace('.', "=")
}

/// What NATS knows a request as, to see a second one: ids are an endpoint's own.
pub(crate) fn message_id(endpoint: &EndpointId, id: &str) -> String {
    format!("{endpoint}.{id}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Case B9.
    #[test]
    fn two_prefixes_never_share_a_name() {
        let prefixes = ["a.b", "a_b", "a-b", "a", "a.b.c", "A.b"];
        let names: Vec<_> = prefixes.iter().map(|prefix| Names::new(prefix)).collect();
        let mut all: Vec<_> = names.iter().flat_map(|names| [&names.requests, &names.answers, &names.dead]).collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 3 * prefixes.len());
        assert!(all.iter().all(|name| !name.contains(['.', ' ', '*', '>', '/', '\\'])));
    }

    #[test]
    fn a_prefix_may_be_too_long() {
        assert!(Names::new(&["x".repeat(64).as_str(); 3].join(".")).check().is_ok());
        let error = Names::new(&["x".repeat(64).as_str(); 4].join(".")).check().unwrap_err();
        assert_eq!((error.kind(), error.delivery()), (ErrorKind::InvalidArgument, Delivery::NotSent));
    }

    #[test]
    fn endpoints_are_read_back() {
        let names = Names::new("a.b");
        let endpoint: EndpointId = "x.y.z".parse().unwrap();
        assert_eq!(names.endpoint_of(&names.request_subject(Some(&endpoint))), Some(endpoint.clone()));
        assert_eq!(names.endpoint_of(&names.dead_subject(Some(&endpoint))), Some(endpoint.clone()));
        assert_eq!(names.endpoint_of(&names.answer_subject(&endpoint, "1")), None);
        assert_eq!(consumer(&endpoint), "x=y=z");
    }
}
