//! How an instance is written down where others find it: JSON, under a name that tells which instance it is.

use plane_core::Instance;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The largest record that is written or read, in bytes.
pub(super) const MAX_RECORD: usize = 64 * 1024;

/// Why something is no record.
#[derive(Debug, thiserror::Error)]
pub(super) enum BadRecord {
    #[error("the instance with its metadata is {0} bytes as JSON, at most {MAX_RECORD} fit")]
    TooLarge(usize),
    #[error("is larger than {MAX_RECORD} bytes")]
    Oversized,
    #[error("is no record of an instance: {0}")]
    Json(#[from] serde_json::Error),
    #[error("describes an instance that its name does not")]
    Misnamed,
}

/// The name of the record of this instance. Endpoints and ids have no character that means something in a path or a
/// subject.
pub(super) fn name(instance: &Instance) -> String {
    format!("{}.{}", instance.endpoint, instance.id)
}

/// # Errors
/// [`BadRecord`] if there is too much metadata.
pub(super) fn encode(record: &impl Serialize) -> Result<Vec<u8>, BadRecord> {
    let text = serde_json::to_vec(record)?;
    if text.len() > MAX_RECORD { Err(BadRecord::TooLarge(text.len())) } else { Ok(text) }
}

/// Reads the record of this name.
///
/// # Errors
/// [`BadRecord`] if it is none, or one of another instance.
pub(super) fn decode<R: DeserializeOwned + AsRef<Instance>>(text: &[u8], found_as: &str) -> Result<R, BadRecord> {
    if text.len() > MAX_RECORD {
        return Err(BadRecord::Oversized);
    }
    let record: R = serde_json::from_slice(text)?;
    if name(record.as_ref()) == found_as { Ok(record) } else { Err(BadRecord::Misnamed) }
}
