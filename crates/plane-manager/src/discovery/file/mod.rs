//! One file per instance in a directory: discovery for the processes of one machine.
//!
//! - `directory`: the directory itself.
//! - `process`: which process announces an instance, and whether it lives.
//! - `record`: what a file says, and how it is written and read.
//! - `scan`: what a directory says.
//! - `notice`: being told when a directory changes.
//! - `shared`: what is announced here and known from others.

mod directory;
mod notice;
mod process;
mod record;
mod scan;
mod shared;

use std::fmt;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use plane_core::{BoxFuture, Delivery, EndpointId, Error, ErrorKind, Health, Instance};
use tokio::task::spawn_blocking;
use tokio_util::task::AbortOnDropHandle;

use super::{Discovery, InstanceWatch, Published};
use notice::Notice;
use scan::Scanner;
use shared::Shared;

/// How often the directory is looked at when nothing tells of a change: a process that was killed changes no file.
const TICK: Duration = Duration::from_millis(500);

/// Instances as files in a directory, one each.
///
/// Callers of all processes that use the same directory see an instance within milliseconds, and lose sight of it within
/// about half a second after its process was killed; where processes cannot be looked up (another container, another
/// system than Linux) within ten seconds. Files that make no sense are skipped with one warning each.
///
/// The first [`publish`](Discovery::publish) or [`watch`](Discovery::watch) spawns one task that keeps both going, and
/// the first watch starts the system's file notification, which has a thread of its own. Both end when this is
/// dropped; what is still announced then is taken for dead by others after ten seconds.
pub struct FileDiscovery {
    shared: Arc<Shared>,
    driver: OnceLock<AbortOnDropHandle<()>>,
}

impl FileDiscovery {
    /// Uses this directory and makes it, with mode 0700, if it is not there. A `private` one must belong to this user
    /// and be closed to others.
    ///
    /// # Errors
    /// `Unavailable` if the directory cannot be made or read, `PermissionDenied` if it is not private and should be.
    pub fn open(directory: &Path, private: bool) -> Result<Self, Error> {
        directory::prepare(directory, private)?;
        Ok(Self { shared: Arc::new(Shared::new(directory.to_owned())), driver: OnceLock::new() })
    }

    fn drive(&self) {
        self.driver.get_or_init(|| AbortOnDropHandle::new(tokio::spawn(drive(self.shared.clone()))));
    }
}

/// Keeps what is announced here alive, and what is known from others true.
async fn drive(shared: Arc<Shared>) {
    let mut scanner = Scanner::new(shared.directory().to_owned());
    let mut notice = Notice::default();
    loop {
        let here = shared.clone();
        let round = move || {
            here.beat();
            if here.is_watched() {
                let made = directory::make(here.directory());
                // Before the scan, so that no change falls between the two.
                notice.keep(here.directory(), here.changed());
                here.apply(made.and_then(|()| scanner.scan()));
            }
            (scanner, notice)
        };
        // It ends early only with the runtime.
        let Ok(done) = spawn_blocking(round).await else { return };
        (scanner, notice) = done;
        // Either way it is time for the next round.
        let _ = tokio::time::timeout(TICK, shared.changed().notified()).await;
    }
}

impl Discovery for FileDiscovery {
    fn publish(&self, instance: Instance) -> BoxFuture<'_, Result<Published, Error>> {
        Box::pin(async move {
            self.drive();
            let shared = self.shared.clone();
            // The announcement is made in there, so that it is taken back if nobody waits for it any more.
            spawn_blocking(move || Shared::publish(&shared, instance)).await.map_err(stopped)?
        })
    }

    fn watch(&self, endpoint: &EndpointId) -> InstanceWatch {
        let watch = self.shared.watch(endpoint);
        self.drive();
        watch
    }

    fn watch_all(&self) -> InstanceWatch {
        let watch = self.shared.watch_all();
        self.drive();
        watch
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<Instance>, Error>> {
        Box::pin(async move {
            let mut scanner = Scanner::new(self.shared.directory().to_owned());
            let found = spawn_blocking(move || scanner.scan()).await.map_err(stopped)?;
            let found = found.map_err(|error| self.shared.unreadable(error))?;
            Ok(found.into_values().map(|record| record.instance).collect())
        })
    }

    fn describe(&self) -> String {
        format!("file ({})", self.shared.directory().display())
    }

    fn health(&self) -> Health {
        self.shared.health()
    }
}

fn stopped(error: tokio::task::JoinError) -> Error {
    Error::new(ErrorKind::Unavailable, Delivery::NotSent, "the runtime stopped").with_source(error)
}

impl fmt::Debug for FileDiscovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileDiscovery").field("directory", &self.shared.directory()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
