//! The conformance suite on NATS: each case has a real server of its own.

use std::sync::Arc;
use std::time::Duration;

use plane_core::{Address, ConfigError, RequestPlaneClient, RequestPlaneServer};
use plane_nats::{NatsClient, NatsConfig, NatsConnection, NatsServer};
use plane_testkit::conformance::{Limits, Plane};

struct NatsPlane {
    nats: plane_testkit::nats::NatsServer,
}

impl NatsPlane {
    fn config(&self, limits: Limits) -> Result<NatsConfig, ConfigError> {
        // Well below the time to be accepted, as a deployment has it.
        let accept_notice = (limits.request_timeout / 5).min(Duration::from_millis(100));
        let config = NatsConfig::default().servers([self.nats.url()])?.admission(limits.admission);
        config
            .max_message(limits.max_message)?
            .credit(limits.window)?
            .headers(limits.headers)?
            .request_timeout(limits.request_timeout)?
            .accept_notice(accept_notice)
    }

    async fn bind(&self, config: NatsConfig) -> Arc<dyn RequestPlaneServer> {
        let (server, driver) = NatsServer::bind(&NatsConnection::new(config)).await.expect("NATS runs");
        tokio::spawn(driver);
        Arc::new(server)
    }
}

impl Plane for NatsPlane {
    fn new() -> Self {
        Self { nats: plane_testkit::nats::NatsServer::start() }
    }

    async fn serve(&self, limits: Limits) -> Arc<dyn RequestPlaneServer> {
        self.bind(self.config(limits).expect("limits in range")).await
    }

    async fn serve_again(&self, address: &Address, limits: Limits) -> Arc<dyn RequestPlaneServer> {
        let Address::Nats(subject) = address else { panic!("not a NATS address: {address}") };
        let (_, id) = subject.rsplit_once('@').expect("the address of one server");
        let id = u64::from_str_radix(id, 16).expect("a number");
        self.bind(self.config(limits).expect("limits in range").server_id(id)).await
    }

    fn client(&self, limits: Limits) -> Arc<dyn RequestPlaneClient> {
        Arc::new(NatsClient::new(&NatsConnection::new(self.config(limits).expect("limits in range"))))
    }

    fn nowhere(&self) -> Address {
        "nats://plane.@0000000000000001".parse().expect("a well-formed address")
    }

    fn foreign(&self) -> Address {
        Address::mem("elsewhere")
    }
}

plane_testkit::conformance!(nats, NatsPlane);
