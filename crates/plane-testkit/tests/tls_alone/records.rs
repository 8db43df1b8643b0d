//! What lies between a call and the socket: records that are split, late, cut and damaged.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use plane_core::{Body, Delivery, ErrorKind, Request, RequestPlaneClient, RequestPlaneServer};
use plane_tcp::TcpClient;
use plane_testkit::{Authority, ChaosProxy, Direction, Ending, Faults};

use crate::world::{HERE, World, at, echo, endpoint, soon, trusting, with_tls};

/// A server with TLS, a client that believes it, and a proxy between them.
struct Between {
    world: World,
    proxy: ChaosProxy,
    client: Arc<TcpClient>,
}

impl Between {
    async fn start() -> Self {
        let authority = Authority::new();
        let world = World::start(with_tls(&authority.sign(HERE))).await;
        let proxy = ChaosProxy::start(SocketAddr::from((Ipv4Addr::LOCALHOST, world.port()))).await.unwrap();
        Self { world, proxy, client: Arc::new(trusting(&authority)) }
    }

    async fn echo(&self, message: impl Into<Body>) -> Result<Bytes, plane_core::Error> {
        echo(&self.client, &at("tls", self.proxy.address().port()), message).await
    }
}

fn message(bytes: usize) -> Bytes {
    (0_u64..).flat_map(|n| (n * 0x9e37_79b9).to_le_bytes()).take(bytes).collect()
}

/// Messages of every size around that of a record, and one of many, through pieces of every odd size.
#[tokio::test]
async fn records_come_in_pieces() {
    let between = Between::start().await;
    for pieces in [1 << 20, 16_411, 1_000] {
        between.proxy.set_both(Faults::in_pieces(pieces));
        for bytes in [0, 1, 16_383, 16_384, 16_385, 65_536, 3 << 20] {
            let sent = message(bytes);
            assert!(between.echo(sent.clone()).await.expect("an answer") == sent, "{bytes} in pieces of {pieces}");
        }
    }
    assert_eq!(between.client.stats().dials, 1);
}

/// Hundreds of large calls at once, more than the socket takes: records that wait in both directions.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_large_calls_at_once() {
    let between = Arc::new(Between::start().await);
    let calls: Vec<_> = (0..200)
        .map(|n| {
            let (between, sent) = (between.clone(), message(200_000 + n));
            tokio::spawn(async move { between.echo(sent.clone()).await.expect("an answer") == sent })
        })
        .collect();
    for call in calls {
        assert!(soon(call).await.unwrap());
    }
}

/// A bit that was changed on the way is noticed by TLS: the call fails and nothing wrong is ever given out.
#[tokio::test]
async fn damaged_records_are_noticed() {
    for direction in [Direction::ToServer, Direction::ToClient] {
        let between = Between::start().await;
        assert_eq!(between.echo("first").await.expect("an answer"), "first");
        let connection = between.proxy.connection(0).await;
        connection.set(direction, Faults::corrupted_at(connection.bytes(direction) + 40));
        let error = between.echo(message(1_000)).await.expect_err("a damaged call");
        assert_eq!((error.kind(), error.delivery()), (ErrorKind::Disconnected, Delivery::Unknown), "{error}");
        assert_eq!(between.echo("again").await.expect("an answer on another connection"), "again");
    }
}

/// A stream whose connection ends in the middle is an error, whether TLS announced the end or not.
#[tokio::test]
async fn a_stream_that_is_cut_is_no_end() {
    for ending in [Ending::Close, Ending::Reset] {
        let between = Between::start().await;
        let (items, body) = Body::channel(4);
        let address = at("tls", between.proxy.address().port());
        let calling = between.client.call(&address, Request::new(endpoint(), body));
        let (response, ()) =
            soon(async { tokio::join!(calling, async { items.send("one").await.expect("somebody reads") }) }).await;
        let mut response = response.expect("an answer");
        assert_eq!(soon(response.next()).await.expect("an item").expect("in order"), "one");
        between.proxy.end_all(ending);
        let error = soon(response.next()).await.expect("no end").expect_err("cut");
        assert_eq!(error.kind(), ErrorKind::Disconnected, "{error}");
        drop(items);
    }
}

/// A server that leaves says so inside TLS, finishes its calls, and its last bytes arrive.
#[tokio::test]
async fn a_drain_is_orderly() {
    let between = Between::start().await;
    let (items, body) = Body::channel(4);
    let address = at("tls", between.proxy.address().port());
    let calling = between.client.call(&address, Request::new(endpoint(), body));
    let (response, ()) =
        soon(async { tokio::join!(calling, async { items.send("one").await.expect("somebody reads") }) }).await;
    let mut response = response.expect("an answer");
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    let (report, ()) = soon(async {
        tokio::join!(between.world.server.drain(deadline), async {
            assert_eq!(response.next().await.expect("an item").expect("in order"), "one");
            items.send("two").await.expect("somebody reads");
            items.finish().await.expect("somebody reads");
            assert_eq!(response.next().await.expect("an item").expect("in order"), "two");
            assert!(response.next().await.is_none());
        })
    })
    .await;
    assert_eq!((report.finished, report.aborted), (1, 0));
}
