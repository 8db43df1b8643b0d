//! Discovery in a bucket of a real NATS server.

mod calling;
mod coming_and_going;
mod outages;
mod place;
mod refusals;
mod strangers;
