//! Who reads the answers of a client on NATS: a task, or the caller of the only call. Nobody may wait for a caller that
//! does not look.

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use plane_core::{
    Address, BoxFuture, Context, EndpointId, Error, InstanceId, Registration, Request, RequestPlaneClient,
    RequestPlaneServer, Response, Status, handler_fn,
};
use plane_nats::{NatsClient, NatsConfig, NatsConnection, NatsServer};
use plane_testkit::nats::NatsServer as Nats;
use tokio::sync::{Semaphore, mpsc};

/// Far more than anything here takes, for a machine that is busy.
const IN_TIME: Duration = Duration::from_secs(30);

async fn in_time<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(IN_TIME, work).await.expect("in time")
}

fn endpoint() -> EndpointId {
    EndpointId::new("test", "nats", "inbox").unwrap()
}

/// A server that answers `gated` calls as the gate lets them pass, all others at once, and tells of each call that its
/// handler has begun or was aborted.
struct World {
    client: Arc<NatsClient>,
    gate: Arc<Semaphore>,
    told: mpsc::Receiver<&'static str>,
    _server: NatsServer,
    _registration: Registration,
    _nats: Nats,
}

impl World {
    async fn start(config: impl Fn(NatsConfig) -> NatsConfig) -> Self {
        let nats = Nats::start();
        let connection = || NatsConnection::new(config(NatsConfig::default().servers([nats.url()]).unwrap()));
        let gate = Arc::new(Semaphore::new(0));
        let (tell, told) = mpsc::channel(64);
        let passes = gate.clone();
        let handler = handler_fn(move |request: Request, _: Context| {
            let (gate, tell) = (passes.clone(), tell.clone());
            async move {
                let message = request.body.message().await?;
                if message == "gated" {
                    tell.send("begun").await.unwrap();
                    let waiting = Waiting(Some(tell));
                    gate.acquire().await.unwrap().forget();
                    waiting.ends();
                }
                Ok::<_, Status>(Response::new(message))
            }
        });
        let (server, driver) = NatsServer::bind(&connection()).await.unwrap();
        tokio::spawn(driver);
        let registration = server.register(endpoint(), InstanceId::new(1).unwrap(), Arc::new(handler)).await.unwrap();
        let client = Arc::new(NatsClient::new(&connection()));
        Self { client, gate, told, _server: server, _registration: registration, _nats: nats }
    }

    fn call(&self, message: &'static str) -> Call {
        let client = self.client.clone();
        Box::pin(async move {
            let at: Address = "nats://plane".parse().unwrap();
            client.call(&at, Request::new(endpoint(), message)).await?.message().await
        })
    }

    /// A call whose handler waits, and which nobody looks at any more.
    async fn parked(&mut self) -> Call {
        let mut call = self.call("gated");
        in_time(async {
            tokio::select! {
                begun = self.told.recv() => assert_eq!(begun, Some("begun")),
                answer = &mut call => panic!("the gate is shut: {answer:?}"),
            }
        })
        .await;
        call
    }
}

/// A handler that waits at the gate; it is dropped there when it is aborted.
struct Waiting(Option<mpsc::Sender<&'static str>>);

impl Waiting {
    fn ends(mut self) {
        self.0 = None;
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(tell) = self.0.take() {
            tell.try_send("aborted").unwrap();
        }
    }
}

type Call = BoxFuture<'static, Result<Bytes, Error>>;

/// Looks at a call that waits, once.
async fn glance(call: &mut Call) {
    let polled = std::future::poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx))).await;
    assert!(polled.is_pending(), "{polled:?}");
}

#[tokio::test]
async fn a_caller_that_does_not_look_keeps_nobody_waiting() {
    let mut world = World::start(|config| config).await;
    let mut parked = world.parked().await;
    // So many that none can have waited for what is done from time to time.
    in_time(async {
        for _ in 0..300 {
            glance(&mut parked).await;
            assert_eq!(world.call("free").await.unwrap(), "free");
        }
    })
    .await;
    world.gate.add_permits(1);
    assert_eq!(in_time(parked).await.unwrap(), "gated");
}

#[tokio::test]
async fn a_call_nobody_looks_at_is_not_taken_for_silent() {
    let ms = Duration::from_millis;
    let impatient = |config: NatsConfig| config.request_timeout(ms(400)).unwrap().keepalive(ms(200), ms(200)).unwrap();
    let mut world = World::start(impatient).await;
    let mut parked = world.parked().await;
    glance(&mut parked).await;
    // Three times as long as it may be silent; its server says all the while that the call goes on.
    tokio::time::sleep(ms(1_200)).await;
    glance(&mut parked).await;
    world.gate.add_permits(1);
    assert_eq!(in_time(parked).await.unwrap(), "gated");
}

#[tokio::test]
async fn an_only_call_that_is_dropped_is_aborted() {
    let mut world = World::start(|config| config).await;
    for _ in 0..50 {
        let mut parked = world.parked().await;
        glance(&mut parked).await;
        drop(parked);
        assert_eq!(in_time(world.told.recv()).await, Some("aborted"));
        assert_eq!(in_time(world.call("free")).await.unwrap(), "free");
    }
    assert_eq!(world.client.stats().in_flight, 0);
}

/// One of two calls that begin at once may find itself alone while the other comes; then somebody must still read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_begin_together_are_all_heard() {
    let world = World::start(|config| config).await;
    for _ in 0..2_000 {
        let calls = [(); 2].map(|()| tokio::spawn(world.call("free")));
        for call in calls {
            assert_eq!(in_time(call).await.unwrap().unwrap(), "free");
        }
    }
}
