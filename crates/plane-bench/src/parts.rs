//! The two sides of a load run.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;
use plane_bench::{
    BareCaller, CELLS, Caller, Cell, NATS_CELLS, PlaneCaller, Sample, drive as drive_cell, serve_all, serve_bare,
};
use plane_core::mem::{MemClient, MemConfig, MemNetwork, MemServer};
use plane_core::{Address, RequestPlaneClient, RequestPlaneServer, Transport};
use plane_nats::{NatsClient, NatsConfig, NatsConnection, NatsServer};
use plane_tcp::{ClientConfig, Listen, ServerConfig, TcpClient, TcpServer};
use tokio::io::AsyncReadExt;

/// What carries the calls of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Carrier {
    /// TCP over loopback, two processes.
    Tcp,
    /// Inside one process.
    Mem,
    /// A NATS server, two processes, beside the bare pattern of its client library. It must run already (--nats).
    Nats,
}

/// How much is measured.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) rounds: u16,
    pub(crate) time: Duration,
    /// Only the cells whose name contains this.
    pub(crate) only: String,
}

impl Plan {
    fn cells(&self, all: &[Cell]) -> Result<Vec<Cell>> {
        let cells: Vec<_> = all.iter().copied().filter(|cell| cell.name.contains(&self.only)).collect();
        let names: Vec<_> = all.iter().map(|cell| cell.name).collect();
        ensure!(!cells.is_empty(), "no cell is called \"{}\"; there are: {}", self.only, names.join("; "));
        Ok(cells)
    }
}

/// How long the last calls of a side may take at its end.
const CLOSE: Duration = Duration::from_secs(5);

/// Serves until standard input ends, which it does when the process that started this one is gone.
pub(crate) async fn serve() -> Result<()> {
    let listen = Listen::Tcp { bind: (Ipv4Addr::LOCALHOST, 0).into(), advertise: None };
    let (server, driver) = TcpServer::bind(ServerConfig::new(listen)).await.context("cannot listen on loopback")?;
    let driving = tokio::spawn(driver);
    until_stdin_ends(&server, &server.address()).await?;
    driving.await.context("the listener failed")
}

/// The same over NATS, with the bare pattern beside it on a connection of its own.
pub(crate) async fn serve_nats(url: &str) -> Result<()> {
    let bare = bare_client(url).await?;
    let _bare = serve_bare(&bare).await.map_err(anyhow::Error::from_boxed)?;
    let (server, driver) = NatsServer::bind(&connection(url)?).await.context("cannot serve over NATS")?;
    let driving = tokio::spawn(driver);
    // Both ways go through a queue group, as calls to any of several servers do.
    until_stdin_ends(&server, &Address::Nats("plane".into())).await?;
    driving.await.context("the driver failed")
}

async fn until_stdin_ends(server: &dyn RequestPlaneServer, address: &Address) -> Result<()> {
    let served = serve_all(server).await.context("cannot register the handlers")?;
    println!("{address}");
    let mut nothing = [0; 64];
    while tokio::io::stdin().read(&mut nothing).await? > 0 {}
    drop(served);
    server.drain(Instant::now() + CLOSE).await;
    Ok(())
}

/// Measures every cell in each round.
pub(crate) async fn drive(address: &Address, plan: &Plan, take: impl FnMut(Sample) -> Result<()>) -> Result<()> {
    let client: Arc<dyn RequestPlaneClient> = match address.transport() {
        Transport::Tcp => Arc::new(TcpClient::new(ClientConfig::default())),
        Transport::Nats => bail!("calls to {address} need a NATS server: say which with --nats nats://host:port"),
        other => bail!("the load run cannot call over {other}; use an address such as tcp://127.0.0.1:9000"),
    };
    measure(&client, address, plan, take).await
}

/// The same with both sides in this process.
pub(crate) async fn drive_in_process(plan: &Plan, take: impl FnMut(Sample) -> Result<()>) -> Result<()> {
    let network = MemNetwork::new();
    let server = MemServer::bind(&network, "load", MemConfig::default()).context("cannot serve in this process")?;
    let _served = serve_all(&server).await.context("cannot register the handlers")?;
    let client: Arc<dyn RequestPlaneClient> = Arc::new(MemClient::new(&network, MemConfig::default()));
    measure(&client, &server.address(), plan, take).await
}

async fn measure(
    client: &Arc<dyn RequestPlaneClient>,
    address: &Address,
    plan: &Plan,
    mut take: impl FnMut(Sample) -> Result<()>,
) -> Result<()> {
    let cells = plan.cells(&CELLS)?;
    for _ in 0..plan.rounds {
        for cell in &cells {
            let caller = PlaneCaller::new(client.clone(), address.clone(), cell.shape);
            take(measure_cell(caller, *cell, plan).await?)?;
        }
    }
    client.close(Instant::now() + CLOSE).await;
    Ok(())
}

/// Measures every cell over NATS both ways in each round, one right after the other and each first in turn.
pub(crate) async fn drive_nats(
    url: &str,
    address: &Address,
    plan: &Plan,
    mut take: impl FnMut(Sample) -> Result<()>,
) -> Result<()> {
    ensure!(address.transport() == Transport::Nats, "--nats is for addresses such as nats://plane, not {address}");
    let cells = plan.cells(&NATS_CELLS)?;
    let client: Arc<dyn RequestPlaneClient> = Arc::new(NatsClient::new(&connection(url)?));
    let bare = bare_client(url).await?;
    for round in 0..plan.rounds {
        for cell in &cells {
            let plane = PlaneCaller::new(client.clone(), address.clone(), cell.shape);
            let bare = BareCaller::new(bare.clone(), cell.shape);
            if round % 2 == 0 {
                take(measure_cell(plane, *cell, plan).await?)?;
                take(measure_cell(bare, *cell, plan).await?)?;
            } else {
                take(measure_cell(bare, *cell, plan).await?)?;
                take(measure_cell(plane, *cell, plan).await?)?;
            }
        }
    }
    client.close(Instant::now() + CLOSE).await;
    Ok(())
}

async fn measure_cell<C: Caller>(caller: C, cell: Cell, plan: &Plan) -> Result<Sample> {
    let sample = drive_cell(caller, cell, plan.time).await;
    sample.with_context(|| format!("cell \"{}\", {:?}", cell.name, C::WAY))
}

fn connection(url: &str) -> Result<NatsConnection> {
    Ok(NatsConnection::new(NatsConfig::default().servers([url])?))
}

async fn bare_client(url: &str) -> Result<async_nats::Client> {
    async_nats::connect(url).await.with_context(|| format!("no NATS server answers at {url} (--nats)"))
}
