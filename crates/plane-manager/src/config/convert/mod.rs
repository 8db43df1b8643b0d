//! The settings as the transports take them.

#[cfg(feature = "nats")]
mod nats;
#[cfg(feature = "tcp")]
mod tcp;
#[cfg(feature = "tcp")]
mod tls;

use plane_core::{ConfigError, Delivery, Error, ErrorKind};

fn refuse(error: ConfigError) -> Error {
    Error::new(ErrorKind::InvalidArgument, Delivery::NotSent, error.to_string()).with_source(error)
}
