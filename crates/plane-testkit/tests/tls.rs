//! The conformance suite on TCP with mutual TLS.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use plane_core::{Address, RequestPlaneClient, RequestPlaneServer};
use plane_tcp::{Listen, TlsClientConfig, TlsIdentity, TlsServerConfig};
use plane_testkit::conformance::{Limits, Plane};
use plane_testkit::{Authority, CertificateFiles};

mod stream;

struct TlsPlane {
    authority: Authority,
    server: TlsIdentity,
    client: TlsIdentity,
}

fn at(port: u16) -> Listen {
    Listen::Tcp { bind: SocketAddr::from((Ipv4Addr::LOCALHOST, port)), advertise: None }
}

fn identity(CertificateFiles { certificate, key }: CertificateFiles) -> TlsIdentity {
    TlsIdentity::new(certificate, key)
}

impl TlsPlane {
    async fn serve_at(&self, port: u16, limits: Limits) -> Arc<dyn RequestPlaneServer> {
        let tls = TlsServerConfig::new(self.server.clone()).client_roots(self.authority.roots());
        stream::serve(stream::server_config(at(port), limits).tls(tls).expect("files in order")).await
    }
}

impl Plane for TlsPlane {
    fn new() -> Self {
        let authority = Authority::new();
        let (server, client) = (identity(authority.sign("127.0.0.1")), identity(authority.sign("client")));
        Self { authority, server, client }
    }

    async fn serve(&self, limits: Limits) -> Arc<dyn RequestPlaneServer> {
        self.serve_at(0, limits).await
    }

    async fn serve_again(&self, address: &Address, limits: Limits) -> Arc<dyn RequestPlaneServer> {
        let Address::Tls { port, .. } = address else { panic!("not an address with TLS: {address}") };
        self.serve_at(*port, limits).await
    }

    fn client(&self, limits: Limits) -> Arc<dyn RequestPlaneClient> {
        let tls = TlsClientConfig::new(self.authority.roots()).identity(self.client.clone()).required(true);
        stream::client(stream::client_config(limits).tls(tls).expect("files in order"))
    }

    fn nowhere(&self) -> Address {
        // Reserved for a service that nobody runs, so a connection is refused at once.
        Address::Tls { host: "127.0.0.1".into(), port: 1 }
    }
}

plane_testkit::conformance!(tls, TlsPlane);
