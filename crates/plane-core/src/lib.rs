//! What a call *is*: names, messages, errors, traits, codecs and the in-process transport.
//!
//! This crate opens no socket, reads no environment and spawns no task. The transports
//! (`plane-tcp`, `plane-nats`) build on it; `plane-manager` picks one of them.
//!
//! # Layout
//! In reading order; a module uses only what stands above it.
//! - `sync`: what threads share.
//! - `name`: what is called ([`EndpointId`]) and who answers ([`InstanceId`]).
//! - `config`: how settings refuse what cannot work ([`ConfigError`]).
//! - `address`: where an instance is ([`Address`], [`Instance`]).
//! - `status`, `error`: what a server answers ([`Status`]) and what a caller sees ([`Error`]).
//! - `headers`: metadata of a request or response, and its limits.
//! - `body`, `message`: the messages of a call ([`Body`], [`Request`], [`Response`]).
//! - `peer`: who is at the other side ([`Peer`]), and what it has proven ([`Identity`]).
//! - `context`, `handler`: what a handler is given and what it is ([`Context`], [`Handler`]).
//! - `refusal`: what the other side was not let do, counted and logged ([`Refusals`]).
//! - `report`: what clients and servers tell of themselves.
//! - `authorizer`: who may call what ([`Authorizer`]).
//! - `endpoints`: the table of handlers behind every server: admission, counting, drain.
//! - `ledger`: the counting of calls behind a client.
//! - `transport`: the two traits at the transport seam.
//! - [`typed`]: payloads as values, in MessagePack or JSON.
//! - [`mem`]: the in-process transport.
//! - [`frame`]: the frames of "plane/1" and their decoder.

mod sync;

mod name;
pub use name::{EndpointId, InstanceId, InvalidName, MAX_ENDPOINT, MAX_TOKEN, check_token};

mod config;
pub use config::ConfigError;

mod address;
pub use address::{Address, Instance, InvalidAddress, Transport};

mod status;
pub use status::{Code, Status};

mod error;
pub use error::{Delivery, Error, ErrorKind};

mod headers;
pub use headers::{HeaderError, HeaderLimits, Headers, check_headers};

mod body;
pub use body::{Body, BodySender, MessageStream};

mod message;
pub use message::{Request, Response};

mod peer;
pub use peer::{CertificateIdentity, Identity, Peer, ProcessIdentity};

mod context;
pub use context::{AbortReason, CallInfo, Canceller, Context, Contexts, contain_panic};

mod handler;
pub use handler::{BoxFuture, Handler, HandlerFn, handler_fn};

mod refusal;
pub use refusal::{Refusal, RefusalCounts, Refusals};

mod report;
pub use report::{ClientStats, DrainReport, Health, ServerStats};

mod authorizer;
pub use authorizer::Authorizer;

mod endpoints;
pub use endpoints::{AdmissionLimits, Admitted, Endpoints, LastCalled, Outcome, Pace, Registration, Tallied, Tally};

mod ledger;
pub use ledger::{CallCount, Ledger};

mod transport;
pub use transport::{RequestPlaneClient, RequestPlaneServer};

pub mod typed;

pub mod mem;

pub mod frame;
