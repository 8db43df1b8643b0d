//! What is compared ([`Peer`]), and the two sides of each.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use plane_bench::{BareCaller, Cell, PlaneCaller, Sample, Shape, drive, serve_all, serve_bare};
use plane_core::{Address, RequestPlaneClient, RequestPlaneServer};
use plane_nats::{NatsClient, NatsConfig, NatsConnection, NatsServer};
use plane_tcp::{ClientConfig, Listen, ServerConfig, TcpClient, TcpServer};
use serde::{Deserialize, Serialize};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

use crate::bare_loop::{self, Connection, LoopCaller, Style};
use crate::grpc::{self, TonicCaller};
use crate::ping_pong::{self, PingPongCaller};
use crate::rpc::{self, EchoClient, TarpcCaller};

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Peer {
    /// The plane over TCP.
    Plane,
    /// A bare multiplexed loop that answers where it reads.
    Inline,
    /// The same with a task for each request.
    Spawning,
    /// Bare ping-pong, a connection for each call in flight.
    PingPong,
    /// gRPC.
    Tonic,
    /// An RPC library for Rust alone.
    Tarpc,
    /// The plane over NATS.
    PlaneNats,
    /// The NATS client library alone.
    Nats,
}

impl Peer {
    /// How the report calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Plane => "plane, TCP",
            Self::Inline => "bare loop, inline",
            Self::Spawning => "bare loop, spawning",
            Self::PingPong => "bare ping-pong",
            Self::Tonic => "tonic",
            Self::Tarpc => "tarpc",
            Self::PlaneNats => "plane, NATS",
            Self::Nats => "bare async-nats",
        }
    }

    /// What it is called on the command line.
    pub(crate) fn argument(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// Whether a NATS server stands between its two sides.
    pub(crate) fn needs_nats(self) -> bool {
        matches!(self, Self::PlaneNats | Self::Nats)
    }

    /// Whether it can do this work at all.
    pub(crate) fn can(self, shape: Shape) -> bool {
        match (self, shape) {
            (Self::PingPong | Self::Tarpc, Shape::Stream { .. }) => false,
            // With its headers it is over what a NATS server takes by default.
            (Self::PlaneNats | Self::Nats, Shape::Unary { bytes, .. }) => bytes < 1 << 20,
            _ => true,
        }
    }
}

/// Serves until standard input ends, which it does when the process that started this one is gone. Prints where it listens.
pub(crate) async fn serve(peer: Peer, nats: Option<&str>) -> Result<()> {
    let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let listen = async || TcpListener::bind(loopback).await.context("cannot listen on loopback");
    match peer {
        Peer::Plane => {
            let listen = Listen::Tcp { bind: loopback, advertise: None };
            let (server, driver) = TcpServer::bind(ServerConfig::new(listen)).await?;
            let _served = serve_all(&server).await?;
            let driving = tokio::spawn(driver);
            print_and_wait(server.address(), async { Ok(driving.await?) }).await
        }
        Peer::PlaneNats => {
            let (server, driver) = NatsServer::bind(&connection(nats)?).await?;
            let driving = tokio::spawn(driver);
            let _served = serve_all(&server).await?;
            print_and_wait(Address::Nats("plane".into()), async { Ok(driving.await?) }).await
        }
        Peer::Nats => {
            let client = bare_client(nats).await?;
            let _served = serve_bare(&client).await.map_err(anyhow::Error::from_boxed)?;
            print_and_wait("nats", std::future::pending()).await
        }
        Peer::Inline | Peer::Spawning => {
            let style = if peer == Peer::Inline { Style::Inline } else { Style::Spawning };
            let listener = listen().await?;
            print_and_wait(listener.local_addr()?, async { Ok(bare_loop::serve(listener, style).await?) }).await
        }
        Peer::PingPong => {
            let listener = listen().await?;
            print_and_wait(listener.local_addr()?, async { Ok(ping_pong::serve(listener).await?) }).await
        }
        Peer::Tonic => {
            let listener = listen().await?;
            print_and_wait(listener.local_addr()?, grpc::serve(listener)).await
        }
        Peer::Tarpc => {
            let (address, serving) = rpc::serve(loopback).await?;
            print_and_wait(address, serving).await
        }
    }
}

async fn print_and_wait(address: impl std::fmt::Display, serving: impl Future<Output = Result<()>>) -> Result<()> {
    println!("{address}");
    let closed = async {
        let mut nothing = [0; 64];
        while tokio::io::stdin().read(&mut nothing).await? > 0 {}
        Ok(())
    };
    tokio::select! {
        served = serving => served,
        closed = closed => closed,
    }
}

/// The calling side of one peer, connected once.
#[derive(Debug)]
pub(crate) enum Calling {
    Plane(Arc<dyn RequestPlaneClient>, Address),
    Loop(Arc<Connection>),
    PingPong(SocketAddr),
    Tonic(tonic::transport::Channel),
    Tarpc(EchoClient),
    Nats(async_nats::Client),
}

impl Calling {
    pub(crate) async fn connect(peer: Peer, address: &str, nats: Option<&str>) -> Result<Self> {
        let socket =
            || address.parse::<SocketAddr>().with_context(|| format!("{address} is no IP address with a port"));
        Ok(match peer {
            Peer::Plane => Self::Plane(Arc::new(TcpClient::new(ClientConfig::default())), address.parse()?),
            Peer::PlaneNats => Self::Plane(Arc::new(NatsClient::new(&connection(nats)?)), address.parse()?),
            Peer::Nats => Self::Nats(bare_client(nats).await?),
            Peer::Inline | Peer::Spawning => Self::Loop(Arc::new(Connection::open(socket()?).await?)),
            Peer::PingPong => Self::PingPong(socket()?),
            Peer::Tonic => Self::Tonic(grpc::connect(socket()?).await?),
            Peer::Tarpc => Self::Tarpc(rpc::connect(socket()?).await?),
        })
    }

    /// Measures one cell.
    pub(crate) async fn measure(&self, cell: Cell, time: Duration) -> Result<Sample> {
        let Cell { name, shape } = cell;
        let sample = match self {
            Self::Plane(client, address) => {
                drive(PlaneCaller::new(client.clone(), address.clone(), shape), cell, time).await
            }
            Self::Loop(connection) => drive(LoopCaller::new(connection.clone(), shape), cell, time).await,
            Self::PingPong(address) => drive(PingPongCaller::new(*address, shape), cell, time).await,
            Self::Tonic(channel) => drive(TonicCaller::new(channel.clone(), shape), cell, time).await,
            Self::Tarpc(client) => drive(TarpcCaller::new(client.clone(), shape), cell, time).await,
            Self::Nats(client) => drive(BareCaller::new(client.clone(), shape), cell, time).await,
        };
        sample.with_context(|| format!("cell \"{name}\""))
    }
}

fn url(nats: Option<&str>) -> Result<&str> {
    match nats {
        Some(url) => Ok(url),
        None => bail!("this one needs a NATS server: say which with --nats nats://host:port"),
    }
}

fn connection(nats: Option<&str>) -> Result<NatsConnection> {
    Ok(NatsConnection::new(NatsConfig::default().servers([url(nats)?])?))
}

async fn bare_client(nats: Option<&str>) -> Result<async_nats::Client> {
    let url = url(nats)?;
    async_nats::connect(url).await.with_context(|| format!("no NATS server answers at {url} (--nats)"))
}
