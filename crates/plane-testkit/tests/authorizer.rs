//! Who may call what, on every transport: a call that is forbidden starts no handler and is counted.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use plane_core::mem::{MemClient, MemConfig, MemNetwork, MemServer};
use plane_core::{
    Authorizer, Code, Context, Delivery, EndpointId, ErrorKind, Identity, InstanceId, Peer, Refusal, Request,
    RequestPlaneClient, RequestPlaneServer, Response, handler_fn,
};
use plane_nats::{NatsClient, NatsConfig, NatsConnection, NatsServer};
use plane_tcp::{
    ClientConfig, Listen, ServerConfig, TcpClient, TcpServer, TlsClientConfig, TlsIdentity, TlsServerConfig,
};
use plane_testkit::{Authority, CertificateFiles};
use tokio::sync::mpsc;

fn endpoint(name: &str) -> EndpointId {
    EndpointId::new("demo", "test", name).expect("a valid name")
}

/// Serves `open` and `secret`, each telling who calls, and calls both: whoever `caller` is may call the one alone.
async fn only_one_may_be_called(
    server: &dyn RequestPlaneServer,
    client: &dyn RequestPlaneClient,
    caller: impl Fn(&Identity) -> bool,
) {
    let (sender, mut callers) = mpsc::channel(10);
    let tell = Arc::new(handler_fn(move |_: Request, context: Context| {
        let told = sender.try_send((context.endpoint().clone(), context.peer().identity.clone()));
        async move {
            told.expect("the test listens");
            Ok(Response::new("called"))
        }
    }));
    let instance = InstanceId::new(1).expect("not zero");
    let _open = server.register(endpoint("open"), instance, tell.clone()).await.expect("free");
    let _secret = server.register(endpoint("secret"), instance, tell).await.expect("free");
    let address = server.address();
    for _ in 0..3 {
        let error = client.call(&address, Request::new(endpoint("secret"), "x")).await.expect_err("forbidden");
        assert_eq!((error.kind(), error.delivery()), (ErrorKind::PermissionDenied, Delivery::NotExecuted), "{error}");
    }
    let answer = client.call(&address, Request::new(endpoint("open"), "x")).await.expect("allowed");
    assert_eq!(answer.message().await.expect("an answer"), "called");
    let (called, identity) = callers.recv().await.expect("a call");
    assert!(called == endpoint("open") && caller(&identity), "{identity:?}");
    assert!(callers.try_recv().is_err());
    let stats = server.stats();
    assert_eq!((stats.started, stats.refused, stats.refusals.of(Refusal::Denied)), (1, 3, 3));
    // What is not served is not found, whoever asks.
    let error = client.call(&address, Request::new(endpoint("none"), "x")).await.expect_err("not served");
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

fn is_open(endpoint: &EndpointId) -> bool {
    endpoint.endpoint() == "open"
}

async fn start(config: ServerConfig) -> TcpServer {
    let (server, driver) = TcpServer::bind(config).await.expect("a free address");
    tokio::spawn(driver);
    server
}

fn loopback() -> Listen {
    Listen::Tcp { bind: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), advertise: None }
}

#[tokio::test]
async fn on_tcp_by_certificate() {
    let authority = Authority::new();
    let identity = |CertificateFiles { certificate, key }| TlsIdentity::new(certificate, key);
    let tls = TlsServerConfig::new(identity(authority.sign("127.0.0.1"))).client_roots(authority.roots());
    let routers = |peer: &Peer, endpoint: &EndpointId| {
        let who = peer.identity.certificate().expect("everybody has one");
        is_open(endpoint) && who.dns == ["router.internal"]
    };
    let config = ServerConfig::new(loopback()).authorizer(Authorizer::new(routers));
    let server = start(config.tls(tls).expect("files in order")).await;
    let client_of = |name: &str| {
        let tls = TlsClientConfig::new(authority.roots()).identity(identity(authority.sign(name)));
        TcpClient::new(ClientConfig::default().tls(tls).expect("files in order"))
    };
    let is_router = |who: &Identity| who.certificate().is_some_and(|who| who.dns == ["router.internal"]);
    only_one_may_be_called(&server, &client_of("router.internal"), is_router).await;
    let instance = InstanceId::new(2).expect("not zero");
    let handler = Arc::new(handler_fn(|_, _| async { Ok(Response::default()) }));
    let _open = server.register(endpoint("open"), instance, handler).await.expect("free");
    let other = client_of("other.internal");
    let call = other.call(&server.address(), Request::new(endpoint("open"), "x")).await;
    assert_eq!(call.expect_err("forbidden").kind(), ErrorKind::PermissionDenied);
}

#[tokio::test]
async fn on_unix_sockets_by_process() {
    let directory = tempfile::tempdir().expect("a directory");
    let mine = rustix::process::getuid().as_raw();
    let rule = move |peer: &Peer, endpoint: &EndpointId| {
        is_open(endpoint) && peer.identity.process().is_some_and(|process| process.uid == mine)
    };
    let listen = Listen::Unix(directory.path().join("plane.sock"));
    let server = start(ServerConfig::new(listen).authorizer(Authorizer::new(rule))).await;
    let client = TcpClient::new(ClientConfig::default());
    only_one_may_be_called(&server, &client, |who| who.process().is_some_and(|process| process.uid == mine)).await;
}

#[tokio::test]
async fn on_plain_tcp_by_endpoint() {
    let rule = |_: &Peer, endpoint: &EndpointId| is_open(endpoint);
    let server = start(ServerConfig::new(loopback()).authorizer(Authorizer::new(rule))).await;
    let client = TcpClient::new(ClientConfig::default());
    only_one_may_be_called(&server, &client, |who| *who == Identity::Unknown).await;
}

#[tokio::test]
async fn on_nats_by_endpoint() {
    let nats = plane_testkit::nats::NatsServer::start();
    let config = || NatsConfig::default().servers([nats.url()]).expect("a URL");
    let rule = |_: &Peer, endpoint: &EndpointId| is_open(endpoint);
    let connection = NatsConnection::new(config().authorizer(Authorizer::new(rule)));
    let (server, driver) = NatsServer::bind(&connection).await.expect("NATS runs");
    tokio::spawn(driver);
    let client = NatsClient::new(&NatsConnection::new(config()));
    only_one_may_be_called(&server, &client, |who| *who == Identity::Unknown).await;
}

#[tokio::test]
async fn in_one_process_by_endpoint() {
    let network = MemNetwork::new();
    let rule = |peer: &Peer, endpoint: &EndpointId| is_open(endpoint) && peer.identity == Identity::Own;
    let config = MemConfig { authorizer: Some(Authorizer::new(rule)), ..MemConfig::default() };
    let server = MemServer::bind(&network, "here", config).expect("a free name");
    let client = MemClient::new(&network, MemConfig::default());
    only_one_may_be_called(&server, &client, |who| *who == Identity::Own).await;
}

/// A rule that fails lets nobody through, and ends that call alone.
#[tokio::test]
async fn a_rule_that_panics() {
    let rule = |_: &Peer, endpoint: &EndpointId| if is_open(endpoint) { true } else { panic!("boom") };
    let server = start(ServerConfig::new(loopback()).authorizer(Authorizer::new(rule))).await;
    let handler = Arc::new(handler_fn(|_, _| async { Ok(Response::new("called")) }));
    let instance = InstanceId::new(1).expect("not zero");
    let _open = server.register(endpoint("open"), instance, handler.clone()).await.expect("free");
    let _secret = server.register(endpoint("secret"), instance, handler).await.expect("free");
    let client = TcpClient::new(ClientConfig::default());
    let error = client.call(&server.address(), Request::new(endpoint("secret"), "x")).await.expect_err("forbidden");
    assert_eq!((error.code(), error.delivery()), (Code::INTERNAL, Delivery::NotExecuted));
    client.call(&server.address(), Request::new(endpoint("open"), "x")).await.expect("allowed");
    assert_eq!((client.stats().dials, server.stats().in_flight), (1, 0));
}
