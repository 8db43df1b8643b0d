use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Wake, Waker};

use bytes::Bytes;
use plane_core::frame::{Flags, Frame, OpenFields, encode_open};
use plane_core::{
    Address, AdmissionLimits, EndpointId, Endpoints, Handler, Headers, InstanceId, Peer, Refusals, Registration,
    Request, Response, handler_fn,
};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream, UnixStream};

use super::*;
use crate::config::ConnectionConfig;
use crate::hold::Hold;
use crate::link::Room;
use crate::proto::{Connection, Opening, Side};
use crate::server::Handlers;
use crate::socket::Socket;
use crate::watch::{Between, Company};

/// The serving side of one connection, whose driver is polled by hand: the runtime does not look at its socket meanwhile.
struct Served {
    driver: LinkDriver<Handlers>,
    patience: Duration,
    peer: UnixStream,
    endpoint: EndpointId,
    _registration: Registration,
}

impl Served {
    fn with(patience: Duration, handler: impl Handler) -> Self {
        let endpoint = EndpointId::new("demo", "driver", "echo").expect("a valid name");
        let endpoints = Endpoints::new(AdmissionLimits::default());
        let instance = InstanceId::new(1).expect("not zero");
        let registration = endpoints.register(endpoint.clone(), instance, Address::mem("driver"), Arc::new(handler));
        // It is trusted to be quick, as one that was.
        for _ in 0..8 {
            let admitted = endpoints.admit(endpoint.as_str(), None, &Peer::default()).expect("it is served");
            admitted.pace().note(Duration::ZERO);
        }
        let config = ConnectionConfig::default();
        let settings = config.settings(Duration::from_secs(300), u64::MAX);
        let side = Side::Listener(endpoints);
        let connection = Connection::new(side, settings, config.hello(), Arc::new(Peer::default()), now());
        let (ours, peer) = UnixStream::pair().expect("a pair of sockets");
        let (read, write) = Socket::Unix(ours).split();
        let link = Link::new(connection, write, Arc::new(Room::default()));
        let decoder = Decoder::new(config.frame_limits(), 0);
        let watch = Watch::new(patience, Between::Keep, Company::default());
        let driver = LinkDriver::new(link, read, decoder, Handlers::new(Duration::from_secs(60)), watch);
        Self { driver, patience, peer, endpoint, _registration: registration.expect("a new table") }
    }

    /// What comes next is likely to come soon, whatever was seen before.
    fn promise(&mut self) {
        self.driver.watch = Watch::new(self.patience, Between::Keep, Company::default());
        let (at, me) = (now(), Arc::as_ptr(&self.driver.link).addr());
        for _ in 0..2 {
            self.driver.watch.note_wait(at);
            self.driver.watch.note_read(at, true, me);
        }
    }

    fn request(&self, call: u64, message: &Bytes) {
        let fields = OpenFields { endpoint: &self.endpoint, instance: None, timeout: None, headers: &Headers::new() };
        let mut frame = BytesMut::new();
        encode_open(&mut frame, call, Flags::END, &fields, message.len());
        frame.extend_from_slice(message);
        assert_eq!(self.peer.try_write(&frame).expect("there is room"), frame.len());
    }

    fn poll(&mut self) -> Poll<()> {
        Pin::new(&mut self.driver).poll(&mut Context::from_waker(Waker::noop()))
    }

    fn last_call(&self) -> u64 {
        self.driver.link.peek(|connection| connection.last_call)
    }
}

fn echo() -> impl Handler {
    handler_fn(|request: Request, _| async move { Ok(Response::new(request.body)) })
}

const PATIENCE: Duration = Duration::from_millis(1);

/// What comes where it is likely to is read without the runtime, whatever its length; elsewhere it waits for it.
#[tokio::test]
async fn what_is_likely_to_come_is_looked_for() {
    for (patience, found) in [(PATIENCE, true), (Duration::ZERO, false)] {
        let mut served = Served::with(patience, echo());
        assert!(served.poll().is_pending());
        for (call, length) in (1..).step_by(2).zip([0, 1, LOOK - 1, LOOK, LOOK + 1]) {
            served.promise();
            served.request(call, &vec![7; length].into());
            assert!(served.poll().is_pending());
            assert_eq!(served.last_call(), if found { call } else { 0 }, "{length} bytes, {patience:?}");
        }
    }
}

/// While handlers are at work there is more to do than to look.
#[tokio::test]
async fn nothing_is_looked_for_while_a_handler_runs() {
    let mut served = Served::with(PATIENCE, handler_fn(|_, _| std::future::pending::<Result<Response, _>>()));
    for (call, found) in [(1, 1), (3, 1)] {
        assert!(served.poll().is_pending());
        served.promise();
        served.request(call, &Bytes::new());
        assert!(served.poll().is_pending());
        assert_eq!(served.last_call(), found);
    }
}

/// The end of a connection is found by the runtime as it always is.
#[tokio::test]
async fn an_end_that_is_looked_at_ends_the_connection() {
    let mut served = Served::with(PATIENCE, echo());
    assert!(served.poll().is_pending());
    served.promise();
    drop(std::mem::replace(&mut served.peer, UnixStream::pair().expect("a pair of sockets").0));
    assert!(served.poll().is_pending());
    let ended = tokio::time::timeout(Duration::from_secs(10), &mut served.driver).await;
    assert!(ended.is_ok());
}

#[derive(Debug, Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A link with room for two requests that are not written, its driver, and the other side.
async fn dialled(hold: Hold) -> (Arc<Link>, LinkDriver<NoHandlers>, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let ours = TcpStream::connect(listener.local_addr().expect("bound")).await.expect("it listens");
    let (peer, _) = listener.accept().await.expect("it was dialled");
    let config = ConnectionConfig::default();
    let settings = config.settings(Duration::from_secs(300), 2);
    let side = Side::Dialler(Refusals::default());
    let connection = Connection::new(side, settings, config.hello(), Arc::new(Peer::default()), now());
    let (read, write) = Socket::Tcp(ours).split();
    let link = Link::new(connection, write, Arc::new(Room { hold, ..Room::default() }));
    let watch = Watch::new(Duration::ZERO, Between::Offer, Company::default());
    let driver = LinkDriver::new(link.clone(), read, Decoder::new(config.frame_limits(), 0), NoHandlers, watch);
    (link, driver, peer)
}

/// Where a process has one core, requests that are written to make room wait in the socket for those behind them, until the
/// driver runs, which is woken for that whatever it has seen.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn what_was_written_for_room_leaves_with_the_rest() {
    for (hold, holds) in [(Hold::once(), true), (Hold::default(), false)] {
        let (link, mut driver, mut peer) = dialled(hold).await;
        let wakes = Arc::new(Wakes::default());
        let waker = Waker::from(wakes.clone());
        let mut poll = || Pin::new(&mut driver).poll(&mut Context::from_waker(&waker));
        assert!(poll().is_pending());
        let endpoint = EndpointId::new("demo", "driver", "echo").expect("a valid name");
        let message = Bytes::from_static(&[7; 128]);
        let open = || {
            link.with(|connection| {
                let (headers, accept_by) = (&Headers::new(), now() + Duration::from_secs(60));
                let only = Some(&message);
                let opening = Opening {
                    endpoint: &endpoint,
                    instance: None,
                    headers,
                    deadline: None,
                    accept_by,
                    reader: None,
                    only,
                };
                connection.open(now(), opening).expect("there is room");
            });
        };
        open();
        open();
        // The driver has seen both, and neither has been written.
        link.driver_runs(&waker);
        let before = wakes.0.load(Ordering::Relaxed);
        assert!(link.has_room(), "two were written");
        let woken = wakes.0.load(Ordering::Relaxed) - before;
        assert_eq!((link.socket().is_holding(), woken), (holds, usize::from(holds)));
        open();
        for _ in 0..2 {
            assert!(poll().is_pending());
        }
        assert!(!link.socket().is_holding());
        let mut decoder = Decoder::new(ConnectionConfig::default().frame_limits(), 0);
        let mut came = 0;
        while came < 3 {
            peer.read_buf(decoder.buffer()).await.expect("it is open");
            while let Ok(Some(mut frames)) = decoder.frames() {
                while let Some(frame) = frames.next(|frame| assert!(matches!(frame, Frame::Open { .. }))) {
                    frame.expect("it is well-formed");
                    came += 1;
                }
            }
        }
    }
}
