//! The server and the clients of one manager, made when they are first needed.

mod mem;
#[cfg(feature = "nats")]
mod nats;
mod reach;
#[cfg(feature = "tcp")]
mod tcp;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use plane_core::mem::MemNetwork;
use plane_core::{
    Address, Authorizer, ClientStats, Delivery, DrainReport, Error, ErrorKind, Health, RequestPlaneClient,
    RequestPlaneServer, ServerStats, Transport,
};
use tokio::sync::OnceCell;
use tokio_util::task::AbortOnDropHandle;

use crate::config::{Config, NATS_DELIVERY, REQUEST_PLANE};
pub(crate) use reach::Reach;

/// A server and the task that takes in what comes to it, if it has one.
#[derive(Debug)]
struct Served {
    server: Arc<dyn RequestPlaneServer>,
    _driving: Option<AbortOnDropHandle<()>>,
}

type Client = Arc<dyn RequestPlaneClient>;

/// The server and the clients of one manager. Nothing is opened before it is needed.
#[derive(Debug)]
pub(crate) struct Transports {
    config: Arc<Config>,
    network: Option<MemNetwork>,
    authorizer: Option<Authorizer>,
    server: OnceCell<Served>,
    tcp: OnceLock<Client>,
    nats: OnceLock<Client>,
    mem: OnceLock<Client>,
    /// Nothing new is served.
    draining: AtomicBool,
    /// Nothing new is called. Later than `draining`: a handler in flight may still have calls to make.
    closed: AtomicBool,
    reach: Reach,
    #[cfg(feature = "tcp")]
    tcp_config: plane_tcp::ClientConfig,
    /// Shared by the server, the client and whatever else of this manager needs NATS; made when the first of them does.
    #[cfg(feature = "nats")]
    nats_connection: plane_nats::NatsConnection,
}

impl Transports {
    /// # Errors
    /// `FailedPrecondition` for a transport that this build lacks, `InvalidArgument` for settings that cannot work.
    pub(crate) fn new(
        config: Arc<Config>,
        network: Option<MemNetwork>,
        authorizer: Option<Authorizer>,
    ) -> Result<Self, Error> {
        check_mode(config.mode, network.is_some())?;
        check_delivery(&config)?;
        Ok(Self {
            #[cfg(feature = "tcp")]
            tcp_config: config.tcp.client_config()?,
            #[cfg(feature = "nats")]
            nats_connection: nats::connection(&config.nats, authorizer.clone())?,
            reach: Reach::new(&config, network.is_some()),
            config,
            network,
            authorizer,
            server: OnceCell::new(),
            tcp: OnceLock::new(),
            nats: OnceLock::new(),
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
            (Transport::Mem, Some(network)) => mem::serve(network, self.authorizer.clone()),
            #[cfg(feature = "tcp")]
            (Transport::Tcp, _) => tcp::serve(&self.config.tcp, self.authorizer.clone()).await,
            #[cfg(feature = "nats")]
            (Transport::Nats, _) => nats::serve(&self.nats_connection).await,
            (mode, _) => Err(missing(mode)),
        }
    }

    /// What the server, the client and whatever else needs NATS share.
    #[cfg(feature = "nats")]
    pub(crate) fn nats_connection(&self) -> &plane_nats::NatsConnection {
        &self.nats_connection
    }

    /// Which instances can be called from here.
    pub(crate) fn reach(&self) -> Reach {
        self.reach
    }

    /// Where requests are stored until they were answered; `None` if they go straight to a server.
    pub(crate) fn store(&self) -> Option<Address> {
        self.config.nats.store.as_ref().map(|_| Address::Nats(self.config.nats.prefix.as_str().into()))
    }

    /// The client that reaches this address.
    pub(crate) fn client(&self, address: &Address) -> Result<&Client, Error> {
        let client = match (address.transport(), &self.network) {
            #[cfg(feature = "tcp")]
            (Transport::Tcp, _) => self.tcp.get_or_init(|| tcp::client(self.tcp_config.clone())),
            #[cfg(feature = "nats")]
            (Transport::Nats, _) => self.nats.get_or_init(|| nats::client(&self.nats_connection)),
            (Transport::Mem, Some(network)) => self.mem.get_or_init(|| mem::client(network, &self.config.tcp)),
            _ => return Err(self.reach.refusal(address)),
        };
        // Last, so that no client is made after a drain that has not seen it and used nevertheless.
        check_open(&self.closed)?;
        Ok(client)
    }

    fn clients(&self) -> impl Iterator<Item = &Client> {
        [&self.tcp, &self.nats, &self.mem].into_iter().filter_map(OnceLock::get)
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
        Transport::Nats if cfg!(feature = "nats") => Ok(()),
        Transport::Mem if has_network => Ok(()),
        mode => Err(missing(mode)),
    }
}

fn check_delivery(config: &Config) -> Result<(), Error> {
    if config.nats.store.is_none() || config.mode == Transport::Nats {
        return Ok(());
    }
    let mode = config.mode;
    let what = format!(
        "{NATS_DELIVERY}=jetstream stores requests on NATS, and this side is on {mode}: set {REQUEST_PLANE}=nats, or \
         {NATS_DELIVERY}=core"
    );
    Err(Error::new(ErrorKind::InvalidArgument, Delivery::NotSent, what))
}

fn missing(mode: Transport) -> Error {
    let what = match mode {
        Transport::Mem => "the mem transport needs a network: give the builder one with mem_network".to_owned(),
        other => format!(
            "{REQUEST_PLANE}={other}, but this build has no {other} transport: build it with the feature {other}"
        ),
    };
    Error::new(ErrorKind::FailedPrecondition, Delivery::NotSent, what)
}
