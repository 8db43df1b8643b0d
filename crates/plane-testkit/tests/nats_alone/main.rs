//! What holds on NATS alone: plain clients, the server's limits, and a server that breaks.

mod apart;
mod calls;
mod hostile;
mod limits;
mod outages;
mod slow;
mod subjects;
mod uploads;
mod world;
