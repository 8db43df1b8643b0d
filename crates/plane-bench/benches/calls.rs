//! What a call costs with both sides in one process: inside it, and over TCP on loopback.

use std::net::Ipv4Addr;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use plane_bench::{ECHO, PACED, READY, Served, serve_all};
use plane_core::mem::{MemClient, MemConfig, MemNetwork, MemServer};
use plane_core::{Address, Request, RequestPlaneClient, RequestPlaneServer};
use plane_tcp::{ClientConfig, Listen, ServerConfig, TcpClient, TcpServer};
use tokio::runtime::Runtime;

const ITEMS: u32 = 256;

/// Both sides of a transport.
struct Pair {
    name: &'static str,
    client: Arc<dyn RequestPlaneClient>,
    address: Address,
    _server: Box<dyn RequestPlaneServer>,
    _served: Served,
}

async fn mem() -> Pair {
    let network = MemNetwork::new();
    let server = MemServer::bind(&network, "bench", MemConfig::default()).expect("a free name");
    let client = Arc::new(MemClient::new(&network, MemConfig::default()));
    pair("mem", client, Box::new(server)).await
}

async fn tcp() -> Pair {
    let listen = Listen::Tcp { bind: (Ipv4Addr::LOCALHOST, 0).into(), advertise: None };
    let (server, driver) = TcpServer::bind(ServerConfig::new(listen)).await.expect("a free port");
    tokio::spawn(driver);
    pair("tcp", Arc::new(TcpClient::new(ClientConfig::default())), Box::new(server)).await
}

async fn pair(name: &'static str, client: Arc<dyn RequestPlaneClient>, server: Box<dyn RequestPlaneServer>) -> Pair {
    let served = serve_all(server.as_ref()).await.expect("nothing is registered yet");
    Pair { name, client, address: server.address(), _server: server, _served: served }
}

async fn call(pair: &Pair, endpoint: &str, message: Bytes) -> usize {
    let request = Request::new(endpoint.parse().expect("a valid name"), message);
    let mut response = pair.client.call(&pair.address, request).await.expect("a call that works");
    let mut items = 0;
    while let Some(item) = response.next().await {
        item.expect("an item");
        items += 1;
    }
    items
}

fn calls(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    for pair in [runtime.block_on(mem()), runtime.block_on(tcp())] {
        let mut group = criterion.benchmark_group(pair.name);
        for (name, bytes) in [("unary 128 B", 128), ("unary 1 MiB", 1 << 20)] {
            let message = Bytes::from(vec![b'x'; bytes]);
            group.throughput(Throughput::Elements(1));
            group.bench_function(name, |bencher| {
                bencher.iter(|| runtime.block_on(call(&pair, ECHO, message.clone())));
            });
        }
        let mut request = BytesMut::new();
        request.put_u32(ITEMS);
        request.put_u32(64);
        let request = request.freeze();
        for (name, endpoint) in [("stream 256 x 64 B, ready", READY), ("stream 256 x 64 B, yielding", PACED)] {
            group.throughput(Throughput::Elements(u64::from(ITEMS)));
            group.bench_function(name, |bencher| {
                bencher.iter(|| runtime.block_on(call(&pair, endpoint, request.clone())));
            });
        }
        group.finish();
    }
}

criterion_group!(benches, calls);
criterion_main!(benches);
