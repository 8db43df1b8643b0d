//! Where the server's program is.

use std::path::{Path, PathBuf};

/// Names the program; `cargo xtask test` sets it.
const VARIABLE: &str = "PLANE_NATS_SERVER";

/// The program that the environment names, else the one that was installed into this checkout, else one on PATH.
///
/// # Panics
/// If there is none, saying how to get one: a test that needs a server is never skipped.
pub(super) fn find() -> PathBuf {
    if let Some(named) = std::env::var_os(VARIABLE) {
        let path = PathBuf::from(named);
        assert!(path.is_file(), "{VARIABLE} names {}, which is no file: unset it or correct it", path.display());
        return path;
    }
    let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/tools/bin/nats-server");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).map(|folder| folder.join("nats-server"));
    let found = std::iter::once(installed).chain(on_path).find(|candidate| candidate.is_file());
    found.unwrap_or_else(|| {
        panic!(
            "no nats-server was found: run the tests with `cargo xtask test`, or run \
             `scripts/install-nats-server.sh` once, or set {VARIABLE} to the path of one"
        )
    })
}
