//! What was made of files, made anew when they change ([`Reloading`]).

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use plane_core::{Error, Health};

use super::files::{Stamp, stamps};

/// Files that could not be used are tried again after this, even if they look the same: a read may have met them half
/// written.
const TRY_AGAIN: Duration = Duration::from_secs(10);

type Load<T> = Box<dyn Fn() -> Result<T, Error> + Send + Sync>;

/// What was made of some files. Each handshake looks whether they have changed, so nothing has to watch them: no task,
/// and no cost as long as nobody connects.
pub(super) struct Reloading<T> {
    files: Vec<PathBuf>,
    load: Load<T>,
    state: Mutex<State<T>>,
}

struct State<T> {
    current: Arc<T>,
    stamps: Vec<Stamp>,
    /// Why the files that are there now are not used, and when they are tried again.
    refused: Option<(Instant, String)>,
}

impl<T> Reloading<T> {
    /// # Errors
    /// What `load` says of the files that are there now.
    pub(super) fn new(
        files: Vec<PathBuf>,
        load: impl Fn() -> Result<T, Error> + Send + Sync + 'static,
    ) -> Result<Self, Error> {
        // Before they are read: a change in between is then noticed later.
        let stamps = stamps(&files);
        let state = State { current: Arc::new(load()?), stamps, refused: None };
        Ok(Self { files, load: Box::new(load), state: Mutex::new(state) })
    }

    /// What the files say now, or what they said when they could be used last.
    pub(super) fn current(&self) -> Arc<T> {
        let now = Instant::now();
        let stamps = stamps(&self.files);
        let mut state = self.state.lock();
        let try_again = state.refused.as_ref().is_some_and(|(at, _)| *at <= now);
        if stamps != state.stamps || try_again {
            state.stamps = stamps;
            match (self.load)() {
                Ok(loaded) => {
                    tracing::info!(files = ?self.files, "the TLS files have changed; new connections use them");
                    state.current = Arc::new(loaded);
                    state.refused = None;
                }
                Err(error) => {
                    tracing::warn!(%error, "the TLS files have changed and cannot be used; the old ones are");
                    state.refused = Some((now + TRY_AGAIN, error.to_string()));
                }
            }
        }
        state.current.clone()
    }

    /// Degraded while the files that are there are not those that are used.
    pub(super) fn health(&self) -> Health {
        match &self.state.lock().refused {
            Some((_, why)) => {
                Health::Degraded(format!("the TLS files cannot be used, and their former state is: {why}"))
            }
            None => Health::Ready,
        }
    }
}

impl<T> fmt::Debug for Reloading<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reloading").field("files", &self.files).finish_non_exhaustive()
    }
}
