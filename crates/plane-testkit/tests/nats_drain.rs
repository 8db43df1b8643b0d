//! Servers come and go while callers call: on NATS no call is lost on the way (docs/nats.md, "Leaving").

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use plane_core::{
    Address, Delivery, EndpointId, Error, ErrorKind, Handler, InstanceId, Registration, Request, RequestPlaneClient,
    RequestPlaneServer, Response, handler_fn,
};
use plane_nats::{NatsClient, NatsConfig, NatsConnection, NatsServer};
use plane_testkit::nats::NatsServer as Nats;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// Far more than anything here takes, for a machine that is busy.
const IN_TIME: Duration = Duration::from_secs(60);

const CALLERS: usize = 16;

fn echo_endpoint() -> EndpointId {
    EndpointId::new("test", "leave", "echo").unwrap()
}

fn echo() -> impl Handler {
    handler_fn(|request: Request, _| async { Ok(Response { headers: request.headers, body: request.body }) })
}

fn any() -> Address {
    "nats://plane".parse().unwrap()
}

async fn serve(nats: &Nats) -> NatsServer {
    let config = NatsConfig::default().servers([nats.url()]).unwrap();
    let (server, driver) = NatsServer::bind(&NatsConnection::new(config)).await.unwrap();
    tokio::spawn(driver);
    server
}

async fn register(server: &NatsServer, instance: u64) -> Registration {
    server.register(echo_endpoint(), InstanceId::new(instance).unwrap(), Arc::new(echo())).await.unwrap()
}

/// Calls without a pause from several tasks until it is told to end.
struct Load {
    shared: Arc<Shared>,
    callers: Vec<JoinHandle<Vec<Error>>>,
}

#[derive(Default)]
struct Shared {
    ends: AtomicBool,
    done: AtomicU64,
    bell: Notify,
}

impl Load {
    /// The time to be accepted is far more than a test takes: a lost call is not mistaken for a slow one.
    fn start(nats: &Nats) -> Self {
        let config = NatsConfig::default().servers([nats.url()]).unwrap().request_timeout(IN_TIME / 4).unwrap();
        let client = Arc::new(NatsClient::new(&NatsConnection::new(config)));
        let shared = Arc::new(Shared::default());
        let callers = (0..CALLERS).map(|_| tokio::spawn(shared.clone().call(client.clone()))).collect();
        Self { shared, callers }
    }

    /// Waits until so many more calls have ended.
    async fn more(&self, calls: u64) {
        let until = self.shared.done.load(Ordering::Relaxed) + calls;
        loop {
            let bell = self.shared.bell.notified();
            if self.shared.done.load(Ordering::Relaxed) >= until {
                return;
            }
            tokio::time::timeout(IN_TIME, bell).await.expect("calls go on ending");
        }
    }

    /// Every error that a call has ended with.
    async fn end(self) -> Vec<Error> {
        self.shared.ends.store(true, Ordering::Relaxed);
        let mut errors = Vec::new();
        for caller in self.callers {
            errors.extend(tokio::time::timeout(IN_TIME, caller).await.expect("every call ends").unwrap());
        }
        errors
    }
}

impl Shared {
    async fn call(self: Arc<Self>, client: Arc<NatsClient>) -> Vec<Error> {
        let mut errors = Vec::new();
        let address = any();
        while !self.ends.load(Ordering::Relaxed) {
            let answer = async { client.call(&address, Request::new(echo_endpoint(), "go")).await?.message().await };
            match answer.await {
                Ok(message) => assert_eq!(message, "go"),
                Err(error) => errors.push(error),
            }
            self.done.fetch_add(1, Ordering::Relaxed);
            self.bell.notify_waiters();
        }
        errors
    }
}

/// Cases C13, C14 and C17 of the threats: servers join and leave by every way, and callers notice nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_shows_callers_nothing() {
    let nats = Nats::start();
    let mut old = (serve(&nats).await, None);
    old.1 = Some(register(&old.0, 1).await);
    let load = Load::start(&nats);
    for round in 2..32 {
        let new = serve(&nats).await;
        let registration = register(&new, round).await;
        load.more(100).await;
        let (server, left) = std::mem::replace(&mut old, (new, Some(registration)));
        let soon = Instant::now() + IN_TIME;
        match round % 3 {
            0 => assert_eq!(server.drain(soon).await.aborted, 0),
            1 => {
                // Its calls finish before it goes.
                assert_eq!(left.unwrap().unregister(soon).await.aborted, 0);
                assert_eq!(server.drain(soon).await.aborted, 0);
            }
            _ => {
                // The server lives on for others, and serves the endpoint again later.
                drop(left);
                load.more(100).await;
                drop(register(&server, round + 1_000).await);
                load.more(100).await;
                assert_eq!(server.drain(soon).await.aborted, 0);
            }
        }
    }
    let errors = load.end().await;
    assert!(errors.is_empty(), "{} errors, such as {:?}", errors.len(), errors[0]);
}

/// With nobody else there each call is answered, or refused in a way that says that it did not run.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_server_loses_no_call() {
    let nats = Nats::start();
    let server = serve(&nats).await;
    let registration = register(&server, 1).await;
    let load = Load::start(&nats);
    for instance in 2..22 {
        let registration = register(&server, instance).await;
        load.more(50).await;
        drop(registration);
    }
    drop(registration);
    for _ in 0..20 {
        load.more(50).await;
        let registration = register(&server, 1).await;
        load.more(50).await;
        drop(registration);
    }
    let registration = register(&server, 1).await;
    load.more(50).await;
    assert_eq!(server.drain(Instant::now() + IN_TIME).await.aborted, 0);
    load.more(50).await;
    drop(registration);
    for error in load.end().await {
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
        assert!(matches!(error.delivery(), Delivery::NotSent | Delivery::NotExecuted), "{error:?}");
    }
}
