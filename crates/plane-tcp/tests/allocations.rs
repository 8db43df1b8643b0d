//! How often a call asks the allocator, both sides together. More than here is slower for every call: either it can be
//! avoided, or the number goes up with a reason.

use std::net::Ipv4Addr;
use std::sync::Arc;

use allocation_counter::measure;
use bytes::Bytes;
use plane_core::{
    Address, Body, EndpointId, Error, InstanceId, MessageStream, Request, RequestPlaneClient, RequestPlaneServer,
    Response, handler_fn,
};
use plane_tcp::{ClientConfig, Listen, ServerConfig, TcpClient, TcpServer};
use tokio::runtime::Runtime;

/// Calls and items that are counted; what is due now and then is spread over as many.
const MANY: u64 = 1_000;

/// A client and a server on the one thread of a runtime.
struct World {
    runtime: Runtime,
    client: TcpClient,
    address: Address,
}

/// Items that are there at once, as slices of one buffer.
struct Items(u64);

impl MessageStream for Items {
    fn poll_message(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Bytes, Error>>> {
        self.0 = self.0.saturating_sub(1);
        std::task::Poll::Ready((self.0 > 0).then(|| Ok(Bytes::from_static(&[7; 64]))))
    }
}

fn endpoint(name: &str) -> EndpointId {
    EndpointId::new("demo", "allocations", name).expect("a valid name")
}

impl World {
    fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let address = runtime.block_on(async {
            let listen = Listen::Tcp { bind: (Ipv4Addr::LOCALHOST, 0).into(), advertise: None };
            let (server, driver) = TcpServer::bind(ServerConfig::new(listen)).await.expect("a free port");
            tokio::spawn(driver);
            let echo = handler_fn(|request: Request, _| async move { Ok(Response::new(request.body)) });
            let items = handler_fn(|_, _| async move { Ok(Response::new(Body::from_messages(Items(MANY)))) });
            let instance = InstanceId::new(1).expect("not zero");
            let echo = server.register(endpoint("echo"), instance, Arc::new(echo)).await.expect("free");
            let items = server.register(endpoint("items"), instance, Arc::new(items)).await.expect("free");
            let address = server.address();
            // The server and its handlers stay until the runtime is gone.
            tokio::spawn(async move {
                std::future::pending::<()>().await;
                drop((server, echo, items));
            });
            address
        });
        Self { runtime, client: TcpClient::new(ClientConfig::default()), address }
    }

    /// One call after the other; how many messages came.
    fn call(&self, name: &str, message: &Bytes, calls: u64) -> u64 {
        let endpoint = endpoint(name);
        self.runtime.block_on(async {
            let mut came = 0;
            for _ in 0..calls {
                let request = Request::new(endpoint.clone(), message.clone());
                let mut answer = self.client.call(&self.address, request).await.expect("an answer");
                while let Some(item) = answer.next().await {
                    came += u64::from(!item.expect("a whole answer").is_empty());
                }
            }
            came
        })
    }

    /// Allocations of so many calls once all is warm, and the messages that came.
    fn count(&self, name: &str, message: &Bytes, calls: u64) -> (u64, u64) {
        self.call(name, message, calls.min(100));
        let mut came = 0;
        let allocations = measure(|| came = self.call(name, message, calls)).count_total;
        (allocations, came)
    }
}

#[test]
fn a_call_allocates_so_often_and_no_more() {
    let world = World::start();
    for (bytes, most) in [(0, 4), (128, 4), (16 << 10, 5), (1 << 20, 12)] {
        let calls = if bytes > 100_000 { 50 } else { MANY };
        let (allocations, _) = world.count("echo", &Bytes::from(vec![7; bytes]), calls);
        eprintln!("{bytes} B: {} allocations in {calls} calls", allocations);
        // What is due now and then comes on top.
        assert!(allocations < (most + 1) * calls, "{allocations} in {calls} calls of {bytes} B, {most} each");
    }
}

#[test]
fn an_item_allocates_hardly_ever() {
    let world = World::start();
    let (allocations, came) = world.count("items", &Bytes::new(), 10);
    eprintln!("{allocations} allocations for {came} items");
    assert!(allocations * 10 < came, "{allocations} for {came} items");
}
