//! Being told when a directory changes.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use notify::event::ModifyKind;
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;

/// The system's notification about one directory. The directory is looked at regularly as well, so it may fail.
#[derive(Debug, Default)]
pub(super) struct Notice {
    watcher: Option<RecommendedWatcher>,
    /// Device and number of the directory that is watched: one that was deleted and made again is another.
    watched: Option<(u64, u64)>,
    complained: bool,
}

impl Notice {
    /// Has `changed` told about this directory from now on, if it is there.
    pub(super) fn keep(&mut self, directory: &Path, changed: &Arc<Notify>) {
        let now = fs::metadata(directory).ok().map(|found| (found.dev(), found.ino()));
        if now == self.watched {
            return;
        }
        self.watcher = None;
        self.watched = now;
        if now.is_some() {
            match watch(directory, changed.clone()) {
                Ok(watcher) => self.watcher = Some(watcher),
                Err(error) if !std::mem::replace(&mut self.complained, true) => {
                    tracing::warn!(?directory, %error, "changes of the discovery directory are noticed late");
                }
                Err(_) => {}
            }
        }
    }
}

fn watch(directory: &Path, changed: Arc<Notify>) -> notify::Result<RecommendedWatcher> {
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
        // A lost event is a reason to look, too.
        if event.map_or(true, |event| matters(&event.kind)) {
            changed.notify_one();
        }
    })?;
    watcher.watch(directory, RecursiveMode::NonRecursive)?;
    Ok(watcher)
}

/// Signs of life of other processes change times only, and come all the while.
fn matters(kind: &EventKind) -> bool {
    !matches!(kind, EventKind::Access(_) | EventKind::Modify(ModifyKind::Metadata(_)))
}
