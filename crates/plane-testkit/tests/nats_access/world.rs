//! What the tests of this folder start from.

use std::sync::Arc;
use std::time::Duration;

use plane_core::{
    Address, Delivery, EndpointId, Error, ErrorKind, InstanceId, Registration, Request, RequestPlaneClient,
    RequestPlaneServer, Response, handler_fn,
};
use plane_nats::{NatsClient, NatsConfig, NatsConnection, NatsServer};
use plane_testkit::nats::{NatsServer as Nats, NatsServerOptions};

/// Far below the time limits of calls, far more than anything here takes.
pub(crate) const AT_ONCE: Duration = Duration::from_secs(8);

pub(crate) async fn at_once<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(AT_ONCE, work).await.expect("without waiting for a time limit")
}

pub(crate) fn nats(configuration: &str) -> Nats {
    Nats::with(NatsServerOptions { configuration: configuration.to_owned(), ..NatsServerOptions::default() })
}

pub(crate) fn config(nats: &Nats) -> NatsConfig {
    NatsConfig::default().servers([nats.url()]).unwrap()
}

pub(crate) fn endpoint(name: &str) -> EndpointId {
    EndpointId::new("test", "access", name).unwrap()
}

pub(crate) async fn bind(config: NatsConfig) -> Result<NatsServer, Error> {
    let (server, driver) = at_once(NatsServer::bind(&NatsConnection::new(config))).await?;
    tokio::spawn(driver);
    Ok(server)
}

pub(crate) async fn register(server: &NatsServer, name: &str) -> Result<Registration, Error> {
    let echo = handler_fn(|request: Request, _| async { Ok(Response::new(request.body)) });
    at_once(server.register(endpoint(name), InstanceId::new(1).unwrap(), Arc::new(echo))).await
}

pub(crate) fn client(config: NatsConfig) -> NatsClient {
    NatsClient::new(&NatsConnection::new(config))
}

pub(crate) async fn call(client: &NatsClient, name: &str) -> Result<(), Error> {
    let any: Address = "nats://plane".parse().unwrap();
    let answer = at_once(client.call(&any, Request::new(endpoint(name), "hello"))).await?;
    assert_eq!(answer.message().await?, "hello");
    Ok(())
}

/// A server and a client with these settings find each other.
pub(crate) async fn works(config: NatsConfig) {
    let server = bind(config.clone()).await.unwrap();
    let _registration = register(&server, "echo").await.unwrap();
    call(&client(config), "echo").await.unwrap();
}

/// A server and a client with these settings are refused at once, in this way.
pub(crate) async fn refused(config: NatsConfig, kind: ErrorKind) -> Error {
    let error = call(&client(config.clone()), "echo").await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (kind, Delivery::NotSent), "{error:?}");
    let error = bind(config).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (kind, Delivery::NotSent), "{error:?}");
    error
}
