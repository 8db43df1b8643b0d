//! How late this machine is at the moment, and how much memory the process holds.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// How long the thread sleeps each time; what it oversleeps is not the fault of what is tested.
const TICK: Duration = Duration::from_millis(1);
/// Between two looks at the memory.
const LOOK: u32 = 5;
/// Of a page, where the system does not say otherwise.
const PAGE: u64 = 4_096;

/// A thread of its own that looks at the machine, so that bounds on time can allow for what it adds.
#[derive(Debug)]
pub(super) struct Machine {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    /// Held open: a look must not change the number of descriptors.
    statm: File,
    peak: AtomicU64,
    delays: Mutex<Vec<Duration>>,
    over: AtomicBool,
}

impl Machine {
    pub(super) fn watch() -> Self {
        let statm = File::open("/proc/self/statm").expect("faults are injected on Linux");
        let shared =
            Arc::new(Shared { statm, peak: AtomicU64::new(0), delays: Mutex::default(), over: AtomicBool::new(false) });
        let thread = std::thread::spawn({
            let shared = shared.clone();
            move || shared.watch()
        });
        Self { shared, thread: Some(thread) }
    }

    /// Resident bytes now.
    pub(super) fn resident(&self) -> u64 {
        self.shared.resident()
    }

    /// The most resident bytes since the last call of this.
    pub(super) fn take_peak(&self) -> u64 {
        self.shared.peak.swap(0, Ordering::AcqRel).max(self.resident())
    }

    /// What this share of the looks was late by, at most.
    pub(super) fn delay(&self, share: f64) -> Duration {
        quantile(&mut self.shared.delays.lock().clone(), share)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn watch(&self) {
        let mut looks = 0_u32;
        while !self.over.load(Ordering::Acquire) {
            let began = Instant::now();
            std::thread::sleep(TICK);
            self.delays.lock().push(began.elapsed().saturating_sub(TICK));
            looks = looks.wrapping_add(1);
            if looks.is_multiple_of(LOOK) {
                self.peak.fetch_max(self.resident(), Ordering::AcqRel);
            }
        }
    }

    fn resident(&self) -> u64 {
        let mut text = [0; 128];
        let read = self.statm.read_at(&mut text, 0).unwrap_or(0);
        let text = String::from_utf8_lossy(&text[..read]);
        text.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * PAGE
    }
}

/// The value that this share of the values does not exceed.
pub(super) fn quantile(values: &mut [Duration], share: f64) -> Duration {
    values.sort_unstable();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a place in a list of thousands"
    )]
    let place = (values.len() as f64 * share) as usize;
    values.get(place.min(values.len().saturating_sub(1))).copied().unwrap_or_default()
}
