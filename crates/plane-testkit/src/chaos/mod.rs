//! A TCP proxy on loopback that stands between two sides of a test and does harm to what passes.
//!
//! Each direction of each connection has its own [`Faults`], which may change while bytes flow. A test waits for what
//! the proxy saw ([`ChaosConnection::forwarded`]) and never for time, except where time is the fault.
//!
//! ```no_run
//! use plane_testkit::{ChaosProxy, Direction, Faults};
//! # async fn example(server: std::net::SocketAddr) -> std::io::Result<()> {
//! let proxy = ChaosProxy::start(server).await?;
//! // The client dials `proxy.address()`; its first connection freezes after 100 bytes of the answer.
//! let connection = proxy.connection(0).await;
//! connection.forwarded(Direction::ToClient, 100).await;
//! connection.set_both(Faults::half_open());
//! # Ok(()) }
//! ```
//!
//! # Layout
//! - `faults`: what can be done to bytes, without sockets or time.
//! - `connection`: two sockets and the bytes between them.
//! - `proxy`: the listener.

mod faults;
pub use faults::{Ending, Faults, Flow};

mod connection;
pub use connection::{ChaosConnection, Direction};

mod proxy;
pub use proxy::{ChaosProxy, MAX_CONNECTIONS};
