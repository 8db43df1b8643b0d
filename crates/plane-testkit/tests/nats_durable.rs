//! Durable delivery: requests that are stored on a real NATS server until they were answered.

#[path = "durable/world.rs"]
mod world;

#[path = "durable/calls.rs"]
mod calls;
