//! Deadlines, and clocks that differ.

use std::sync::Arc;
use std::time::{Duration, Instant};

use plane_core::{
    AbortReason, Address, Context, Delivery, ErrorKind, InstanceId, Request, RequestPlaneClient, Response, Status,
    handler_fn,
};
use plane_testkit::fault::Scene;
use tokio::sync::mpsc;

use crate::handlers::{Seen, endpoint};
use crate::worker::Worker;
use crate::world::{Route, Setup, World};

/// Starts a program whose clock, the one that only goes on, is years ahead of ours: what another host's may be.
const ELSEWHEN: &str =
    "exec unshare --user --time --fork --kill-child --monotonic 100000000 --boottime 100000000 \"$@\"";

/// Whether the system lets this user have such a clock.
fn may_differ() -> bool {
    let line = ELSEWHEN.replace("\"$@\"", "true");
    std::process::Command::new("sh").args(["-c", &line]).output().is_ok_and(|output| output.status.success())
}

pub(crate) async fn clocks_that_differ_change_no_deadline(scene: Scene) {
    if !may_differ() {
        return scene.skip("this user may have no clock of its own (unshare --user --time)");
    }
    let worker = Worker::under(ELSEWHEN, Setup::patient(), scene.nats_url().as_deref(), 0);
    let route = Route { client: Setup::patient().client(scene.nats_url().as_deref()), address: worker.address.clone() };
    scene.watch_client(&route.client);
    assert!(route.echo(&scene).await.is_complete());
    for timeout in [Duration::from_secs(10), Duration::from_secs(3_600)] {
        let request = Request::new(endpoint("remaining"), "").with_timeout(timeout);
        let ended = scene.call(&*route.client, &route.address, request).await;
        assert!(ended.is_complete(), "{ended:?}");
        let left: u64 = String::from_utf8_lossy(&ended.messages[0]).parse().expect("microseconds");
        let used = timeout.checked_sub(Duration::from_micros(left)).expect("no more than there was");
        scene.assert_within(used, Duration::from_millis(100), "the way there");
    }
    let timeout = Duration::from_millis(300);
    let request = Request::new(endpoint("hang"), "").with_timeout(timeout);
    let ended = scene.call(&*route.client, &route.address, request).await;
    assert_eq!(ended.verdict().map(|(kind, _)| kind), Some(ErrorKind::DeadlineExceeded), "{ended:?}");
    assert!(ended.took >= timeout, "it ended before its deadline: {:?}", ended.took);
}

/// Calls the next one with what is left of its own time, and tells how much that was.
async fn hop(
    (client, address): (Arc<dyn RequestPlaneClient>, Address),
    number: u64,
    context: Context,
    report: mpsc::Sender<(u64, Duration)>,
) -> Result<Response, Status> {
    let left = context.remaining().expect("the deadline travels");
    // The test counts them.
    let _ = report.try_send((number, left));
    tokio::time::sleep(Duration::from_millis(50)).await;
    let next = if number == 3 { "hang".to_owned() } else { format!("hop{}", number + 1) };
    let mut request = Request::new(endpoint(&next), "");
    request.deadline = context.deadline();
    let answer = client.call(&address, request).await.map_err(Status::from)?;
    Ok(Response::new(answer.message().await.map_err(Status::from)?))
}

pub(crate) async fn a_deadline_shrinks_over_three_hops(scene: Scene) {
    let mut world = World::with(&scene, Setup::patient()).await;
    let (report, mut hops) = mpsc::channel(16);
    let mut registrations = Vec::new();
    for number in 1..=3 {
        let next = (world.direct.client.clone(), world.direct.address.clone());
        let report = report.clone();
        let handler = handler_fn(move |_, context| hop(next.clone(), number, context, report.clone()));
        let id = InstanceId::new(1).expect("not zero");
        let served = world.server.register(endpoint(&format!("hop{number}")), id, Arc::new(handler)).await;
        registrations.push(served.expect("the name is free"));
    }
    let timeout = Duration::from_millis(600);
    let began = Instant::now();
    let request = Request::new(endpoint("hop1"), "").with_timeout(timeout);
    let ended = scene.call(&*world.behind.client, &world.behind.address, request).await;
    assert_eq!(ended.verdict().map(|(kind, _)| kind), Some(ErrorKind::DeadlineExceeded), "{ended:?}");
    scene.assert_within(began.elapsed(), timeout + Duration::from_millis(250), "all hops together");
    let mut before = timeout;
    for number in 1..=3 {
        let (hop, left) = hops.recv().await.expect("each hop was reached");
        assert_eq!(hop, number);
        let least = if number == 1 { Duration::ZERO } else { Duration::from_millis(50) };
        assert!(left + least <= before, "hop {number} had {left:?} left after {before:?}");
        before = left;
    }
    // The last of them was aborted by its deadline, not by a caller that went away later.
    assert_eq!(world.seen().await, Seen::Started);
    let Seen::Aborted(reason) = world.seen().await else { panic!("it hangs until it is aborted") };
    assert!(matches!(reason, AbortReason::DeadlineExceeded | AbortReason::Cancelled), "{reason:?}");
    world.until_quiet().await;
}

pub(crate) async fn a_deadline_in_the_past_starts_nothing(scene: Scene) {
    let world = World::with(&scene, Setup::patient()).await;
    let started = world.server.stats().started;
    for _ in 0..scene.size(100, 10_000) {
        let mut request = Request::new(endpoint("hang"), "");
        request.deadline = Some(Instant::now());
        let ended = scene.call(&*world.direct.client, &world.direct.address, request).await;
        ended.assert_failed(ErrorKind::DeadlineExceeded, Delivery::NotSent);
    }
    assert_eq!(world.server.stats().started, started);
}
