//! The client.

use std::time::Instant;

use plane_core::{
    Address, BoxFuture, ClientStats, DrainReport, Error, Health, Request, RequestPlaneClient, Response, Transport,
};

use crate::config::ClientConfig;

/// Makes calls over TCP and Unix sockets.
#[derive(Debug)]
pub struct TcpClient {}

impl TcpClient {
    /// A client with these settings. Opens nothing: connections are opened by calls.
    #[must_use]
    pub fn new(_config: ClientConfig) -> Self {
        Self {}
    }
}

impl RequestPlaneClient for TcpClient {
    fn call<'a>(&'a self, _address: &'a Address, _request: Request) -> BoxFuture<'a, Result<Response, Error>> {
        unreachable!()
    }
    fn transport(&self) -> Transport {
        Transport::Tcp
    }
    fn health(&self) -> Health {
        Health::Ready
    }
    fn stats(&self) -> ClientStats {
        ClientStats::default()
    }
    fn close(&self, _deadline: Instant) -> BoxFuture<'_, DrainReport> {
        unreachable!()
    }
}
