//! The directory itself: made, checked, and what is said if it cannot be used.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;

use plane_core::{Delivery, Error, ErrorKind};

use crate::config::DISCOVERY_DIR;

/// Makes the directory and looks whether it can be used.
///
/// # Errors
/// `Unavailable` with the system's reason, `PermissionDenied` if it should be private and is not.
pub(super) fn prepare(directory: &Path, private: bool) -> Result<(), Error> {
    make(directory)
        .and_then(|()| fs::read_dir(directory).map(drop))
        .map_err(|error| unusable(directory, "be used", error))?;
    if private {
        // The link itself: whoever made one in a shared place chose where it leads.
        let found = fs::symlink_metadata(directory).map_err(|error| unusable(directory, "be used", error))?;
        if !found.is_dir() || found.uid() != rustix::process::getuid().as_raw() || found.mode() & 0o077 != 0 {
            let what = format!(
                "the discovery directory {} must belong to this user and be closed to others (mode 0700); set \
                 {DISCOVERY_DIR} to a directory that you trust",
                directory.display()
            );
            return Err(Error::new(ErrorKind::PermissionDenied, Delivery::NotSent, what));
        }
    }
    Ok(())
}

/// Makes the directory, closed to others, if it is not there.
pub(super) fn make(directory: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)
}

/// `purpose` completes "cannot".
pub(super) fn unusable(directory: &Path, purpose: &str, error: io::Error) -> Error {
    let what = format!(
        "the discovery directory {} cannot {purpose}: {error}; set {DISCOVERY_DIR} to another one",
        directory.display()
    );
    let kind = match error.kind() {
        io::ErrorKind::InvalidInput => ErrorKind::InvalidArgument,
        _ => ErrorKind::Unavailable,
    };
    Error::new(kind, Delivery::NotSent, what).with_source(error)
}
