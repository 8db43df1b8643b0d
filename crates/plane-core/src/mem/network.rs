//! Which names are served.

use std::sync::{Arc, Weak};

use parking_lot::RwLock;
use rustc_hash::FxHashMap;

use super::config::MemConfig;
use super::running::Running;
use crate::endpoints::Endpoints;
use crate::error::{Delivery, Error, ErrorKind};

/// The names that are served in one in-process network. Clones are the same network; two networks never meet.
#[derive(Debug, Clone, Default)]
pub struct MemNetwork {
    names: Arc<RwLock<FxHashMap<Arc<str>, Weak<Listener>>>>,
}

/// A server as its callers find it.
#[derive(Debug)]
pub(super) struct Listener {
    pub(super) endpoints: Endpoints,
    pub(super) running: Running,
    pub(super) config: MemConfig,
}

impl MemNetwork {
    /// A network without servers.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    pub(super) fn listen(&self, name: &Arc<str>, listener: &Arc<Listener>) -> Result<(), Error> {
        let mut names = self.names.write();
        if names.get(name).is_some_and(|listener| listener.strong_count() > 0) {
            let what = format!("the address mem://{name} is in use: stop the server that has it, or pick another name");
            return Err(Error::new(ErrorKind::AlreadyExists, Delivery::NotSent, what));
        }
        names.insert(name.clone(), Arc::downgrade(listener));
        Ok(())
    }

    /// Frees the name, unless another server has it by now.
    pub(super) fn leave(&self, name: &str, listener: &Arc<Listener>) {
        let mut names = self.names.write();
        if names.get(name).is_some_and(|known| std::ptr::eq(known.as_ptr(), Arc::as_ptr(listener))) {
            names.remove(name);
        }
    }

    pub(super) fn find(&self, name: &str) -> Result<Arc<Listener>, Error> {
        self.names.read().get(name).and_then(Weak::upgrade).ok_or_else(|| {
            let what = format!("no server of this network listens at mem://{name}");
            Error::new(ErrorKind::Unavailable, Delivery::NotSent, what)
        })
    }
}
