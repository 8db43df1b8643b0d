//! The conformance suite on TCP.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use plane_core::{Address, RequestPlaneClient, RequestPlaneServer};
use plane_tcp::Listen;
use plane_testkit::conformance::{Limits, Plane};

mod stream;

struct TcpPlane;

fn at(port: u16) -> Listen {
    Listen::Tcp { bind: SocketAddr::from((Ipv4Addr::LOCALHOST, port)), advertise: None }
}

impl Plane for TcpPlane {
    fn new() -> Self {
        Self
    }

    async fn serve(&self, limits: Limits) -> Arc<dyn RequestPlaneServer> {
        stream::serve(stream::server_config(at(0), limits)).await
    }

    async fn serve_again(&self, address: &Address, limits: Limits) -> Arc<dyn RequestPlaneServer> {
        let Address::Tcp { port, .. } = address else { panic!("not a TCP address: {address}") };
        stream::serve(stream::server_config(at(*port), limits)).await
    }

    fn client(&self, limits: Limits) -> Arc<dyn RequestPlaneClient> {
        stream::client(stream::client_config(limits))
    }

    fn nowhere(&self) -> Address {
        // Reserved for a service that nobody runs, so a connection is refused at once.
        Address::tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, 1)))
    }
}

plane_testkit::conformance!(tcp, TcpPlane);
