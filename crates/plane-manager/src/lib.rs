//! The one place that reads the environment: picks the transport, finds, balances, retries, drains.
