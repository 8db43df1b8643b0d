//! A server and a client at a real NATS server.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use plane_core::{
    AbortReason, Address, Context, EndpointId, Error, ErrorKind, Handler, InstanceId, Registration, Request,
    RequestPlaneClient, RequestPlaneServer, Response, handler_fn,
};
use plane_nats::{NatsClient, NatsConfig, NatsConnection, NatsServer};
use plane_testkit::nats::NatsServer as Nats;
use tokio::sync::mpsc;

/// Far more than anything here takes, for a machine that is busy.
pub(crate) const IN_TIME: Duration = Duration::from_secs(30);

pub(crate) async fn in_time<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(IN_TIME, work).await.expect("every call ends in time")
}

pub(crate) fn endpoint(name: &str) -> EndpointId {
    EndpointId::new("test", "nats", name).unwrap()
}

pub(crate) fn config(nats: &Nats) -> NatsConfig {
    NatsConfig::default().servers([nats.url()]).unwrap()
}

pub(crate) fn any() -> Address {
    "nats://plane".parse().unwrap()
}

pub(crate) fn echo() -> impl Handler {
    handler_fn(|request: Request, _| async { Ok(Response { headers: request.headers, body: request.body }) })
}

/// A server with `echo`, and `hang`, which tells why it was aborted.
pub(crate) struct World {
    pub(crate) server: NatsServer,
    pub(crate) client: NatsClient,
    pub(crate) aborted: mpsc::Receiver<AbortReason>,
    pub(crate) started: mpsc::Receiver<()>,
    _registrations: Vec<Registration>,
}

impl World {
    pub(crate) async fn start(config: NatsConfig) -> Self {
        let (server, driver) = NatsServer::bind(&NatsConnection::new(config.clone())).await.unwrap();
        tokio::spawn(driver);
        let (report, aborted) = mpsc::channel(64);
        let (tell, started) = mpsc::channel(64);
        let hang = handler_fn(move |_, context: Context| {
            let (report, tell) = (report.clone(), tell.clone());
            async move {
                let _ = tell.send(()).await;
                let reason = context.aborted().await;
                let _ = report.send(reason).await;
                Err(reason.status())
            }
        });
        let id = InstanceId::new(1).unwrap();
        let registrations = vec![
            server.register(endpoint("echo"), id, Arc::new(echo())).await.unwrap(),
            server.register(endpoint("hang"), id, Arc::new(hang)).await.unwrap(),
        ];
        let client = NatsClient::new(&NatsConnection::new(config));
        Self { server, client, aborted, started, _registrations: registrations }
    }

    pub(crate) async fn echo(&self, message: impl Into<Bytes>) -> Result<(), Error> {
        self.echo_at(&any(), message).await
    }

    pub(crate) async fn echo_at(&self, address: &Address, message: impl Into<Bytes>) -> Result<(), Error> {
        let message = message.into();
        let answer = self.client.call(address, Request::new(endpoint("echo"), message.clone())).await?;
        assert!(answer.message().await? == message);
        Ok(())
    }
}

/// Calls until one is answered; whatever comes before is a typed error.
pub(crate) async fn until_served(world: &World) {
    until_served_or(world, &[ErrorKind::Unavailable, ErrorKind::Disconnected]).await;
}

pub(crate) async fn until_served_or(world: &World, expected: &[ErrorKind]) {
    // The subscriptions come back one by one.
    for address in [any(), world.server.address()] {
        while let Err(error) = world.echo_at(&address, "again?").await {
            assert!(expected.contains(&error.kind()), "{error:?}");
            tokio::task::yield_now().await;
        }
    }
}
