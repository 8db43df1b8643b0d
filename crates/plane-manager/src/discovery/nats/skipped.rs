//! Values that make no sense, each told once.

use std::collections::BTreeSet;

use crate::discovery::record::BadRecord;

/// Names that are remembered, at most; beyond them a warning may come twice.
const MOST: usize = 1_000;

/// The keys whose values make no sense and were told.
#[derive(Debug, Default)]
pub(super) struct Skipped {
    told: BTreeSet<String>,
}

impl Skipped {
    pub(super) fn tell(&mut self, name: &str, error: &BadRecord) {
        if self.told.len() >= MOST {
            self.told.clear();
        }
        if self.told.insert(name.to_owned()) {
            tracing::warn!(key = ?name, %error, "a value in the discovery bucket is skipped");
        }
    }
}
