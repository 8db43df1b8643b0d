//! The conformance suite on Unix sockets.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use plane_core::{Address, RequestPlaneClient, RequestPlaneServer};
use plane_tcp::Listen;
use plane_testkit::conformance::{Limits, Plane};
use tempfile::TempDir;

mod stream;

struct UnixPlane {
    directory: TempDir,
    servers: AtomicU64,
}

impl Plane for UnixPlane {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().expect("a directory for sockets"), servers: AtomicU64::new(0) }
    }

    async fn serve(&self, limits: Limits) -> Arc<dyn RequestPlaneServer> {
        let name = format!("{}.sock", self.servers.fetch_add(1, Ordering::Relaxed));
        stream::serve(stream::server_config(Listen::Unix(self.directory.path().join(name)), limits)).await
    }

    async fn serve_again(&self, address: &Address, limits: Limits) -> Arc<dyn RequestPlaneServer> {
        let Address::Unix(path) = address else { panic!("not a Unix socket: {address}") };
        stream::serve(stream::server_config(Listen::Unix(path.to_path_buf()), limits)).await
    }

    fn client(&self, limits: Limits) -> Arc<dyn RequestPlaneClient> {
        stream::client(stream::client_config(limits))
    }

    fn nowhere(&self) -> Address {
        Address::unix(self.directory.path().join("nobody.sock"))
    }
}

plane_testkit::conformance!(unix, UnixPlane);
