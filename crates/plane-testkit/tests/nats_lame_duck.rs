//! Threat E24: a NATS server of a cluster that shuts down the gentle way; its connections move to the other one.

use std::sync::Arc;
use std::time::Duration;

use plane_core::{
    Address, Delivery, EndpointId, Error, ErrorKind, Health, InstanceId, Request, RequestPlaneClient,
    RequestPlaneServer, Response, handler_fn,
};
use plane_nats::{NatsClient, NatsConfig, NatsConnection, NatsServer};
use plane_testkit::nats::{NatsServer as Nats, NatsServerOptions};

/// Far more than anything here takes, for a machine that is busy.
const IN_TIME: Duration = Duration::from_secs(60);

fn endpoint() -> EndpointId {
    EndpointId::new("test", "lame", "echo").unwrap()
}

/// A member of a cluster, with a route to another one.
fn member(name: &str, route: Option<u16>) -> Nats {
    let routes = route.map(|port| format!("routes: [ \"nats://127.0.0.1:{port}\" ]")).unwrap_or_default();
    let configuration = format!(
        "jetstream: false\nserver_name: {name}\nlame_duck_grace_period: \"100ms\"\nlame_duck_duration: \"30s\"\n\
         cluster {{ name: test, listen: \"127.0.0.1:-1\", pool_size: -1, {routes} }}\n"
    );
    Nats::with(NatsServerOptions { configuration, ..NatsServerOptions::default() })
}

/// A connection that begins at the first of these servers, and knows both.
async fn connection(first: &Nats, other: &Nats) -> NatsConnection {
    let config = NatsConfig::default().servers([first.url(), other.url()]).unwrap();
    let config = config.request_timeout(Duration::from_secs(2)).unwrap();
    loop {
        let connection = NatsConnection::new(config.clone());
        if connection.client().await.unwrap().server_info().port == first.port() {
            return connection;
        }
    }
}

async fn serve(connection: &NatsConnection, instance: u64) -> (NatsServer, plane_core::Registration) {
    let (server, driver) = NatsServer::bind(connection).await.unwrap();
    tokio::spawn(driver);
    let echo = handler_fn(|request: Request, _| async { Ok(Response::new(request.body)) });
    let registration = server.register(endpoint(), InstanceId::new(instance).unwrap(), Arc::new(echo)).await.unwrap();
    (server, registration)
}

async fn call(client: &NatsClient) -> Result<(), Error> {
    let any: Address = "nats://plane".parse().unwrap();
    let answer = tokio::time::timeout(IN_TIME, client.call(&any, Request::new(endpoint(), "hello"))).await;
    answer.expect("every call ends")?.message().await.map(drop)
}

/// What a call may end with while its way is moved: it did not run, or its end says that it may have.
fn is_typed(error: &Error) -> bool {
    match error.kind() {
        ErrorKind::Unavailable => error.delivery() != Delivery::Executed,
        ErrorKind::Disconnected | ErrorKind::DeadlineExceeded => error.delivery() == Delivery::Unknown,
        _ => false,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_move_to_the_other_server() {
    let leaving = member("leaving", None);
    let staying =
        member("staying", Some(tokio::time::timeout(IN_TIME, leaving.cluster_port()).await.expect("it says where")));
    let (near, far) = (connection(&leaving, &staying).await, connection(&staying, &leaving).await);
    let caller = connection(&leaving, &staying).await;
    let (one, two) = (serve(&near, 1).await, serve(&far, 2).await);
    let client = NatsClient::new(&caller);
    call(&client).await.unwrap();
    leaving.start_lame_duck_mode();
    let (mut degraded, mut unknown, mut retry_safe) = (false, 0, Vec::new());
    let moved = async |connection: &NatsConnection| match connection.client().await {
        Ok(client) => client.server_info().port == staying.port(),
        Err(_) => false,
    };
    let all_moved = async {
        while !(moved(&near).await && moved(&caller).await) {
            degraded |= matches!(caller.health(), Health::Degraded(_));
            if let Err(error) = call(&client).await {
                assert!(is_typed(&error), "{error:?}");
                unknown += u32::from(error.delivery() == Delivery::Unknown);
                retry_safe.extend(error.delivery().is_retry_safe().then_some(error));
            }
        }
    };
    tokio::time::timeout(IN_TIME, all_moved).await.expect("the connections move");
    assert!(degraded, "health says what is coming");
    assert!(retry_safe.is_empty(), "what did not run waits for the other server: {retry_safe:?}");
    // One call at a time: those under way when a connection is closed.
    assert!(unknown <= 2, "{unknown} calls may or may not have run");
    assert_eq!((caller.health(), one.0.health(), two.0.health()), (Health::Ready, Health::Ready, Health::Ready));
    // Each server is found again.
    for (server, _) in [&one, &two] {
        let soon = async {
            while client.call(&server.address(), Request::new(endpoint(), "hello")).await.is_err() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(IN_TIME, soon).await.unwrap();
    }
    for _ in 0..200 {
        call(&client).await.unwrap();
    }
}
