//! What the bucket says about an instance, and under which key.

use plane_core::Instance;
use serde::{Deserialize, Serialize};

use crate::discovery::board::Key;
use crate::discovery::record::{self, BadRecord};

/// The value of a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) instance: Instance,
    /// Which backend announces it.
    pub(super) publisher: u64,
}

impl AsRef<Instance> for Record {
    fn as_ref(&self) -> &Instance {
        &self.instance
    }
}

impl Record {
    /// # Errors
    /// [`BadRecord`] if there is too much metadata.
    pub(super) fn encode(&self) -> Result<Vec<u8>, BadRecord> {
        record::encode(self)
    }

    /// # Errors
    /// [`BadRecord`] if it is none, or one of another instance.
    pub(super) fn decode(value: &[u8], name: &str) -> Result<Self, BadRecord> {
        record::decode(value, name)
    }
}

/// The name of the key in the bucket.
pub(super) fn name(key: &Key) -> String {
    format!("{}.{}", key.0, key.1)
}

/// The instance that a key of this name is about, if it is one of ours.
pub(super) fn parse_name(name: &str) -> Option<Key> {
    let (endpoint, id) = name.rsplit_once('.')?;
    let key = (endpoint.parse().ok()?, id.parse().ok()?);
    // An id can be written in more than one way, and only one of them is the name.
    (self::name(&key) == name).then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back() {
        let name_of = |text: &str| parse_name(text).map(|key| name(&key));
        for good in ["n.c.e.000000000000001f", "N.c.E.ffffffffffffffff"] {
            assert_eq!(name_of(good).as_deref(), Some(good));
        }
        for strange in ["", "n.c.e", "n.c.e.1f", "n.c.e.0000000000000000", "n.c.e.000000000000001F", "n.c.e.x.1"] {
            assert_eq!(name_of(strange), None, "{strange}");
        }
    }
}
