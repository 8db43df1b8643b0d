//! Durable delivery: requests that are stored on a real NATS server until they were answered.

#[path = "durable/world.rs"]
mod world;

#[path = "durable/calls.rs"]
mod calls;

#[path = "durable/process.rs"]
mod process;

#[path = "durable/faults.rs"]
mod faults;

#[path = "durable/letters.rs"]
mod letters;

#[path = "durable/room.rs"]
mod room;

#[path = "durable/redelivery.rs"]
mod redelivery;

#[path = "durable/quorum.rs"]
mod quorum;
