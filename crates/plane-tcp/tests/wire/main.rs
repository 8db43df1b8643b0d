//! What clients and servers do on the wire, against a peer that says exactly what a test tells it to.
//!
//! # Layout
//! - `world`: a server, a client, and handlers to call.
//! - `alone`: tests that need a process of their own.
//! - `strangers`, `hellos`: the first bytes of a connection.
//! - `violations`: what no correct peer sends, after the hellos.
//! - `budgets`: what a peer may not do too often, and what honest peers do a lot of.
//! - `floods`: floods of what is cheap to send, and the honest traffic that looks like one.
//! - `memory`: what a peer can make a server hold.
//! - `damage`: bytes that are cut off or turned over.
//! - `credit`: flow control.
//! - `large`: messages larger than their windows.
//! - `ends`: how calls end at a server.
//! - `delivery`: what callers are told about calls that did not end well.
//! - `pool`: connections of a client.
//! - `keepalive`: who is taken for dead, and who is not.
//! - `cancels`: calls that are given up, at each of their stages.
//! - `system`: what the operating system adds.

mod alone;
mod budgets;
mod cancels;
mod credit;
mod damage;
mod delivery;
mod ends;
mod floods;
mod hellos;
mod keepalive;
mod large;
mod memory;
mod pool;
mod stampede;
mod strangers;
mod system;
mod violations;
mod world;
