//! Servers that come back, at the same place or another, and instances that come and go without end.

use std::io::ErrorKind as IoErrorKind;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use plane_core::{Delivery, ErrorKind, Request};
use plane_manager::{EndpointClient, MemDiscovery, NetworkManager, Service};

use crate::place::{answer, builder, endpoint, local, manager, named, soon};

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Serves at this port, as soon as it is free.
async fn serve_at(port: u16) -> (NetworkManager, Service) {
    let port = port.to_string();
    let vars =
        [("DYN_TCP_RPC_HOST", "127.0.0.1"), ("DYN_TCP_RPC_PORT", port.as_str()), ("DYN_DISCOVERY_BACKEND", "mem")];
    let by = soon();
    loop {
        let server = manager(&vars);
        match server.serve(endpoint(), named("a")).await {
            Ok(service) => return (server, service),
            Err(error) => assert!(Instant::now() < by, "{error}"),
        }
    }
}

/// What one call ended with; a failed one must say so truly.
async fn succeeds(client: &EndpointClient) -> bool {
    let answered = async { client.call("x").await?.message().await };
    match answered.await {
        Ok(_) => true,
        Err(error) => {
            // A server listens for a moment before it serves, and after.
            let kinds = [ErrorKind::Unavailable, ErrorKind::Disconnected, ErrorKind::NotFound];
            assert!(kinds.contains(&error.kind()) && error.delivery() != Delivery::Executed, "{error:?}");
            false
        }
    }
}

/// Threat C4. The pauses between dials have become as long as they get; the bound is theirs, and what a busy machine adds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_back_at_its_port_is_found() {
    const OUTAGE: Duration = Duration::from_secs(4);
    const LONGEST_PAUSE: Duration = Duration::from_secs(5);
    const SLACK: Duration = Duration::from_secs(3);
    let port = free_port();
    let first = serve_at(port).await;
    let listed = format!("{}=tcp://127.0.0.1:{port}", endpoint());
    let caller = manager(&[("DYN_DISCOVERY_BACKEND", "static"), ("DYN_STATIC_INSTANCES", &listed)]);
    let client = caller.client(endpoint());
    assert_eq!(answer(&client).await, "a");
    drop(first);
    let gone = Instant::now();
    while gone.elapsed() < OUTAGE {
        succeeds(&client).await;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let _second = serve_at(port).await;
    let back = Instant::now();
    while !succeeds(&client).await {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(back.elapsed() < LONGEST_PAUSE + SLACK, "{:?}", back.elapsed());
    // From then on all of them.
    for _ in 0..100 {
        assert_eq!(answer(&client).await, "a");
    }
}

/// Threat C5: the new address is used from the next event on, and the old one is not dialled any more.
#[tokio::test]
async fn a_server_that_is_back_elsewhere_is_followed() {
    let directory = tempfile::tempdir().unwrap();
    let vars = local(directory.path());
    let caller = manager(&vars);
    let client = caller.client(endpoint());
    let old = manager(&vars);
    let served = old.serve(endpoint(), named("old")).await.unwrap();
    assert_eq!(answer(&client).await, "old");
    let was_at = served.instance().address.to_string();
    let new = manager(&vars);
    let now = new.serve(endpoint(), named("new")).await.unwrap();
    old.drain(soon()).await;
    let mut known = caller.discovery().watch(&endpoint());
    known.wait_for(|instances| instances.len() == 1 && instances[0].id == now.instance().id).await.unwrap();
    let nobody = TcpListener::bind(was_at.strip_prefix("tcp://").unwrap()).unwrap();
    nobody.set_nonblocking(true).unwrap();
    for _ in 0..100 {
        assert_eq!(answer(&client).await, "new");
    }
    assert_eq!(nobody.accept().unwrap_err().kind(), IoErrorKind::WouldBlock, "somebody has dialled the old address");
}

/// Threat C17: one instance stays, and another comes and goes ten thousand times. No call to the one that stays fails, none
/// to either ends otherwise than as one that did not run, and nothing is left over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn instances_that_come_and_go_ten_thousand_times_lose_no_call() {
    const TIMES: usize = 10_000;
    let directory = tempfile::tempdir().unwrap();
    let discovery = MemDiscovery::new();
    let with = || builder(&local(directory.path())).discovery(discovery.clone()).build().unwrap();
    let (server, caller) = (with(), with());
    let staying = server.serve(endpoint(), named("a")).await.unwrap();
    let client = caller.client(endpoint());
    assert_eq!(answer(&client).await, "a");
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let (before, ends) = (tasks(), Arc::new(AtomicBool::new(false)));
    let to_it = client.direct(staying.instance().id);
    let callers: Vec<_> = [client.clone(), client.clone(), to_it.clone(), to_it]
        .into_iter()
        .enumerate()
        .map(|(number, client)| {
            let ends = ends.clone();
            tokio::spawn(async move {
                let mut calls = 0;
                while !ends.load(Ordering::Relaxed) {
                    calls += 1;
                    if let Err(error) = client.call("x").await {
                        // Three that go, one after the other, are as many as a call tries.
                        assert!(number < 2 && error.delivery().is_retry_safe(), "{error:?}");
                    }
                }
                calls
            })
        })
        .collect();
    for _ in 0..TIMES {
        drop(server.serve(endpoint(), named("b")).await.unwrap());
    }
    ends.store(true, Ordering::Relaxed);
    let mut calls = 0;
    for caller in callers {
        calls += caller.await.unwrap();
    }
    assert!(calls > 100, "{calls}");
    assert_eq!(client.instances().len(), 1);
    let stats = server.stats().server.unwrap();
    assert_eq!((stats.in_flight, stats.failed, stats.started), (0, 0, stats.completed + stats.cancelled));
    // Those that were spawned for calls end by themselves.
    while tasks() > before {
        tokio::task::yield_now().await;
    }
    assert_eq!(staying.instance().id, client.instances()[0].id);
}

/// Threat C23: a timeout of nothing is over at once, and one beyond the clock is none.
#[tokio::test]
async fn timeouts_at_both_ends_of_the_range() {
    let directory = tempfile::tempdir().unwrap();
    let manager = manager(&local(directory.path()));
    let _service = manager.serve(endpoint(), named("a")).await.unwrap();
    let client = manager.client(endpoint());
    let none = client.call(Request::new(endpoint(), "x").with_timeout(Duration::ZERO)).await.unwrap_err();
    assert_eq!((none.kind(), none.delivery()), (ErrorKind::DeadlineExceeded, Delivery::NotSent));
    for endless in [Duration::MAX, Duration::from_micros(u64::MAX), Duration::from_secs(u64::from(u32::MAX))] {
        let answered = client.call(Request::new(endpoint(), "x").with_timeout(endless)).await.unwrap();
        assert_eq!(answered.message().await.unwrap(), "a");
    }
}
