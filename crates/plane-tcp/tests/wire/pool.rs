//! Connections of a client.

use std::time::{Duration, Instant};

use plane_core::frame::{Flags, Hello};
use plane_core::{Address, RequestPlaneClient, RequestPlaneServer};
use plane_tcp::{ClientConfig, ServerConfig};
use plane_testkit::peer::PeerListener;

#[cfg(target_os = "linux")]
use crate::alone::on_one_core;
use crate::world::{World, client, echo, loopback, soon, until};

/// Case A9: as many first calls as one will ever see, to an address that was never called: all end, and the
/// connections stay within the pool.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_thousand_first_calls_share_the_pool() {
    let world = World::start().await;
    let client = client(ClientConfig::default().pool_size(8).expect("in range"));
    let calls: Vec<_> = (0..8_000_u32)
        .map(|number| {
            let (client, address) = (client.clone(), world.address.clone());
            tokio::spawn(async move { echo(&client, &address, number.to_be_bytes().to_vec()).await })
        })
        .collect();
    for (number, call) in (0_u32..).zip(calls) {
        let answer = soon(call).await.expect("no panic").expect("an answer");
        assert_eq!(answer, number.to_be_bytes()[..]);
    }
    let stats = client.stats();
    assert!((1..=8).contains(&stats.dials) && stats.connections <= 8, "{stats:?}");
    assert_eq!((stats.started, stats.completed), (8_000, 8_000));
}

/// Case A10: fifty callers, one connection with room for one queued request; then the server comes back on its port.
#[tokio::test]
async fn a_pool_of_one_serves_fifty_and_survives_a_restart() {
    let world = World::start().await;
    let Address::Tcp { port, .. } = world.address else { panic!("not a TCP address") };
    let one = ClientConfig::default().pool_size(1).and_then(|config| config.channel_buffer(1)).expect("in range");
    let client = client(one);
    let mut world = Some(world);
    for _ in 0..3 {
        let now = world.take().expect("a server");
        let calls: Vec<_> = (0..50_u8)
            .map(|number| {
                let (client, address) = (client.clone(), now.address.clone());
                tokio::spawn(async move { echo(&client, &address, vec![number]).await })
            })
            .collect();
        for (number, call) in (0_u8..).zip(calls) {
            assert_eq!(soon(call).await.expect("no panic").expect("an answer")[..], [number]);
        }
        assert!(client.stats().connections <= 1);
        now.server.drain(Instant::now() + Duration::from_secs(30)).await;
        drop(now);
        world = Some(World::with(ServerConfig::new(loopback(port))).await);
    }
    assert_eq!(client.stats().dials, 3);
}

/// Case A11: callers that lose the race for the only place wait, and none is told that it could not connect.
#[tokio::test]
async fn losing_a_race_for_room_is_nobodys_fault() {
    let listener = PeerListener::bind().await;
    let client = client(ClientConfig::default().pool_size(1).expect("in range"));
    let calls: Vec<_> = (0..10_u8)
        .map(|number| {
            let (client, address) = (client.clone(), listener.address());
            tokio::spawn(async move { echo(&client, &address, vec![number]).await })
        })
        .collect();
    let mut peer = listener.accept_with(&Hello { max_calls: 1, ..Hello::default() }).await;
    for _ in 0..10 {
        let (call, flags, message) = peer.expect_open().await;
        assert_eq!(flags, Flags::END);
        peer.message(call, Flags::END, &message).await;
    }
    for (number, call) in (0_u8..).zip(calls) {
        assert_eq!(soon(call).await.expect("no panic").expect("an answer")[..], [number]);
    }
    assert_eq!((client.stats().dials, client.stats().failed), (1, 0));
}

/// Case A10: a connection that died while nobody used it is not picked.
#[tokio::test]
async fn a_dead_connection_is_not_picked() {
    let listener = PeerListener::bind().await;
    let client = client(ClientConfig::default());
    for _ in 0..3 {
        let (caller, address) = (client.clone(), listener.address());
        let call = tokio::spawn(async move { echo(&caller, &address, "hi").await });
        let mut peer = listener.accept().await;
        let (id, _, _) = peer.expect_open().await;
        peer.message(id, Flags::END, b"ok").await;
        assert_eq!(soon(call).await.expect("no panic").expect("an answer"), "ok");
        drop(peer);
        until(|| client.stats().connections == 0).await;
    }
    assert_eq!((client.stats().dials, client.stats().failed), (3, 0));
}

/// On one core requests that make room wait for those behind them, and whoever waits for an answer offers the core.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn all_of_these_hold_on_one_core() {
    on_one_core("pool::", "pool::all_of_these_hold_on_one_core").await;
}
