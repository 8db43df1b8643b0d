//! A server, a caller straight to it, and a caller behind a proxy that does harm.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use plane_core::{
    Address, AdmissionLimits, ConfigError, ErrorKind, Registration, Request, RequestPlaneClient, RequestPlaneServer,
};
use plane_nats::{NatsClient, NatsConfig, NatsConnection, NatsServer};
use plane_tcp::{ClientConfig, ConnectionConfig, Listen, ServerConfig, TcpClient, TcpServer};
use plane_testkit::conformance::Nonce;
use plane_testkit::fault::{Ended, Neighbour, Scene};
use tokio::sync::mpsc;

use crate::handlers::{Seen, endpoint, serve};

/// After so much silence a peer is asked, and has as long to answer, in most cases.
pub(crate) const KEEPALIVE: Duration = Duration::from_millis(500);
/// A dead peer is found within this.
pub(crate) const FOUND: Duration = Duration::from_secs(1);

/// What differs from the defaults.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setup {
    /// Interval and timeout.
    pub(crate) keepalive: (Duration, Duration),
    pub(crate) admission: AdmissionLimits,
    /// Calls of one connection.
    pub(crate) max_calls: u32,
    pub(crate) pool_size: usize,
    pub(crate) max_message: usize,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            keepalive: (KEEPALIVE, KEEPALIVE),
            admission: AdmissionLimits::default(),
            max_calls: 512,
            pool_size: 50,
            max_message: 32 << 20,
        }
    }
}

impl Setup {
    /// The keepalive of a deployment.
    pub(crate) fn patient() -> Self {
        Self { keepalive: (Duration::from_secs(10), Duration::from_secs(5)), ..Self::default() }
    }

    fn connection(self) -> Result<ConnectionConfig, ConfigError> {
        let (interval, timeout) = self.keepalive;
        ConnectionConfig::default()
            .max_message(self.max_message)?
            .max_calls(self.max_calls)?
            .keepalive(interval, timeout)
    }

    fn nats(self, url: &str) -> Result<NatsConfig, ConfigError> {
        let (interval, timeout) = self.keepalive;
        let config = NatsConfig::default().servers([url.to_owned()])?.admission(self.admission);
        // A frozen server accepts nothing: what that may take is a setting of its own here.
        let accepted = (interval + timeout).clamp(FOUND, Duration::from_secs(10));
        config.max_message(self.max_message.min(16 << 20))?.keepalive(interval, timeout)?.request_timeout(accepted)
    }

    pub(crate) fn tcp_client(self) -> Arc<dyn RequestPlaneClient> {
        let connection = self.connection().expect("in range");
        let config = ClientConfig::default().connection(connection).pool_size(self.pool_size).expect("in range");
        Arc::new(TcpClient::new(config))
    }

    pub(crate) fn nats_client(self, url: &str) -> Arc<dyn RequestPlaneClient> {
        Arc::new(NatsClient::new(&NatsConnection::new(self.nats(url).expect("in range"))))
    }

    /// Over NATS if that is somewhere.
    pub(crate) fn client(self, nats: Option<&str>) -> Arc<dyn RequestPlaneClient> {
        nats.map_or_else(|| self.tcp_client(), |url| self.nats_client(url))
    }

    /// Over NATS if that is somewhere.
    pub(crate) async fn server(self, nats: Option<&str>) -> Arc<dyn RequestPlaneServer> {
        match nats {
            None => self.tcp_server(0).await,
            Some(url) => self.nats_server(url).await,
        }
    }

    pub(crate) async fn tcp_server(self, port: u16) -> Arc<dyn RequestPlaneServer> {
        let bind = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let config = ServerConfig::new(Listen::Tcp { bind, advertise: None })
            .connection(self.connection().expect("in range"))
            .max_connections(20_000)
            .expect("in range")
            .admission(self.admission);
        let (server, driver) = TcpServer::bind(config).await.expect("the address is free");
        tokio::spawn(driver);
        Arc::new(server)
    }

    pub(crate) async fn nats_server(self, url: &str) -> Arc<dyn RequestPlaneServer> {
        let config = self.nats(url).expect("in range");
        let (server, driver) = NatsServer::bind(&NatsConnection::new(config)).await.expect("NATS runs");
        tokio::spawn(driver);
        Arc::new(server)
    }
}

/// A client and where it finds the server.
#[derive(Debug, Clone)]
pub(crate) struct Route {
    pub(crate) client: Arc<dyn RequestPlaneClient>,
    pub(crate) address: Address,
}

impl Route {
    /// A call to `echo`, which gets its own answer or none.
    pub(crate) async fn echo(&self, scene: &Scene) -> Ended {
        let message = Nonce::fresh().message(0, 256);
        let ended = scene.call(&*self.client, &self.address, Request::new(endpoint("echo"), message.clone())).await;
        if ended.is_complete() {
            ended.assert_complete(&[message]);
        }
        ended
    }

    /// Calls until one is answered; whatever comes before is one of these.
    pub(crate) async fn until_served(&self, scene: &Scene, or: &[ErrorKind]) {
        while let Some((kind, _)) = self.echo(scene).await.verdict() {
            assert!(or.contains(&kind), "{kind:?}");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

/// One server and two ways to it.
pub(crate) struct World {
    pub(crate) scene: Scene,
    pub(crate) setup: Setup,
    pub(crate) server: Arc<dyn RequestPlaneServer>,
    /// Straight to the server, or to NATS.
    pub(crate) direct: Route,
    /// Through the proxy.
    pub(crate) behind: Route,
    seen: mpsc::Receiver<Seen>,
    _registrations: Vec<Registration>,
}

impl World {
    pub(crate) async fn start(scene: &Scene) -> Self {
        Self::with(scene, Setup::default()).await
    }

    pub(crate) async fn with(scene: &Scene, setup: Setup) -> Self {
        let nats = scene.nats_url();
        let server = setup.server(nats.as_deref()).await;
        let address = server.address();
        let upstream = match &address {
            Address::Tcp { port, .. } => *port,
            _ => scene.nats(|nats| nats.port()),
        };
        let proxy = scene.proxy();
        proxy.set_upstream((Ipv4Addr::LOCALHOST, upstream).into());
        let direct = Route { client: setup.client(nats.as_deref()), address: address.clone() };
        let behind = match nats {
            None => Route { client: setup.tcp_client(), address: Address::tcp(proxy.address()) },
            Some(_) => Route { client: setup.nats_client(&format!("nats://{}", proxy.address())), address },
        };
        scene.watch_server(&server);
        scene.watch_client(&direct.client);
        scene.watch_client(&behind.client);
        let (report, seen) = mpsc::channel(4_096);
        let registrations = serve(&*server, report).await;
        Self { scene: scene.clone(), setup, server, direct, behind, seen, _registrations: registrations }
    }

    /// A caller straight to the server that must not be hurt.
    pub(crate) async fn neighbour(&self) -> Neighbour {
        self.scene.neighbour(&self.direct.client, &self.direct.address, &endpoint("echo")).await
    }

    /// The next thing that a handler saw.
    pub(crate) async fn seen(&mut self) -> Seen {
        let seen = tokio::time::timeout(Duration::from_secs(30), self.seen.recv()).await;
        seen.expect("a handler sees something").expect("handlers are served")
    }

    /// What the proxy passes connections on to.
    pub(crate) fn upstream(&self) -> SocketAddr {
        let port = match self.server.address() {
            Address::Tcp { port, .. } => port,
            _ => self.scene.nats(|nats| nats.port()),
        };
        (Ipv4Addr::LOCALHOST, port).into()
    }

    /// No calls are in flight at the server.
    pub(crate) async fn until_quiet(&self) {
        while self.server.stats().in_flight > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}
