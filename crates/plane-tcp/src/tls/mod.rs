//! TLS on TCP connections, with the feature `tls`: who a server is, who a client is, and the records of a connection.
//!
//! # Layout
//! - `config`: what a server and a client are set to, as files.
//! - `files`: reads them, and tells when they have changed.
//! - `reload`: what was made of them, made anew when they change.
//! - `explain`: what went wrong, in words that name a way out.
//! - `session`: the records of one connection, on its socket.
//! - `identity`: whom a certificate is for.
//! - `acceptor`: the listener's side of a handshake.
//! - `unverified`: trust in any server, which has to be asked for.
//! - `connector`: the dialler's side of a handshake.

mod config;
pub use config::{TlsClientConfig, TlsIdentity, TlsServerConfig};

mod files;

mod reload;

mod explain;
pub(crate) use explain::explain;

mod session;
pub(crate) use session::Session;

mod identity;

mod acceptor;
pub(crate) use acceptor::Acceptor;

mod unverified;

mod connector;
pub(crate) use connector::{Connector, without_roots};

/// What both sides agree on in the handshake, so that TLS that is meant for something else ends there.
const ALPN: &[u8] = b"plane/1";
