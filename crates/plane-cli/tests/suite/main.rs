//! The parts of the `plane` binary together, over real HTTP sockets and the in-process transport.

mod command;
mod deployment;
mod engines;
mod errors;
mod http;
mod logging;
mod operations;
mod scripted;
mod streaming;
mod upstream;
