//! One connection as plain types: no sockets, no clock, no runtime. Time is passed in.
//!
//! # Layout
//! - `budget`: how often a peer may do something cheap.
//! - `stall`: how long a peer may leave something unfinished.
//! - `outbox`: bytes on their way to the socket.
//! - `beside`: how large messages make room for small ones.
//! - `spare`: memory of large messages for those that come next.
//! - `partial`: messages that come in chunks, and how much of them a connection holds.
//! - `backlog`: messages that wait for their reader.
//! - `receiving`, `sending`: the two directions of a call, with their credit.
//! - `call`: a call in flight, at the caller or at the server.
//! - `calls`: the table of them, and the memory of those that are over.
//! - `connection`: what stands around that of calls: how one is opened, and how all of them end.
//! - `outgoing`: what this side sends on them.
//! - `reading`: what this side reads of them, and how it gives up.
//! - `incoming`: what the other side's frames do with it.
//! - `serving`: how calls of the other side are taken on, refused and aborted.
//! - `timers`: what time does with it.

mod budget;

mod stall;
pub(crate) use stall::Stall;

mod outbox;
pub(crate) use outbox::Batch;

mod beside;

mod spare;

mod partial;

mod backlog;

mod receiving;

mod sending;
pub(crate) use sending::Ending;

mod calls;

mod call;
pub(crate) use call::{Begun, Next, Opened};

mod connection;
pub(crate) use connection::{Connection, OpenError, Opening, Settings, Side};

mod outgoing;
pub(crate) use outgoing::SendError;

mod reading;

mod incoming;

mod serving;

mod timers;

#[cfg(test)]
mod tests;
