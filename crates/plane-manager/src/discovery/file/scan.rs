//! What a directory says.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::fs::{self, DirEntry, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::process::{Life, Process};
use super::record::{Record, UNFINISHED};
use crate::discovery::board::{Key, key};

/// After this long without a sign of life, an instance whose process cannot be looked up is not listed.
pub(super) const SILENCE: Duration = Duration::from_secs(10);

/// After this long, its file and those that were never finished are removed.
const FORGOTTEN: Duration = Duration::from_secs(60);

/// Reads a directory again and again, each file only when it changed.
#[derive(Debug)]
pub(super) struct Scanner {
    directory: PathBuf,
    here: Process,
    user: u32,
    seen: HashMap<OsString, Seen>,
}

/// A file as it was when it was read; no record if it made no sense.
#[derive(Debug)]
struct Seen {
    stamp: (u64, u64, i64, i64),
    record: Option<Record>,
}

impl Scanner {
    pub(super) fn new(directory: PathBuf) -> Self {
        let user = rustix::process::getuid().as_raw();
        Self { directory, here: Process::current(), user, seen: HashMap::new() }
    }

    /// The records of live processes. Removes the files of dead ones.
    ///
    /// # Errors
    /// If the directory cannot be read. A file that cannot is skipped.
    pub(super) fn scan(&mut self) -> io::Result<BTreeMap<Key, Record>> {
        let entries = match fs::read_dir(&self.directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
            entries => entries?,
        };
        let mut before = std::mem::take(&mut self.seen);
        let mut live = BTreeMap::new();
        for entry in entries {
            let entry = entry?;
            let seen = before.remove(&entry.file_name());
            let Some((seen, modified)) = read(&entry, seen) else { continue };
            if let Some(record) = &seen.record
                && self.is_live(record, &entry.path(), &modified)
            {
                live.insert(key(&record.instance), record.clone());
            }
            self.seen.insert(entry.file_name(), seen);
        }
        Ok(live)
    }

    fn is_live(&self, record: &Record, path: &Path, metadata: &Metadata) -> bool {
        // Systems may hide the processes of other users, which would then look dead.
        let life = if metadata.uid() == self.user { record.process.life(&self.here) } else { Life::Unknown };
        match life {
            Life::Alive => true,
            Life::Dead => {
                remove(path);
                false
            }
            Life::Unknown => {
                let silent = age(metadata);
                if silent > FORGOTTEN {
                    remove(path);
                }
                silent <= SILENCE
            }
        }
    }
}

/// What the file says, read anew if it changed; `None` if it is none of ours.
fn read(entry: &DirEntry, seen: Option<Seen>) -> Option<(Seen, Metadata)> {
    let name = entry.file_name();
    // Not through links: what is listed is what lies here. It may be gone by now.
    let metadata = entry.metadata().ok().filter(Metadata::is_file)?;
    let name = name.to_str()?;
    if name.starts_with(UNFINISHED) && age(&metadata) > FORGOTTEN {
        remove(&entry.path());
    }
    if !Record::is_record(name) {
        return None;
    }
    let stamp = (metadata.ino(), metadata.len(), metadata.mtime(), metadata.mtime_nsec());
    if let Some(seen) = seen.filter(|seen| seen.stamp == stamp) {
        return Some((seen, metadata));
    }
    let record = match Record::read(&entry.path(), name) {
        Ok(record) => Some(record),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => {
            tracing::warn!(file = ?entry.path(), %error, "a file in the discovery directory is skipped");
            None
        }
    };
    Some((Seen { stamp, record }, metadata))
}

fn age(metadata: &Metadata) -> Duration {
    let modified = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
    // A time in the future is a clock that was set back: as good as now.
    SystemTime::now().duration_since(modified).unwrap_or_default()
}

fn remove(path: &Path) {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::debug!(file = ?path, %error, "the file of a dead process cannot be removed");
        }
        _ => tracing::info!(file = ?path, "removed the file of a dead process"),
    }
}
