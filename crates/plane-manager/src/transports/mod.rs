//! The server and the clients of one manager, made when they are first needed.

mod mem;
#[cfg(feature = "tcp")]
mod tcp;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use plane_core::mem::MemNetwork;
use plane_core::{
    Address, ClientStats, Delivery, DrainReport, Error, ErrorKind, Health, RequestPlaneClient, RequestPlaneServer,
    ServerStats, Transport,
};
use tokio::sync::OnceCell;
use tokio_util::task::AbortOnDropHandle;

use crate::config::{Config, REQUEST_PLANE};

/// A server and the task that accepts its connections, if it has one.
#[derive(Debug)]
struct Served {
    server: Arc<dyn RequestPlaneServer>,
    _accepting: Option<AbortOnDropHandle<()>>,
}

type Client = Arc<dyn RequestPlaneClient>;

/// The server and the clients of one manager. Nothing is opened before it is needed.
#[derive(Debug)]
pub(crate) struct Transports {
    config: Arc<Config>,
    network: Option<MemNetwork>,
    server: OnceCell<Served>,
    tcp: OnceLock<Client>,
    mem: OnceLock<Client>,
    /// Nothing new is served.
    draining: AtomicBool,
    /// Nothing new is called. Later than `draining`: a handler in flight may still have calls to make.
    closed: AtomicBool,
    #[cfg(feature = "tcp")]
    tcp_config: plane_tcp::ClientConfig,
}

impl Transports {
    /// # Errors
    /// `FailedPrecondition` for a transport that this build lacks, `InvalidArgument` for settings that cannot work.
    pub(crate) fn new(config: Arc<Config>, network: Option<MemNetwork>) -> Result<Self, Error> {
        check_mode(config.mode, network.is_some())?;
        Ok(Self {
            #[cfg(feature = "tcp")]
            tcp_config: config.tcp.client_config()?,
            config,
            network,
            server: OnceCell::new(),
            tcp: OnceLock::new(),
            mem: OnceLock::new(),
            draining: AtomicBool::new(false),
            closed: AtomicBool::new(false),
        })
    }

    /// The server, which is started by the first who asks; those who ask meanwhile wait for the same one.
    pub(crate) async fn server(&self) -> Result<&Arc<dyn RequestPlaneServer>, Error> {
        check_open(&self.draining)?;
        let served = self.server.get_or_try_init(|| self.start_server()).await?;
        // A drain that ran meanwhile did not see the server.
        check_open(&self.draining)?;
        Ok(&served.server)
    }

    async fn start_server(&self) -> Result<Served, Error> {
        match (self.config.mode, &self.network) {
            (Transport::Mem, Some(network)) => mem::serve(network),
            #[cfg(feature = "tcp")]
            (Transport::Tcp, _) => tcp::serve(&self.config.tcp).await,
            (mode, _) => Err(missing(mode)),
        }
    }

    /// The client that reaches this address.
    pub(crate) fn client(&self, address: &Address) -> Result<&Client, Error> {
        let client = match (address.transport(), &self.network) {
            #[cfg(feature = "tcp")]
            (Transport::Tcp, _) => self.tcp.get_or_init(|| tcp::client(self.tcp_config.clone())),
            (Transport::Mem, Some(network)) => self.mem.get_or_init(|| mem::client(network, &self.config.tcp)),
            (transport, _) => return Err(unreachable_from_here(address, transport)),
        };
        // Last, so that no client is made after a drain that has not seen it and used nevertheless.
        check_open(&self.closed)?;
        Ok(client)
    }

    fn clients(&self) -> impl Iterator<Item = &Client> {
        self.tcp.get().into_iter().chain(self.mem.get())
    }

    /// Refuses whatever is new, lets calls in flight finish until `deadline`, then ends the rest.
    pub(crate) async fn drain(&self, deadline: Instant) -> DrainReport {
        self.draining.store(true, Ordering::Release);
        let mut report = DrainReport::default();
        if let Some(served) = self.server.get() {
            add(&mut report, served.server.drain(deadline).await);
        }
        self.closed.store(true, Ordering::Release);
        for client in self.clients() {
            add(&mut report, client.close(deadline).await);
        }
        report
    }

    /// What the server and each client say.
    pub(crate) fn health(&self) -> impl Iterator<Item = Health> {
        let server = self.server.get().map(|served| served.server.health());
        server.into_iter().chain(self.clients().map(|client| client.health()))
    }

    pub(crate) fn server_stats(&self) -> Option<ServerStats> {
        self.server.get().map(|served| served.server.stats())
    }

    pub(crate) fn client_stats(&self) -> Vec<(Transport, ClientStats)> {
        self.clients().map(|client| (client.transport(), client.stats())).collect()
    }
}

fn check_open(closed: &AtomicBool) -> Result<(), Error> {
    if closed.load(Ordering::Acquire) {
        return Err(Error::new(ErrorKind::Cancelled, Delivery::NotSent, "this network manager was drained"));
    }
    Ok(())
}

fn add(sum: &mut DrainReport, more: DrainReport) {
    sum.finished += more.finished;
    sum.aborted += more.aborted;
}

fn check_mode(mode: Transport, has_network: bool) -> Result<(), Error> {
    match mode {
        Transport::Tcp if cfg!(feature = "tcp") => Ok(()),
        Transport::Mem if has_network => Ok(()),
        mode => Err(missing(mode)),
    }
}

fn unreachable_from_here(address: &Address, transport: Transport) -> Error {
    let what = format!(
        "cannot call {address}: this process has no {transport} transport; those who serve and those who call must use \
         the same {REQUEST_PLANE}"
    );
    Error::new(ErrorKind::FailedPrecondition, Delivery::NotSent, what)
}

fn missing(mode: Transport) -> Error {
    let what = match mode {
        Transport::Tcp => {
            format!("{REQUEST_PLANE}=tcp, but this build has no TCP transport: build it with the feature tcp")
        }
        Transport::Mem => "the mem transport needs a network: give the builder one with mem_network".to_owned(),
        other => format!(
            "this build cannot carry calls over {other} yet; use tcp, which is the default ({REQUEST_PLANE}=tcp)"
        ),
    };
    Error::new(ErrorKind::FailedPrecondition, Delivery::NotSent, what)
}
