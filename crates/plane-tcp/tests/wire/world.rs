//! A server, a client, and handlers to call.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use plane_core::{
    Address, Body, EndpointId, Error, InstanceId, Registration, Request, RequestPlaneClient, RequestPlaneServer,
    Response, handler_fn,
};
use plane_tcp::{ClientConfig, ConnectionConfig, Listen, ServerConfig, TcpClient, TcpServer};
use tokio::sync::mpsc;

/// What a test waits for at most; only what hangs takes so long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn endpoint(name: &str) -> EndpointId {
    EndpointId::new("demo", "wire", name).expect("a valid name")
}

pub(crate) fn loopback(port: u16) -> Listen {
    Listen::Tcp { bind: SocketAddr::from((Ipv4Addr::LOCALHOST, port)), advertise: None }
}

/// A server with these endpoints: `echo` answers with its request, message by message; `hang` never answers; `count`
/// reads its request and answers with what came; `deaf` answers at once and reads nothing.
pub(crate) struct World {
    pub(crate) server: TcpServer,
    pub(crate) address: Address,
    /// Tells when a `hang` handler starts and when it is dropped.
    pub(crate) events: mpsc::Receiver<Event>,
    _registrations: Vec<Registration>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Started,
    Dropped,
}

/// Tells that the handler is gone, however that comes.
struct Guard(mpsc::Sender<Event>);

impl Drop for Guard {
    fn drop(&mut self) {
        // A test that has seen enough does not listen any more.
        let _ = self.0.try_send(Event::Dropped);
    }
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::with(ServerConfig::new(loopback(0))).await
    }

    pub(crate) async fn with_connection(connection: ConnectionConfig) -> Self {
        Self::with(ServerConfig::new(loopback(0)).connection(connection)).await
    }

    pub(crate) async fn with(config: ServerConfig) -> Self {
        let (server, driver) = TcpServer::bind(config).await.expect("the address is free");
        tokio::spawn(driver);
        let (sender, events) = mpsc::channel(10_000);
        let mut registrations = Vec::new();
        let instance = InstanceId::new(1).expect("not zero");
        let echo = handler_fn(|request: Request, _| async move { Ok(Response::new(request.body)) });
        registrations.push(server.register(endpoint("echo"), instance, Arc::new(echo)).await.expect("free"));
        let hang = handler_fn(move |request: Request, _| {
            let guard = Guard(sender.clone());
            async move {
                let _ = guard.0.try_send(Event::Started);
                std::future::pending::<()>().await;
                drop((guard, request));
                Ok(Response::default())
            }
        });
        registrations.push(server.register(endpoint("hang"), instance, Arc::new(hang)).await.expect("free"));
        let count = handler_fn(|request: Request, _| async move { Ok(Response::new(count(request.body).await)) });
        registrations.push(server.register(endpoint("count"), instance, Arc::new(count)).await.expect("free"));
        let deaf = handler_fn(|_, _| async move { Ok(Response::new("deaf")) });
        registrations.push(server.register(endpoint("deaf"), instance, Arc::new(deaf)).await.expect("free"));
        let address = server.address();
        Self { server, address, events, _registrations: registrations }
    }

    /// A neighbour on a connection of its own is served as ever.
    pub(crate) async fn still_answers(&self) {
        let client = client(ClientConfig::default());
        assert_eq!(echo(&client, &self.address, "neighbour").await.expect("an answer"), "neighbour");
    }
}

/// How many messages and bytes came, and whether in order.
async fn count(mut body: Body) -> String {
    let (mut messages, mut bytes) = (0, 0);
    loop {
        match body.next().await {
            None => return format!("{messages} messages, {bytes} bytes"),
            Some(Ok(message)) => (messages, bytes) = (messages + 1, bytes + message.len()),
            Some(Err(error)) => return format!("{messages} messages, {bytes} bytes, {:?}", error.kind()),
        }
    }
}

pub(crate) fn client(config: ClientConfig) -> Arc<TcpClient> {
    Arc::new(TcpClient::new(config))
}

pub(crate) async fn echo(client: &TcpClient, address: &Address, message: impl Into<Body>) -> Result<Bytes, Error> {
    client.call(address, Request::new(endpoint("echo"), message)).await?.message().await
}

/// Waits for what must come.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("it hangs")
}

/// Waits for what a gauge shows: it has no event.
pub(crate) async fn until(reached: impl Fn() -> bool) {
    soon(async {
        while !reached() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}
