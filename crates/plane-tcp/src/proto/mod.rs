//! One connection as plain types: no sockets, no clock, no runtime. Time is passed in.
//!
//! # Layout
//! - `budget`: how often a peer may do something cheap.
//! - `outbox`: bytes on their way to the socket.
//! - `receiving`, `sending`: the two directions of a call, with their credit.
//! - `call`: a call in flight, at the caller or at the server.
//! - `connection`: the table of calls and what this side does with it.
//! - `incoming`: what the other side's frames do with it.
//! - `timers`: what time does with it.

mod budget;

mod outbox;
pub(crate) use outbox::Batch;

mod receiving;

mod sending;
pub(crate) use sending::Ending;

mod call;
pub(crate) use call::{Begun, Next};

mod connection;
pub(crate) use connection::{Connection, Failure, OpenError, Opening, SendError, Settings, Side};

mod incoming;
pub(crate) use incoming::Opened;

mod timers;
