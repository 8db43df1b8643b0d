//! What the operating system runs out of.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use plane_core::{Address, Delivery, ErrorKind, Request};
use plane_testkit::fault::Scene;
use plane_testkit::peer::Peer;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpStream;

use crate::handlers::{TOKENS, endpoint, tokens};
use crate::worker::Worker;
use crate::world::{Route, Setup, World};

/// Processor time that a process has used.
fn processor_time(worker: &Worker) -> Duration {
    let stat = worker.proc("stat");
    // After the name, which may have spaces: field 14 and 15, in hundredths of a second.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks: u64 = [11, 12].iter().filter_map(|place| fields.get(*place)?.parse::<u64>().ok()).sum();
    Duration::from_millis(10 * ticks)
}

/// Resident bytes of a process.
fn resident(worker: &Worker) -> u64 {
    let pages: u64 = worker.proc("statm").split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("statm");
    pages * 4_096
}

fn limit_descriptors(most: u64) {
    let limit = Rlimit { current: Some(most), ..getrlimit(Resource::Nofile) };
    setrlimit(Resource::Nofile, limit).expect("a soft limit below the hard one");
}

/// As many as the hard limit allows.
fn raise_descriptors() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).expect("up to the hard limit");
    limit.maximum.unwrap_or(u64::MAX)
}

fn socket_of(address: &Address) -> SocketAddr {
    let Address::Tcp { port, .. } = address else { panic!("not a TCP address: {address}") };
    (Ipv4Addr::LOCALHOST, *port).into()
}

pub(crate) async fn a_server_without_descriptors_waits_for_some(scene: Scene) {
    let worker = Worker::under("ulimit -n 64; exec \"$@\"", Setup::patient(), None, 0);
    let client = Setup::patient().tcp_client();
    scene.watch_client(&client);
    let route = Route { client: client.clone(), address: worker.address.clone() };
    let neighbour = scene.neighbour(&client, &worker.address, &endpoint("echo")).await;
    let mut open = Vec::new();
    for _ in 0..120 {
        open.push(TcpStream::connect(socket_of(&worker.address)).await.unwrap());
    }
    // The call of a caller that has a connection goes on.
    assert!(route.echo(&scene).await.is_complete());
    scene.assert_unhurt(neighbour).await;
    let (before, began) = (processor_time(&worker), Instant::now());
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let share = (processor_time(&worker) - before).as_secs_f64() / began.elapsed().as_secs_f64();
    assert!(share < 0.05, "{:.0} % of a processor are used for waiting", share * 100.0);
    drop(open);
    let freed = Instant::now();
    let late = Route { client: Setup::patient().tcp_client(), address: worker.address.clone() };
    scene.watch_client(&late.client);
    late.until_served(&scene, &[]).await;
    scene.assert_within(freed.elapsed(), Duration::from_secs(1), "a new connection was served");
}

pub(crate) async fn a_caller_without_descriptors_is_told_so(scene: Scene) {
    let setup = Setup::patient();
    let worker = Worker::start(setup, scene.nats_url().as_deref(), 0);
    let route = Route { client: setup.client(scene.nats_url().as_deref()), address: worker.address.clone() };
    scene.watch_client(&route.client);
    let most = std::fs::read_dir("/proc/self/fd").unwrap().count() as u64 + 16;
    limit_descriptors(most);
    let mut held = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        held.push(file);
    }
    for _ in 0..3 {
        let ended = route.echo(&scene).await;
        ended.assert_failed(ErrorKind::ResourceExhausted, Delivery::NotSent);
    }
    drop(held);
    // What failed before is no reason to wait long.
    let freed = Instant::now();
    route.until_served(&scene, &[ErrorKind::ResourceExhausted]).await;
    scene.assert_within(freed.elapsed(), Duration::from_secs(1), "a call was answered");
}

pub(crate) async fn a_thousand_streams_need_few_descriptors(scene: Scene) {
    const STREAMS: usize = 1_000;
    let setup = Setup::patient();
    let worker = Worker::under("ulimit -n 1024; exec \"$@\"", setup, scene.nats_url().as_deref(), 0);
    limit_descriptors(1_024);
    let client = setup.client(scene.nats_url().as_deref());
    scene.watch_client(&client);
    // All of them are open before one is read on.
    let mut open = Vec::new();
    let rounds = scene.size(1, 20);
    for _ in 0..rounds {
        let opening: Vec<_> = (0..STREAMS)
            .map(|_| {
                let (client, address) = (client.clone(), worker.address.clone());
                tokio::spawn(async move { client.call(&address, tokens(30, 64)).await })
            })
            .collect();
        for stream in opening {
            open.push(stream.await.unwrap().unwrap());
        }
        let connections = client.stats().connections;
        assert!(connections <= 8, "{connections} connections for {STREAMS} streams");
        let reading: Vec<_> = open.drain(..).map(|answer| scene.read(answer)).collect();
        for stream in reading {
            stream.ended().await.assert_complete(&TOKENS.messages(30, 64));
        }
    }
}

pub(crate) async fn idle_connections_cost_little_and_none_starves(scene: Scene) {
    let many = scene.size(600, 9_000);
    let most = raise_descriptors();
    if most < many as u64 + 200 {
        return scene.skip(format!("{many} connections need more than the {most} descriptors that are allowed here"));
    }
    let worker = Worker::under("ulimit -n $(ulimit -Hn); exec \"$@\"", Setup::patient(), None, 0);
    let mut peers = Vec::new();
    // What the first ones cost once is not theirs.
    for _ in 0..50 {
        peers.push(Peer::dial(&worker.address).await);
    }
    let before = resident(&worker);
    for _ in 0..many {
        peers.push(Peer::dial(&worker.address).await);
    }
    let each = resident(&worker).saturating_sub(before) / many as u64;
    println!("{each} bytes for each of {many} idle connections");
    assert!(each <= 16 << 10, "{each} bytes for each idle connection");
    for peer in peers.iter_mut().step_by(7) {
        peer.open(1, &endpoint("echo"), plane_core::frame::Flags::END, b"still here").await;
        assert_eq!(peer.expect_message(1).await.1, "still here");
    }
}

pub(crate) async fn a_flood_of_connections_passes(scene: Scene) {
    let world = World::with(&scene, Setup::patient()).await;
    let neighbour = world.neighbour().await;
    let address = socket_of(&world.server.address());
    let time = scene.size(Duration::from_secs(1), Duration::from_secs(10));
    // 10,000 in a second, from a thread of its own: as many as come, none of which says a word.
    let flood = std::thread::spawn(move || {
        let began = Instant::now();
        let mut made = 0_u64;
        while began.elapsed() < time {
            if made as u128 <= began.elapsed().as_millis() * 10 {
                made += u64::from(std::net::TcpStream::connect(address).is_ok());
            } else {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        made
    });
    let made = tokio::task::spawn_blocking(move || flood.join().unwrap()).await.unwrap();
    let over = Instant::now();
    println!("{made} connections in {time:?}");
    let late = Route { client: world.setup.tcp_client(), address: world.server.address() };
    scene.watch_client(&late.client);
    assert!(late.echo(&scene).await.is_complete());
    scene.assert_within(over.elapsed(), Duration::from_secs(2), "a new caller was answered");
    scene.assert_unhurt(neighbour).await;
}

pub(crate) async fn connecting_again_and_again_leaves_nothing(scene: Scene) {
    let world = World::with(&scene, Setup::patient()).await;
    let cycles = scene.size(300, 100_000);
    let cycle = async || {
        let route = Route { client: world.setup.tcp_client(), address: world.server.address() };
        assert!(route.echo(&scene).await.is_complete());
        route.client.close(Instant::now() + Duration::from_secs(5)).await;
    };
    for _ in 0..100 {
        cycle().await;
    }
    let memory = scene.memory();
    for _ in 0..cycles {
        cycle().await;
    }
    memory.assert_within(8 << 20, "memory of connections that are gone");
    while world.server.stats().connections > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

pub(crate) async fn little_memory_is_enough_under_attack(scene: Scene) {
    // 256 MiB of data, stacks of threads included.
    let worker = Worker::under("ulimit -d 262144; exec \"$@\"", Setup::patient(), None, 0);
    let client = Setup::patient().tcp_client();
    scene.watch_client(&client);
    let mut peers = Vec::new();
    for _ in 0..scene.size(16, 64) {
        let mut peer = Peer::dial(&worker.address).await;
        // Answers without end that nobody reads, a large frame that never comes, and as much as the window takes.
        for number in 0..8 {
            peer.open(2 * number + 1, &endpoint("tokens"), plane_core::frame::Flags::END, b"0 60000").await;
        }
        peer.open(101, &endpoint("hang"), plane_core::frame::Flags::NONE, &vec![0; 64 << 10]).await;
        peer.send(|out| {
            let head = plane_core::frame::Head::new(
                plane_core::frame::Kind::MESSAGE,
                plane_core::frame::Flags::NONE,
                101,
                256 << 10,
            );
            head.encode(out);
        })
        .await;
        peers.push(peer);
    }
    let route = Route { client, address: worker.address.clone() };
    for _ in 0..scene.size(100, 10_000) {
        assert!(route.echo(&scene).await.is_complete());
    }
    println!("{} MiB resident at the worker", resident(&worker) >> 20);
}

pub(crate) async fn an_address_with_a_dead_end_is_reached_by_the_other(scene: Scene) {
    // `localhost` may stand for ::1 as well, where nobody listens.
    let world = World::with(&scene, Setup::patient()).await;
    let port = socket_of(&world.server.address()).port();
    let by_name =
        Route { client: world.direct.client.clone(), address: Address::Tcp { host: "localhost".into(), port } };
    assert!(by_name.echo(&scene).await.is_complete());
    let nowhere = Address::Tcp { host: "no-such-host.invalid".into(), port };
    let asked = Instant::now();
    let ended = scene.call(&*world.direct.client, &nowhere, Request::new(endpoint("echo"), "x")).await;
    ended.assert_failed(ErrorKind::Unavailable, Delivery::NotSent);
    scene.assert_within(asked.elapsed(), Duration::from_secs(3), "a name that does not resolve");
}
