//! What threads share, under one name: tests/models puts instrumented types in its place, and tries every order of events
//! on the files that use it.

pub(crate) use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

pub(crate) use parking_lot::Mutex;
pub(crate) use tokio::sync::Notify;
