//! What the ends of a simulated connection are set to, and what is done to them, drawn at random.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fastrand::Rng;
use plane_core::{Address, AdmissionLimits, Endpoints, InstanceId, Peer, Refusals, Registration, Response, handler_fn};

use crate::config::ConnectionConfig;
use crate::proto::{Connection, Side as Role};
use crate::simulation::caller::endpoint;
use crate::simulation::script::Edges;
use crate::simulation::side::Side;

/// Something that is done to a connection.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fault {
    /// Nothing comes out for so long: of what the client sends, or of what the server sends.
    Pause { to_server: bool, lasts: Duration },
    /// Nothing comes out any more.
    Cut { to_server: bool },
    /// Both ends are told that the connection is gone.
    Reset,
    /// An end stands still, as a process that was stopped.
    Freeze { server: bool, lasts: Duration },
    /// The server finishes what it has and takes nothing on.
    Drain { grace: Duration },
    /// The server ends what is left.
    Abort,
    /// The client opens nothing more.
    Retire,
    /// The client ends what is left.
    Close,
}

impl Fault {
    /// What is done in one seed, and when; nothing in a third of them.
    pub(super) fn draw(rng: &mut Rng) -> Vec<(Duration, Self)> {
        let mut faults = Vec::new();
        for _ in 0..rng.usize(..3) {
            let at = Duration::from_micros(rng.u64(..1_500_000));
            let longest = [1_000, 300_000, 3_000_000][rng.usize(..3)];
            let lasts = Duration::from_micros(rng.u64(..longest));
            let to_server = rng.bool();
            let fault = match rng.u8(..16) {
                0..=3 => Self::Pause { to_server, lasts },
                4 => {
                    if rng.bool() {
                        faults.push((at, Self::Cut { to_server: !to_server }));
                    }
                    Self::Cut { to_server }
                }
                5..=6 => Self::Reset,
                7..=9 => Self::Freeze { server: to_server, lasts },
                10..=12 => {
                    faults.push((at + lasts, Self::Abort));
                    Self::Drain { grace: lasts }
                }
                13..=14 => Self::Retire,
                _ => Self::Close,
            };
            faults.push((at, fault));
        }
        faults
    }

    /// Whether calls may be lost to it.
    pub(super) fn disturbs(self) -> bool {
        matches!(self, Self::Pause { .. } | Self::Cut { .. } | Self::Reset | Self::Freeze { .. })
    }
}

/// Two ends that have said hello, and the table of the one that answers.
pub(super) struct Ends {
    pub(super) client: Side,
    pub(super) server: Side,
    pub(super) endpoints: Endpoints,
    pub(super) edges: Edges,
    /// After this long without a byte an end is given up.
    pub(super) patience: Duration,
    /// Connections without calls end on their own.
    pub(super) impatient: bool,
    pub(super) largest_frame: usize,
    _registration: Registration,
}

impl Ends {
    pub(super) fn draw(rng: &mut Rng, now: Instant) -> Self {
        let patience = [(200, 100), (1_000, 500), (10_000, 5_000)][rng.usize(..3)];
        let keepalive = (Duration::from_millis(patience.0), Duration::from_millis(patience.1));
        let configs = [config(rng, keepalive), config(rng, keepalive)];
        let impatient = rng.u8(..8) == 0;
        let idle = if impatient { Duration::from_millis(50) } else { Duration::from_secs(270) };
        let limits = AdmissionLimits { running: [1, 3, 8_192][rng.usize(..3)], queued: [0, 2, 1_024][rng.usize(..3)] };
        let queue = [1, 4, 100][rng.usize(..3)];
        Self { impatient, ..Self::with(configs, limits, idle, queue, now) }
    }

    /// Two ends with the default settings.
    pub(super) fn usual(now: Instant) -> Self {
        let configs = [ConnectionConfig::default(), ConnectionConfig::default()];
        Self::with(configs, AdmissionLimits::default(), Duration::from_secs(270), 1_000, now)
    }

    /// A client and a server with these settings; a connection that was idle for so long ends.
    fn with(
        [ours, theirs]: [ConnectionConfig; 2],
        limits: AdmissionLimits,
        idle: Duration,
        queue: u64,
        now: Instant,
    ) -> Self {
        let endpoints = Endpoints::new(limits);
        // Handlers are run by the simulation; the table only counts them.
        let handler = Arc::new(handler_fn(|_, _| async { Ok(Response::default()) }));
        let instance = InstanceId::new(1).expect("not zero");
        let registration = endpoints.register(endpoint(true), instance, Address::mem("simulation"), handler);
        let connection = |role, own: &ConnectionConfig, other: &ConnectionConfig, idle, queue| {
            let peer = Arc::new(Peer::new("simulation", "simulation"));
            Side::new(Connection::new(role, own.settings(idle, queue), other.hello(), peer, now), own)
        };
        let client = Role::Dialler(Refusals::default());
        let server = Role::Listener(endpoints.clone());
        Self {
            client: connection(client, &ours, &theirs, idle, queue),
            server: connection(server, &theirs, &ours, idle.mul_f64(1.1), u64::MAX),
            endpoints,
            edges: Edges {
                window: ours.credit.min(theirs.credit) as usize,
                max_message: ours.max_message.min(theirs.max_message),
            },
            patience: ours.keepalive_interval + ours.keepalive_timeout,
            impatient: false,
            largest_frame: ours.max_frame.max(theirs.max_frame),
            _registration: registration.expect("a new table"),
        }
    }
}

fn config(rng: &mut Rng, keepalive: (Duration, Duration)) -> ConnectionConfig {
    let drawn = ConnectionConfig::default()
        .max_message([1, 5_000, 300_000, 32 << 20][rng.usize(..4)])
        .and_then(|config| config.credit([1_024, 5_000, 70_000, 1 << 20][rng.usize(..4)]))
        .and_then(|config| config.unwritten([64 << 10, 4 << 20][rng.usize(..2)]))
        .and_then(|config| config.max_calls([1, 3, 512][rng.usize(..3)]))
        .and_then(|config| config.max_frame([32 << 10, 256 << 10][rng.usize(..2)]))
        .and_then(|config| config.keepalive(keepalive.0, keepalive.1));
    let mut config = drawn.expect("settings within their ranges");
    // Callers give up more calls than usual here, and none is to be taken for an attack.
    config.abuse.aborts.at_once = 100;
    config.large_messages = [0, 100_000, 64 << 20][rng.usize(..3)];
    config
}
