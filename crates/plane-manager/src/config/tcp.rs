//! Settings of calls over TCP.

use std::time::Duration;

use super::check::{Check, TIMEOUT, TIMEOUTS};
use super::host::RpcHost;
use super::names;
use super::problem::Findings;
use super::raw::Raw;
use super::tls::TcpTls;
use super::values::{parse_duration, parse_size};

const MIB: usize = 1024 * 1024;

const MAX_SIZE: &str = "1 byte to 1GiB, as bytes (33554432) or with a unit (32MiB, 32MB)";

/// Settings of calls over TCP and Unix sockets. What each does is in docs/configuration.md.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TcpSettings {
    /// Where a server listens (`DYN_TCP_RPC_HOST`); detected by default.
    pub host: RpcHost,
    /// The port that a server listens on (`DYN_TCP_RPC_PORT`); 0, the default, lets the system choose.
    pub port: u16,
    /// The largest message that is sent or received, in bytes (`DYN_TCP_MAX_MESSAGE_SIZE`); 32 MiB by default, 1 byte
    /// to 1 GiB.
    pub max_message_size: usize,
    /// An emptied receive buffer above this many bytes shrinks (`DYN_TCP_SHRINK_MESSAGE_SIZE`); 8 MiB by default, at
    /// most `max_message_size`.
    pub shrink_message_size: usize,
    /// How long a server may take to accept a call, and how long the first call to an endpoint waits for an instance
    /// (`DYN_TCP_REQUEST_TIMEOUT`); 10 s by default, 1 ms to an hour.
    pub request_timeout: Duration,
    /// Connections per address, at most (`DYN_TCP_POOL_SIZE`); 50 by default, 1 to 10,000.
    pub pool_size: usize,
    /// How long a connection may take to be ready (`DYN_TCP_CONNECT_TIMEOUT`); 3 s by default, 1 ms to an hour.
    pub connect_timeout: Duration,
    /// Requests queued per connection before it counts as full (`DYN_TCP_CHANNEL_BUFFER`); 100 by default, 1 to
    /// 1,000,000.
    pub channel_buffer: usize,
    /// TLS (`DYN_TCP_TLS_*`); none by default.
    pub tls: TcpTls,
}

impl Default for TcpSettings {
    fn default() -> Self {
        Self {
            host: RpcHost::Auto,
            port: 0,
            max_message_size: 32 * MIB,
            shrink_message_size: 8 * MIB,
            request_timeout: Duration::from_secs(10),
            pool_size: 50,
            connect_timeout: Duration::from_secs(3),
            channel_buffer: 100,
            tls: TcpTls::default(),
        }
    }
}

impl TcpSettings {
    pub(super) fn check(raw: &Raw, findings: &mut Findings) -> Self {
        let default = Self::default();
        let tls = TcpTls::check(raw, findings);
        let mut check = Check::new(findings);
        let max_message_size = check
            .ranged(names::TCP_MAX_MESSAGE_SIZE, &raw.tcp_max_message_size, parse_size, 1..=1024 * MIB, MAX_SIZE)
            .unwrap_or(default.max_message_size);
        let shrink_accepted = format!("0 bytes to DYN_TCP_MAX_MESSAGE_SIZE ({max_message_size} bytes)");
        let count = |text: &str| text.parse::<usize>().ok();
        Self {
            host: check
                .read(names::TCP_RPC_HOST, &raw.tcp_rpc_host, RpcHost::parse, RpcHost::ACCEPTED)
                .unwrap_or(default.host),
            port: check
                .read(
                    names::TCP_RPC_PORT,
                    &raw.tcp_rpc_port,
                    |text| text.parse().ok(),
                    "a port of 1 to 65535, or 0 for one that the system chooses",
                )
                .unwrap_or(default.port),
            max_message_size,
            shrink_message_size: check
                .ranged(
                    names::TCP_SHRINK_MESSAGE_SIZE,
                    &raw.tcp_shrink_message_size,
                    parse_size,
                    0..=max_message_size,
                    &shrink_accepted,
                )
                .unwrap_or(default.shrink_message_size.min(max_message_size)),
            request_timeout: check
                .ranged(names::TCP_REQUEST_TIMEOUT, &raw.tcp_request_timeout, parse_duration, TIMEOUTS, TIMEOUT)
                .unwrap_or(default.request_timeout),
            pool_size: check
                .ranged(names::TCP_POOL_SIZE, &raw.tcp_pool_size, count, 1..=10_000, "1 to 10000 connections")
                .unwrap_or(default.pool_size),
            connect_timeout: check
                .ranged(names::TCP_CONNECT_TIMEOUT, &raw.tcp_connect_timeout, parse_duration, TIMEOUTS, TIMEOUT)
                .unwrap_or(default.connect_timeout),
            channel_buffer: check
                .ranged(
                    names::TCP_CHANNEL_BUFFER,
                    &raw.tcp_channel_buffer,
                    count,
                    1..=1_000_000,
                    "1 to 1000000 requests",
                )
                .unwrap_or(default.channel_buffer),
            tls,
        }
    }
}
