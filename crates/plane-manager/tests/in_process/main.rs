//! Serving and calling through the manager, over the in-process transport.

mod ending;
mod picking;
mod place;
mod retries;
mod serving;
