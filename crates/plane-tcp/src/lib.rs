//! Calls over byte streams: TCP and Unix sockets.

mod config;
pub use config::{ClientConfig, ConfigError, ConnectionConfig, Listen, ServerConfig};

mod client;
pub use client::TcpClient;

mod server;
pub use server::{ServerDriver, TcpServer};
