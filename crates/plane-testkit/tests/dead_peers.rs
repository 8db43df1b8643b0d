//! A peer that freezes, vanishes or is cut off ends its calls typed and in time, and the next call finds its way.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use plane_core::{
    AbortReason, Address, Body, Context, Delivery, EndpointId, Error, ErrorKind, InstanceId, Registration, Request,
    RequestPlaneClient, RequestPlaneServer, Response, Status, handler_fn,
};
use plane_tcp::{ClientConfig, ConnectionConfig, Listen, ServerConfig, TcpClient, TcpServer};
use plane_testkit::{ChaosProxy, Ending, Faults};
use tokio::sync::mpsc;

const INTERVAL: Duration = Duration::from_millis(150);
const TIMEOUT: Duration = Duration::from_millis(150);

/// Far more than the sum of both, for a machine that is busy.
const IN_TIME: Duration = Duration::from_secs(10);

struct World {
    proxy: ChaosProxy,
    address: Address,
    client: TcpClient,
    server: TcpServer,
    aborted: mpsc::Receiver<AbortReason>,
    _registrations: [Registration; 2],
}

fn connection() -> ConnectionConfig {
    ConnectionConfig::default().keepalive(INTERVAL, TIMEOUT).unwrap()
}

fn endpoint(name: &str) -> EndpointId {
    EndpointId::new("test", "faults", name).unwrap()
}

impl World {
    async fn start() -> Self {
        Self::start_with(connection()).await
    }

    async fn start_with(connection: ConnectionConfig) -> Self {
        let bind = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let config = ServerConfig::new(Listen::Tcp { bind, advertise: None }).connection(connection.clone());
        let (server, driver) = TcpServer::bind(config).await.unwrap();
        tokio::spawn(driver);
        let Address::Tcp { port, .. } = server.address() else { panic!("not a TCP address") };
        let proxy = ChaosProxy::start((Ipv4Addr::LOCALHOST, port).into()).await.unwrap();
        let (report, aborted) = mpsc::channel(16);
        let echo = handler_fn(|request: Request, _| async { Ok(Response::new(request.body)) });
        let drip = handler_fn(move |_, context| drip(context, report.clone()));
        let id = InstanceId::new(1).unwrap();
        let registrations = [
            server.register(endpoint("echo"), id, Arc::new(echo)).await.unwrap(),
            server.register(endpoint("drip"), id, Arc::new(drip)).await.unwrap(),
        ];
        let address = Address::tcp(proxy.address());
        let client = TcpClient::new(ClientConfig::default().connection(connection));
        Self { proxy, address, client, server, aborted, _registrations: registrations }
    }

    async fn echo(&self) -> Result<(), Error> {
        let nonce = fastrand::u64(..).to_be_bytes().to_vec();
        let answer = self.client.call(&self.address, Request::new(endpoint("echo"), nonce.clone())).await?;
        assert_eq!(answer.message().await?, nonce);
        Ok(())
    }

    /// A stream that has given its first message and then stays open.
    async fn open_stream(&self) -> Response {
        let mut answer = self.client.call(&self.address, Request::new(endpoint("drip"), "go")).await.unwrap();
        assert_eq!(answer.next().await.unwrap().unwrap(), "first");
        answer
    }

    /// Nothing is left of the calls that were in flight, on either side.
    async fn settled(&mut self) {
        assert_eq!(self.aborted.recv().await, Some(AbortReason::Disconnected));
        while self.server.stats().in_flight > 0 || self.server.stats().connections > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(self.client.stats().in_flight, 0);
    }
}

/// One message at once, then none until the call is aborted; what aborted it is reported.
async fn drip(context: Context, report: mpsc::Sender<AbortReason>) -> Result<Response, Status> {
    let (sender, body) = Body::channel(1);
    sender.send("first").await?;
    tokio::spawn(async move {
        let reason = context.aborted().await;
        // The test may have ended already.
        let _ = report.send(reason).await;
        drop(sender);
    });
    Ok(Response::new(body))
}

async fn in_time<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(IN_TIME, work).await.expect("every call ends in time")
}

/// A frozen peer fails its calls within interval and timeout, in the middle of a stream too.
#[tokio::test]
async fn a_frozen_peer_is_found_by_the_keepalive() {
    let mut world = World::start().await;
    world.echo().await.unwrap();
    let mut stream = world.open_stream().await;
    let frozen = Instant::now();
    world.proxy.set_both(Faults::half_open());
    let unary = in_time(world.echo());
    let (unary, streamed) = tokio::join!(unary, in_time(stream.next()));
    assert!(frozen.elapsed() >= TIMEOUT, "found before it could be known: {:?}", frozen.elapsed());
    let (unary, streamed) = (unary.unwrap_err(), streamed.unwrap().unwrap_err());
    assert_eq!((unary.kind(), unary.delivery()), (ErrorKind::Disconnected, Delivery::Unknown));
    assert_eq!((streamed.kind(), streamed.delivery()), (ErrorKind::Disconnected, Delivery::Executed));
    in_time(world.settled()).await;
    // Once the network is repaired the next call finds a new connection by itself.
    world.proxy.set_both(Faults::none());
    in_time(world.echo()).await.unwrap();
}

/// A deadline is kept by the caller's own clock: the server is frozen, and the keepalive is far away.
#[tokio::test]
async fn a_deadline_needs_no_server() {
    let world = World::start_with(ConnectionConfig::default()).await;
    world.echo().await.unwrap();
    world.proxy.set_both(Faults::half_open());
    let request = Request::new(endpoint("echo"), "never heard").with_timeout(Duration::from_millis(50));
    let asked = Instant::now();
    let error = in_time(world.client.call(&world.address, request)).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::DeadlineExceeded, Delivery::Unknown));
    // Far below the keepalive's 10 s, whose timer would have ended the call too.
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
}

/// Threat C8: bytes vanish in one direction only.
#[tokio::test]
async fn a_one_way_black_hole_is_found_as_well() {
    for direction in [plane_testkit::Direction::ToClient, plane_testkit::Direction::ToServer] {
        let mut world = World::start().await;
        let mut stream = world.open_stream().await;
        world.proxy.set(direction, Faults::black_hole());
        let error = in_time(stream.next()).await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Disconnected, "{direction:?}");
        in_time(world.settled()).await;
    }
}

/// Threats B4 and B5, case C2: a connection that ends in the middle of a stream never looks like its end.
#[tokio::test]
async fn a_lost_connection_is_never_a_clean_end() {
    for ending in [Ending::Close, Ending::Reset] {
        let mut world = World::start().await;
        let mut stream = world.open_stream().await;
        world.proxy.end_all(ending);
        let error = in_time(stream.next()).await.unwrap().unwrap_err();
        assert_eq!((error.kind(), error.delivery()), (ErrorKind::Disconnected, Delivery::Executed), "{ending:?}");
        assert!(stream.next().await.is_none());
        in_time(world.settled()).await;
        in_time(world.echo()).await.unwrap();
    }
}

/// An idle connection whose peer is there stays; keepalive alone neither closes nor opens any.
#[tokio::test]
async fn keepalive_holds_an_idle_connection() {
    let world = World::start().await;
    world.echo().await.unwrap();
    let connection = world.proxy.connection(0).await;
    let before = connection.bytes(plane_testkit::Direction::ToServer);
    // Three pings of 24 bytes from the client.
    in_time(connection.forwarded(plane_testkit::Direction::ToServer, before + 3 * 24)).await;
    world.echo().await.unwrap();
    assert_eq!((world.client.stats().dials, world.client.stats().connections), (1, 1));
}

/// Case A1: whatever the network does to the pieces, the messages are the same.
#[tokio::test]
async fn pieces_of_any_size_carry_the_same_calls() {
    for faults in [Faults::in_pieces(1), Faults::in_pieces(17), Faults::split_at(9)] {
        let world = World::start().await;
        world.proxy.set_both(faults);
        for _ in 0..8 {
            in_time(world.echo()).await.unwrap();
        }
        world.open_stream().await;
    }
}

/// Threat A31: cut at every byte of a hello and a call, the call ends typed and nothing half is delivered.
#[tokio::test]
async fn cut_at_any_byte_the_call_ends_typed() {
    let world = World::start().await;
    for cut in 0..160 {
        let ending = if cut % 2 == 0 { Ending::Close } else { Ending::Reset };
        world.proxy.end_all(Ending::Close);
        world.proxy.set(plane_testkit::Direction::ToClient, Faults::ending_after(cut, ending));
        if let Err(error) = in_time(world.echo()).await {
            assert!(
                matches!(error.kind(), ErrorKind::Disconnected | ErrorKind::Unavailable),
                "cut at {cut}: {error:?}"
            );
        }
    }
}
