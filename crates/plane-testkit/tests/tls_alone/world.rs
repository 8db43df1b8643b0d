//! A server with TLS or without, and clients of it.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use plane_core::{
    Address, Body, Context, Delivery, EndpointId, Error, ErrorKind, Identity, InstanceId, Registration, Request,
    RequestPlaneClient, RequestPlaneServer, Response, handler_fn,
};
use plane_tcp::{
    ClientConfig, Listen, ServerConfig, TcpClient, TcpServer, TlsClientConfig, TlsIdentity, TlsServerConfig,
};
use plane_testkit::{Authority, CertificateFiles};
use tokio::sync::mpsc;

/// What a test waits for at most; only what hangs takes so long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

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

/// Where certificates of servers in these tests are for, unless the test is about that.
pub(crate) const HERE: &str = "127.0.0.1";

pub(crate) fn endpoint() -> EndpointId {
    EndpointId::new("demo", "tls", "echo").expect("a valid name")
}

pub(crate) fn identity(files: &CertificateFiles) -> TlsIdentity {
    TlsIdentity::new(&files.certificate, &files.key)
}

/// A server on loopback, without TLS yet.
pub(crate) fn plain() -> ServerConfig {
    let bind = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    ServerConfig::new(Listen::Tcp { bind, advertise: None })
}

/// A server on loopback with this certificate, for any client.
pub(crate) fn with_tls(files: &CertificateFiles) -> ServerConfig {
    plain().tls(TlsServerConfig::new(identity(files))).expect("files in order")
}

/// A server that answers `demo.tls.echo` with its request, and tells who called.
pub(crate) struct World {
    pub(crate) server: TcpServer,
    pub(crate) address: Address,
    /// Who called, one for each handler that was started.
    pub(crate) callers: mpsc::Receiver<Identity>,
    _registration: Registration,
}

impl World {
    pub(crate) async fn start(config: ServerConfig) -> Self {
        let (server, driver) = TcpServer::bind(config).await.expect("a free port");
        tokio::spawn(driver);
        let (sender, callers) = mpsc::channel(10_000);
        let echo = handler_fn(move |request: Request, context: Context| {
            let sent = sender.try_send(context.peer().identity.clone());
            async move {
                sent.expect("the test listens");
                Ok(Response::new(request.body))
            }
        });
        let instance = InstanceId::new(1).expect("not zero");
        let registration = server.register(endpoint(), instance, Arc::new(echo)).await.expect("free");
        let address = server.address();
        Self { server, address, callers, _registration: registration }
    }

    /// The same port with another scheme.
    pub(crate) fn address_as(&self, scheme: &str) -> Address {
        at(scheme, self.port())
    }

    pub(crate) fn port(&self) -> u16 {
        match &self.address {
            Address::Tcp { port, .. } | Address::Tls { port, .. } => *port,
            other => panic!("no port: {other}"),
        }
    }

    /// No handler was ever started.
    pub(crate) fn nobody_called(&mut self) {
        assert!(self.callers.try_recv().is_err());
        assert_eq!(self.server.stats().started, 0);
    }
}

/// An address on loopback.
pub(crate) fn at(scheme: &str, port: u16) -> Address {
    format!("{scheme}://{HERE}:{port}").parse().expect("an address")
}

/// A client that believes this authority.
pub(crate) fn trusting(authority: &Authority) -> TcpClient {
    client(TlsClientConfig::new(authority.roots()))
}

pub(crate) fn client(tls: TlsClientConfig) -> TcpClient {
    TcpClient::new(ClientConfig::default().tls(tls).expect("files in order"))
}

pub(crate) async fn echo(client: &TcpClient, address: &Address, message: impl Into<Body>) -> Result<Bytes, Error> {
    soon(async { client.call(address, Request::new(endpoint(), message)).await?.message().await }).await
}

/// A call must fail before anything of it is sent; gives back what is said of it.
pub(crate) async fn refused(client: &TcpClient, address: &Address, kind: ErrorKind) -> String {
    let error = echo(client, address, "hi").await.expect_err("no answer");
    assert_eq!((error.kind(), error.delivery()), (kind, Delivery::NotSent), "{error}");
    error.to_string()
}

/// A call must work.
pub(crate) async fn works(client: &TcpClient, address: &Address) {
    assert_eq!(echo(client, address, "hi").await.expect("an answer"), "hi");
}
