//! Servers, instances and planes in one process do not cross wires.

use std::sync::Arc;
use std::time::{Duration, Instant};

use plane_core::{Delivery, DrainReport, ErrorKind, Handler, Request, Response, handler_fn};
use tokio::sync::Semaphore;

use super::plane::{Limits, Plane};
use super::probe::{Probe, Seen};
use super::world::{World, call, echo, endpoint, instance, read, register, soon};

/// Answers with who it is.
fn tells(who: &'static str) -> impl Handler {
    handler_fn(move |_, _| async move { Ok(Response::new(who)) })
}

/// Case A13: two instances of one endpoint at one server; one leaves, the other goes on.
pub async fn instances_of_one_endpoint_come_and_go_alone<P: Plane>() {
    let world = World::<P>::start().await;
    let one = register(&*world.server, "who", 1, tells("one")).await;
    let two = register(&*world.server, "who", 2, tells("two")).await;
    let ask = |id: Option<u64>| {
        let mut request = Request::new(endpoint("who"), "go");
        request.instance = id.map(instance);
        world.read(request)
    };
    ask(Some(1)).await.assert_complete(&["one".into()]);
    ask(Some(2)).await.assert_complete(&["two".into()]);
    drop(one);
    let error = ask(Some(1)).await.error.unwrap();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::NotFound, Delivery::NotExecuted));
    ask(None).await.assert_complete(&["two".into()]);
    drop(two);
    let error = ask(None).await.error.unwrap();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::NotFound, Delivery::NotExecuted));
}

pub async fn the_same_instance_twice_is_refused<P: Plane>() {
    let world = World::<P>::start().await;
    let _one = register(&*world.server, "who", 1, tells("one")).await;
    let again = world.server.register(endpoint("who"), instance(1), Arc::new(tells("again"))).await;
    assert_eq!(again.unwrap_err().kind(), ErrorKind::AlreadyExists);
    world.read(Request::new(endpoint("who"), "go")).await.assert_complete(&["one".into()]);
}

/// Case A13: two servers; stopping one leaves the other answering.
pub async fn two_servers_do_not_know_each_other<P: Plane>() {
    let world = World::<P>::start().await;
    let other = world.plane.serve(Limits::default()).await;
    assert_ne!(world.server.address(), other.address());
    let _here = register(&*world.server, "who", 1, tells("here")).await;
    let _there = register(&*other, "who", 1, tells("there")).await;
    let ask_there = || read(call(&world.client, other.address(), Request::new(endpoint("who"), "go")));
    world.read(Request::new(endpoint("who"), "go")).await.assert_complete(&["here".into()]);
    ask_there().await.assert_complete(&["there".into()]);
    world.server.drain(soon()).await;
    for _ in 0..10 {
        ask_there().await.assert_complete(&["there".into()]);
    }
    assert!(world.error(Request::new(endpoint("who"), "go")).await.delivery().is_retry_safe());
}

/// Case A14: unregister waits for its own calls, and for no others.
pub async fn unregister_waits_for_its_calls<P: Plane>() {
    let mut world = World::<P>::start().await;
    let (mut probe, gate) = (Probe::new(), Arc::new(Semaphore::new(0)));
    let echo = world.serve("echo", echo()).await;
    let leaving = register(&*world.server, "leaving", 1, probe.gated(&gate)).await;
    let in_flight = world.spawn_read(Request::new(endpoint("leaving"), "in flight"));
    assert_eq!(probe.seen().await, Seen::Started);
    let unregister = tokio::spawn(leaving.unregister(soon()));
    // The name is gone as soon as the handler is out of the table.
    let refused = loop {
        let gone = world.read(Request::new(endpoint("leaving"), "late").with_timeout(Duration::from_millis(100))).await;
        match gone.error.unwrap() {
            error if error.kind() == ErrorKind::NotFound => break error,
            error => assert_eq!(error.kind(), ErrorKind::DeadlineExceeded),
        }
    };
    assert_eq!(refused.delivery(), Delivery::NotExecuted);
    world.still_answers(&echo).await;
    gate.add_permits(100);
    in_flight.await.unwrap().assert_complete(&["in flight".into()]);
    assert_eq!(unregister.await.unwrap().aborted, 0);
}

/// Case A14: bounded, and reports what was left.
pub async fn unregister_reports_what_is_left<P: Plane>() {
    let world = World::<P>::start().await;
    let mut probe = Probe::new();
    let stuck = register(&*world.server, "stuck", 1, probe.hang()).await;
    let call = world.spawn(Request::new(endpoint("stuck"), "go"));
    assert_eq!(probe.seen().await, Seen::Started);
    let deadline = Instant::now() + Duration::from_millis(50);
    assert_eq!(stuck.unregister(deadline).await, DrainReport::new(0, 1));
    call.abort();
    assert!(matches!(probe.seen().await, Seen::Aborted(_)));
}

/// Registered means ready: a call made the moment after succeeds, every time.
pub async fn registered_means_ready<P: Plane>() {
    let world = World::<P>::start().await;
    for round in 0..200 {
        let registration = register(&*world.server, &format!("round-{round}"), 1, echo()).await;
        world.still_answers(&registration.instance().endpoint).await;
    }
}

pub async fn two_planes_never_meet<P: Plane>() {
    let (mut one, mut two) = (World::<P>::start().await, World::<P>::start().await);
    let who = one.serve("who", tells("one")).await;
    two.serve("who", tells("two")).await;
    one.read(Request::new(who.clone(), "go")).await.assert_complete(&["one".into()]);
    two.read(Request::new(who.clone(), "go")).await.assert_complete(&["two".into()]);
    one.server.drain(soon()).await;
    two.read(Request::new(who, "go")).await.assert_complete(&["two".into()]);
}
