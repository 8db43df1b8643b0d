//! The two sides of a load run.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;
use plane_bench::{CELLS, Sample, drive as drive_cell, serve_all};
use plane_core::mem::{MemClient, MemConfig, MemNetwork, MemServer};
use plane_core::{Address, RequestPlaneClient, RequestPlaneServer, Transport};
use plane_tcp::{ClientConfig, Listen, ServerConfig, TcpClient, TcpServer};
use tokio::io::AsyncReadExt;

/// What carries the calls of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Carrier {
    /// TCP over loopback, two processes.
    Tcp,
    /// Inside one process.
    Mem,
}

/// How much is measured.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) rounds: u16,
    pub(crate) time: Duration,
    /// Only the cells whose name contains this.
    pub(crate) only: String,
}

/// How long the last calls of a side may take at its end.
const CLOSE: Duration = Duration::from_secs(5);

/// Serves until standard input ends, which it does when the process that started this one is gone.
pub(crate) async fn serve() -> Result<()> {
    let listen = Listen::Tcp { bind: (Ipv4Addr::LOCALHOST, 0).into(), advertise: None };
    let (server, driver) = TcpServer::bind(ServerConfig::new(listen)).await.context("cannot listen on loopback")?;
    let driving = tokio::spawn(driver);
    let served = serve_all(&server).await.context("cannot register the handlers")?;
    println!("{}", server.address());
    let mut nothing = [0; 64];
    while tokio::io::stdin().read(&mut nothing).await? > 0 {}
    drop(served);
    server.drain(Instant::now() + CLOSE).await;
    driving.await.context("the listener failed")?;
    Ok(())
}

/// Measures every cell in each round.
pub(crate) async fn drive(address: &Address, plan: &Plan, take: impl FnMut(Sample) -> Result<()>) -> Result<()> {
    let client: Arc<dyn RequestPlaneClient> = match address.transport() {
        Transport::Tcp => Arc::new(TcpClient::new(ClientConfig::default())),
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
    let cells: Vec<_> = CELLS.into_iter().filter(|cell| cell.name.contains(&plan.only)).collect();
    ensure!(
        !cells.is_empty(),
        "no cell is called \"{}\"; there are: {}",
        plan.only,
        CELLS.map(|cell| cell.name).join("; ")
    );
    for _ in 0..plan.rounds {
        for cell in &cells {
            let sample = drive_cell(client, address, *cell, plan.time).await;
            take(sample.with_context(|| format!("cell \"{}\"", cell.name))?)?;
        }
    }
    client.close(Instant::now() + CLOSE).await;
    Ok(())
}
