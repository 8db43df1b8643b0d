//! Instances that go away while they are called.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use plane_core::{Delivery, Instance, InstanceId, Response, handler_fn};
use plane_manager::{
    Discovery, InstancePicker, InstanceSet, MemDiscovery, NetworkManager, NetworkManagerBuilder, RoundRobin,
};
use tokio::sync::{Barrier, watch};

use crate::place::{answer, builder, endpoint, local, manager, named, soon};

/// Takes turns, and counts how often each instance was picked.
#[derive(Debug, Clone, Default)]
struct Counted {
    turns: Arc<RoundRobin>,
    picks: Arc<Mutex<BTreeMap<InstanceId, u64>>>,
}

impl InstancePicker for Counted {
    fn pick<'a>(&self, instances: &'a [Instance], tried: &[InstanceId]) -> Option<&'a Instance> {
        let picked = self.turns.pick(instances, tried)?;
        *self.picks.lock().unwrap().entry(picked.id).or_default() += 1;
        Some(picked)
    }
}

impl Counted {
    /// A manager whose picks are counted here.
    fn counting(&self, builder: NetworkManagerBuilder) -> NetworkManager {
        let counted = self.clone();
        builder.picker(move || counted.clone()).build().unwrap()
    }

    fn of(&self, id: InstanceId) -> u64 {
        self.picks.lock().unwrap().get(&id).copied().unwrap_or(0)
    }
}

/// One of two workers drains under load, and no caller notices.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_under_load_fails_no_call() {
    let directory = tempfile::tempdir().unwrap();
    let frontend = manager(&local(directory.path()));
    let (staying, leaving) = (manager(&local(directory.path())), manager(&local(directory.path())));
    let _staying = staying.serve(endpoint(), named("a")).await.unwrap();
    let _leaving = leaving.serve(endpoint(), named("b")).await.unwrap();
    let client = frontend.client(endpoint());
    let mut watch = frontend.discovery().watch(&endpoint());
    watch.wait_for(|instances| instances.len() == 2).await.unwrap();
    let callers: Vec<_> = (0..8)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move {
                for _ in 0..500 {
                    answer(&client).await;
                }
            })
        })
        .collect();
    // In the middle of it: both have answered.
    while client.call("x").await.unwrap().message().await.unwrap() != "b" {}
    assert_eq!(leaving.drain(soon()).await.aborted, 0);
    for caller in callers {
        caller.await.unwrap();
    }
    assert_eq!(staying.stats().server.unwrap().failed, 0);
}

const CALLERS: usize = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_instance_is_never_picked_again_under_load() {
    let directory = tempfile::tempdir().unwrap();
    let picks = Counted::default();
    let frontend = picks.counting(builder(&local(directory.path())));
    let (staying, leaving) = (manager(&local(directory.path())), manager(&local(directory.path())));
    let _staying = staying.serve(endpoint(), named("a")).await.unwrap();
    let leaving = leaving.serve(endpoint(), named("b")).await.unwrap();
    let id = leaving.instance().id;
    let client = frontend.client(endpoint());
    let mut known = frontend.discovery().watch(&endpoint());
    known.wait_for(|instances| instances.len() == 2).await.unwrap();

    let (removed, barrier) = (watch::Sender::new(false), Arc::new(Barrier::new(CALLERS + 1)));
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let (client, removed, barrier) = (client.clone(), removed.subscribe(), barrier.clone());
            tokio::spawn(async move {
                while !*removed.borrow() {
                    answer(&client).await;
                }
                barrier.wait().await;
                barrier.wait().await;
                for _ in 0..200 {
                    assert_eq!(answer(&client).await, "a");
                }
            })
        })
        .collect();
    while answer(&client).await != "b" {}
    drop(leaving);
    known.wait_for(|instances| instances.len() == 1).await.unwrap();
    removed.send_replace(true);
    barrier.wait().await;
    // Every call that began before the removal is over.
    let before = picks.of(id);
    barrier.wait().await;
    for caller in callers {
        caller.await.unwrap();
    }
    assert!(before > 0);
    assert_eq!(picks.of(id), before);
}

/// Not a test of its own: the process that others start and kill. It serves from its working
/// directory until its standard input ends.
#[ignore = "a process that other tests start"]
#[tokio::test]
async fn a_worker_process() {
    let manager = manager(&local(&std::env::current_dir().unwrap()));
    let pid = std::process::id().to_string();
    let metadata = BTreeMap::from([("pid".to_owned(), pid.clone())]);
    let handler = handler_fn(move |_, _| {
        let pid = pid.clone();
        async move { Ok(Response::new(pid)) }
    });
    let _service = manager.serve_with_metadata(endpoint(), metadata, handler).await.unwrap();
    let ended = || std::io::Read::read_to_end(&mut std::io::stdin(), &mut Vec::new());
    tokio::task::spawn_blocking(ended).await.unwrap().unwrap();
}

fn start_worker(directory: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--ignored", "--nocapture", "removal::a_worker_process"])
        .current_dir(directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

#[tokio::test]
async fn a_killed_worker_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let frontend = manager(&local(directory.path()));
    let client = frontend.client(endpoint());
    let mut first = start_worker(directory.path());
    assert_eq!(answer(&client).await, first.id().to_string());
    let mut second = start_worker(directory.path());
    let mut watch = frontend.discovery().watch(&endpoint());
    watch.wait_for(|instances| instances.len() == 2).await.unwrap();
    first.kill().unwrap();
    first.wait().unwrap();
    // From the first call on: what cannot be dialled was not sent, and goes to the other one. A call on the connection
    // that broke may fail, if this side had not noticed.
    let mut unnoticed = 0;
    for _ in 0..20 {
        match client.call("x").await {
            Ok(response) => assert_eq!(response.message().await.unwrap(), second.id().to_string()),
            Err(error) => {
                assert_eq!(error.delivery(), Delivery::Unknown, "{error:?}");
                unnoticed += 1;
            }
        }
    }
    assert!(unnoticed <= 1, "{unnoticed}");
    watch.wait_for(|instances| instances.len() == 1).await.unwrap();
    drop(second.stdin.take());
    assert!(second.wait().unwrap().success());
}

/// Discovery may be late: whoever cannot be dialled was sent nothing, so its calls go to others and no caller notices.
#[tokio::test]
async fn a_killed_worker_that_is_still_listed_costs_no_call() {
    let directory = tempfile::tempdir().unwrap();
    let mut killed = start_worker(directory.path());
    let finder = manager(&local(directory.path()));
    let mut found = finder.discovery().watch(&endpoint());
    let found: InstanceSet = found.wait_for(|instances| instances.len() == 1).await.unwrap().clone();
    let id = found[0].id;

    // Lists it until it is told otherwise.
    let discovery = MemDiscovery::new();
    let listed = discovery.publish(found[0].clone()).await.unwrap();
    let picks = Counted::default();
    let living = picks.counting(builder(&local(directory.path())).discovery(discovery.clone()));
    let _service = living.serve(endpoint(), named("a")).await.unwrap();
    let client = living.client(endpoint());
    killed.kill().unwrap();
    killed.wait().unwrap();
    for _ in 0..20 {
        assert_eq!(answer(&client).await, "a");
    }
    let before = picks.of(id);
    assert!(before > 0);
    drop(listed);
    for _ in 0..20 {
        assert_eq!(answer(&client).await, "a");
    }
    assert_eq!(picks.of(id), before);
}
