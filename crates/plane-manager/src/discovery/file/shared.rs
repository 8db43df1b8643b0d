//! What is announced here and known from others.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;
use plane_core::{Delivery, EndpointId, Error, ErrorKind, Health, Instance};
use tokio::sync::Notify;

use super::directory::{make, unusable};
use super::process::Process;
use super::record::Record;
use crate::discovery::board::{Board, Key, key};
use crate::discovery::trouble::Trouble;
use crate::discovery::{InstanceWatch, Published};

/// How often an announcement shows that its process lives, for those who cannot look the process up.
const BEAT: Duration = Duration::from_secs(2);

/// What is announced here and known from others.
#[derive(Debug)]
pub(super) struct Shared {
    directory: PathBuf,
    process: Process,
    publisher: u64,
    board: Board,
    /// Held while a file of these is written or removed, and while the board is changed: so a round that began
    /// before an instance was withdrawn cannot bring it back.
    own: Mutex<Own>,
    watched: AtomicBool,
    changed: Arc<Notify>,
}

#[derive(Debug)]
struct Own {
    records: BTreeMap<Key, Record>,
    last_beat: Instant,
    reading: Trouble,
    writing: Trouble,
}

impl Shared {
    pub(super) fn new(directory: PathBuf) -> Self {
        Self {
            directory,
            process: Process::current(),
            publisher: fastrand::u64(..),
            board: Board::default(),
            own: Mutex::new(Own {
                records: BTreeMap::new(),
                last_beat: Instant::now(),
                reading: Trouble::default(),
                writing: Trouble::default(),
            }),
            watched: AtomicBool::new(false),
            changed: Arc::default(),
        }
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Rings when the directory may have changed.
    pub(super) fn changed(&self) -> &Arc<Notify> {
        &self.changed
    }

    pub(super) fn is_watched(&self) -> bool {
        self.watched.load(Ordering::Acquire)
    }

    pub(super) fn watch(&self, endpoint: &EndpointId) -> InstanceWatch {
        self.start_watching();
        self.board.watch(endpoint)
    }

    pub(super) fn watch_all(&self) -> InstanceWatch {
        self.start_watching();
        self.board.watch_all()
    }

    fn start_watching(&self) {
        if !self.watched.swap(true, Ordering::AcqRel) {
            self.changed.notify_one();
        }
    }

    /// Writes the file; the announcement removes it.
    pub(super) fn publish(shared: &Arc<Self>, instance: Instance) -> Result<Published, Error> {
        let key = key(&instance);
        let record =
            Record { instance: instance.clone(), process: shared.process.clone(), publisher: shared.publisher };
        let mut own = shared.own.lock();
        if own.records.contains_key(&key) {
            let what = format!("instance {} of {} is already published", instance.id, instance.endpoint);
            return Err(Error::new(ErrorKind::AlreadyExists, Delivery::NotSent, what));
        }
        make(&shared.directory)
            .and_then(|()| record.write(&shared.directory))
            .map_err(|error| unusable(&shared.directory, "be written to", error))?;
        own.records.insert(key.clone(), record);
        shared.board.insert(instance.clone());
        drop(own);
        let shared = shared.clone();
        Ok(Published::new(instance, move || shared.withdraw(&key)))
    }

    fn withdraw(&self, key: &Key) {
        let mut own = self.own.lock();
        if let Some(record) = own.records.remove(key) {
            let path = self.directory.join(Record::file_name(&record.instance));
            if let Err(error) = fs::remove_file(&path)
                && error.kind() != io::ErrorKind::NotFound
            {
                tracing::warn!(file = ?path, %error, "a withdrawn instance is still listed until this process ends");
            }
            self.board.remove(key);
        }
    }

    /// Shows that this process lives, and writes files anew that somebody removed.
    pub(super) fn beat(&self) {
        let mut own = self.own.lock();
        if own.last_beat.elapsed() < BEAT {
            return;
        }
        own.last_beat = Instant::now();
        let beaten = own.records.values().try_for_each(|record| self.beat_one(record));
        own.writing.note(beaten.map_err(|error| unusable(&self.directory, "be written to", error)));
    }

    fn beat_one(&self, record: &Record) -> io::Result<()> {
        match File::options().write(true).open(self.directory.join(Record::file_name(&record.instance))) {
            Ok(file) => file.set_modified(SystemTime::now()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                make(&self.directory)?;
                record.write(&self.directory)
            }
            Err(error) => Err(error),
        }
    }

    /// Takes over what a scan found. What is announced here is known better than any scan knows it.
    pub(super) fn apply(&self, scanned: io::Result<BTreeMap<Key, Record>>) {
        let mut own = self.own.lock();
        let applied = scanned.map(|found| {
            let others = found.into_iter().filter(|(_, record)| !self.announces(record));
            let all = others.chain(own.records.clone()).map(|(key, record)| (key, record.instance));
            self.board.replace(all.collect());
        });
        own.reading.note(applied.map_err(|error| self.unreadable(error)));
    }

    /// Whether the directory can be read and written to.
    pub(super) fn health(&self) -> Health {
        let own = self.own.lock();
        match own.reading.now().or(own.writing.now()) {
            Some(trouble) => Health::Degraded(trouble.to_owned()),
            None => Health::Ready,
        }
    }

    fn announces(&self, record: &Record) -> bool {
        record.publisher == self.publisher && record.process == self.process
    }

    pub(super) fn unreadable(&self, error: io::Error) -> Error {
        unusable(&self.directory, "be read", error)
    }
}
