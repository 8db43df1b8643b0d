//! A case in this process.

use std::net::Ipv4Addr;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::leftovers::Holdings;
use super::scene::Scene;
use super::suite::{Case, Transport};
use crate::ChaosProxy;

/// How a process says that its case cannot run here.
pub(super) const SKIPPED: u8 = 77;

/// Runs the case and checks what must hold after it.
pub(super) fn run(case: &Case, transport: Transport, is_long: bool) -> ExitCode {
    let panics = count_panics();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime");
    // In front of nothing, until the case says of what.
    let proxy = runtime.block_on(ChaosProxy::start((Ipv4Addr::LOCALHOST, 1).into())).expect("a free port");
    let scene = Scene::new(transport, is_long, proxy);
    runtime.block_on(async {
        let before = Holdings::now();
        // A task of its own: what a worker thread does, the case's own code does as well.
        tokio::spawn((case.work)(scene.clone())).await.expect("the case holds");
        if scene.skipped().is_some() {
            return;
        }
        scene.settle().await;
        before.come_back().await;
    });
    runtime.shutdown_background();
    if let Some(why) = scene.skipped() {
        println!("skipped: {why}");
        return SKIPPED.into();
    }
    assert_eq!(panics.load(Ordering::Acquire), scene.expected_panics(), "panics, and those that the case expects");
    ExitCode::SUCCESS
}

/// Counts panics wherever they are, those that are caught included.
fn count_panics() -> Arc<AtomicUsize> {
    let panics = Arc::new(AtomicUsize::new(0));
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new({
        let panics = panics.clone();
        move |info| {
            // The first ones are shown; ten thousand would be no help.
            if panics.fetch_add(1, Ordering::AcqRel) < 3 {
                tell(info);
            }
        }
    }));
    panics
}
