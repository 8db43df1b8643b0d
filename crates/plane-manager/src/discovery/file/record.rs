//! What a file says about an instance, and how it is written and read.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use plane_core::Instance;
use serde::{Deserialize, Serialize};

use super::process::Process;
use crate::discovery::record::{self, BadRecord, MAX_RECORD};

/// Files whose names begin like this are being written.
pub(super) const UNFINISHED: &str = ".unfinished-";

const SUFFIX: &str = ".json";

/// What a file says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) instance: Instance,
    pub(super) process: Process,
    /// Which of the process's backends announces it.
    pub(super) publisher: u64,
}

impl AsRef<Instance> for Record {
    fn as_ref(&self) -> &Instance {
        &self.instance
    }
}

impl Record {
    /// The name of the file for this instance.
    pub(super) fn file_name(instance: &Instance) -> String {
        format!("{}{SUFFIX}", record::name(instance))
    }

    /// Whether a file of this name is worth reading.
    pub(super) fn is_record(name: &str) -> bool {
        !name.starts_with('.') && name.ends_with(SUFFIX)
    }

    /// Reads the file of this name.
    ///
    /// # Errors
    /// The system's, or `InvalidData` if it is not a record or one of another instance.
    pub(super) fn read(path: &Path, name: &str) -> io::Result<Self> {
        let mut text = Vec::new();
        let limit = u64::try_from(MAX_RECORD).unwrap_or(u64::MAX).saturating_add(1);
        File::open(path)?.take(limit).read_to_end(&mut text)?;
        Ok(record::decode(&text, name.strip_suffix(SUFFIX).unwrap_or(name))?)
    }

    /// Writes the file as a whole: others see all of it or nothing.
    ///
    /// # Errors
    /// The system's, or `InvalidInput` if there is too much metadata.
    pub(super) fn write(&self, directory: &Path) -> io::Result<()> {
        let text = record::encode(self)?;
        let unfinished = directory.join(format!("{UNFINISHED}{}-{:016x}", std::process::id(), fastrand::u64(..)));
        // Who may read it is up to the directory.
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o644).open(&unfinished)?;
        let written = file
            .write_all(&text)
            .and_then(|()| fs::rename(&unfinished, directory.join(Self::file_name(&self.instance))));
        if written.is_err() {
            // Nothing better can be done about it here; a scan removes it later.
            let _ = fs::remove_file(&unfinished);
        }
        written
    }
}

impl From<BadRecord> for io::Error {
    fn from(error: BadRecord) -> Self {
        let kind = match error {
            BadRecord::TooLarge(_) => io::ErrorKind::InvalidInput,
            _ => io::ErrorKind::InvalidData,
        };
        Self::new(kind, error)
    }
}
