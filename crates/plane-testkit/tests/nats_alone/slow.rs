//! A client that takes nothing from the NATS server, as the server sees it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use plane_core::{
    Delivery, ErrorKind, Health, InstanceId, Request, RequestPlaneClient, RequestPlaneServer, Response, handler_fn,
};
use plane_nats::{NatsClient, NatsConfig, NatsConnection};
use plane_testkit::nats::{NatsServer as Nats, NatsServerOptions};
use plane_testkit::{ChaosProxy, Direction, Faults};
use tokio::sync::{Semaphore, mpsc};

use crate::world::{World, any, config, endpoint, in_time};

/// Far more in all than the sockets on the way hold beside what the NATS server does.
const ANSWERS: usize = 32;
const ANSWER: usize = 900_000;

/// Threat E10: the NATS server keeps little for a client whose socket is not read, and cuts it off. All its calls end, it
/// comes back by itself, that is counted, and nobody else notices.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_consumer_is_cut_off_and_comes_back() {
    let configuration = "max_pending: 2MB\nwrite_deadline: \"1s\"\n".to_owned();
    let nats = Nats::with(NatsServerOptions { configuration, ..NatsServerOptions::default() });
    let world = World::start(config(&nats)).await;
    let (tell, mut started) = mpsc::channel(ANSWERS);
    let gate = Arc::new(Semaphore::new(0));
    let large = handler_fn({
        let gate = gate.clone();
        move |_, _| {
            let (tell, gate) = (tell.clone(), gate.clone());
            async move {
                tell.send(()).await.unwrap();
                let _pass = gate.acquire().await.unwrap();
                Ok(Response::new(vec![7; ANSWER]))
            }
        }
    });
    let _large = world.server.register(endpoint("large"), InstanceId::new(1).unwrap(), Arc::new(large)).await.unwrap();

    let proxy = ChaosProxy::start(([127, 0, 0, 1], nats.port()).into()).await.unwrap();
    let behind = NatsConfig::default().servers([format!("nats://{}", proxy.address())]).unwrap();
    // What the client itself does about silence comes much later.
    let late = Duration::from_secs(60);
    let behind = behind.keepalive(late, late).unwrap().request_timeout(late).unwrap();
    let connection = NatsConnection::new(behind);
    let slow = Arc::new(NatsClient::new(&connection));
    let calls: Vec<_> = (0..ANSWERS)
        .map(|_| {
            let slow = slow.clone();
            let address = world.server.address();
            tokio::spawn(async move { slow.call(&address, Request::new(endpoint("large"), "go")).await })
        })
        .collect();
    for _ in 0..ANSWERS {
        in_time(started.recv()).await.unwrap();
    }
    proxy.connection(0).await.set(Direction::ToClient, Faults::half_open());
    gate.add_permits(ANSWERS);
    for ended in in_time(join_all(calls)).await {
        let error = ended.unwrap().unwrap_err();
        assert_eq!((error.kind(), error.delivery()), (ErrorKind::Disconnected, Delivery::Unknown), "{error:?}");
    }
    assert!(nats.log().iter().any(|line| line.contains("Slow Consumer")), "{:#?}", nats.log());

    // The connections to come are read.
    in_time(async {
        while slow.health() != Health::Ready || slow.stats().dials < 2 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let answer = in_time(slow.call(&any(), Request::new(endpoint("echo"), "again"))).await.unwrap();
    assert_eq!(in_time(answer.message()).await.unwrap(), "again");
    assert_eq!((slow.stats().dials, slow.stats().in_flight), (2, 0));
    in_time(world.echo("never away")).await.unwrap();
    assert_eq!(world.client.stats().dials, 1);
}
