//! Tasks, descriptors and calls that must be gone once a case is over.

use std::sync::Arc;
use std::time::{Duration, Instant};

use plane_core::{RequestPlaneClient, RequestPlaneServer};
use tokio::runtime::Handle;

/// What ended may take to be gone: far more than it does, for a machine that is busy.
const GONE_WITHIN: Duration = Duration::from_secs(15);

/// What the process holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Holdings {
    pub(super) tasks: usize,
    pub(super) descriptors: usize,
}

impl Holdings {
    /// What it holds now, the calling task left out.
    pub(super) fn now() -> Self {
        let open = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
        Self { tasks: Handle::current().metrics().num_alive_tasks(), descriptors: open }
    }

    /// Waits until nothing is held beyond this.
    pub(super) async fn come_back(self) {
        let gone = |now: Self| now.tasks <= self.tasks && now.descriptors <= self.descriptors;
        wait_until(|| gone(Self::now())).await;
        let now = Self::now();
        assert!(gone(now), "left behind: {now:?}, and before the fault there were {self:?}");
    }
}

/// No call is in flight at these, and each that was is counted in exactly one outcome.
pub(super) async fn no_calls(clients: &[Arc<dyn RequestPlaneClient>], servers: &[Arc<dyn RequestPlaneServer>]) {
    for client in clients {
        wait_until(|| client.stats().in_flight == 0).await;
        let stats = client.stats();
        assert_eq!(stats.in_flight, 0, "a call is in flight at a client: {stats:?}");
        assert_eq!(stats.started, stats.completed + stats.failed + stats.cancelled, "{stats:?}");
    }
    for server in servers {
        wait_until(|| server.stats().in_flight == 0 && server.stats().queued == 0).await;
        let stats = server.stats();
        assert_eq!((stats.in_flight, stats.queued), (0, 0), "a call is in flight at a server: {stats:?}");
        assert_eq!(stats.started, stats.completed + stats.failed + stats.cancelled, "{stats:?}");
    }
}

/// Looks again and again: gauges have no events.
async fn wait_until(reached: impl Fn() -> bool) {
    let began = Instant::now();
    while !reached() && began.elapsed() < GONE_WITHIN {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
