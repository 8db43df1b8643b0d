//! Durations and sizes as flags, written as in variables.

use std::time::Duration;

use plane_manager::{parse_duration, parse_size};

/// Reads `30` (seconds), `1.5s`, `500ms`, `200us` or `2m`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let accepted = "use seconds (30) or a number with its unit: 500us, 20ms, 1.5s, 2m, 1h";
    parse_duration(text).ok_or_else(|| accepted.to_owned())
}

/// The same, and not zero.
pub(crate) fn timeout(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("must be more than zero".to_owned()),
        timeout => Ok(timeout),
    }
}

/// Reads bytes, `64KiB`, `8MiB` or `8MB`; not zero.
pub(crate) fn bytes(text: &str) -> Result<usize, String> {
    let accepted = "use bytes (1048576) or a number with its unit: 64KiB, 8MiB, 8MB, 1GiB";
    parse_size(text).filter(|bytes| *bytes > 0).ok_or_else(|| accepted.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_no_sense_is_refused() {
        assert_eq!(duration("1.5s"), Ok(Duration::from_millis(1500)));
        assert!(duration("soon").is_err() && timeout("0ms").is_err());
        assert_eq!(bytes("8MiB"), Ok(8 << 20));
        assert!(bytes("big").is_err() && bytes("0").is_err());
    }
}
