//! Durations and sizes as flags.

use std::time::Duration;

/// Reads `30` (seconds), `1.5s`, `500ms`, `200us` or `2m`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let split = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let seconds = match unit {
        "" | "s" => 1.0,
        "ms" => 1e-3,
        "us" => 1e-6,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err(accepted()),
    };
    let number: f64 = number.trim().parse().map_err(|_| accepted())?;
    Duration::try_from_secs_f64(number * seconds).map_err(|_| accepted())
}

/// The same, and not zero.
pub(crate) fn timeout(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("must be more than zero".to_owned()),
        timeout => Ok(timeout),
    }
}

fn accepted() -> String {
    "use seconds (30) or a number with its unit: 500us, 20ms, 1.5s, 2m, 1h".to_owned()
}

/// Reads bytes, `64KiB`, `8MiB` or `8MB`.
pub(crate) fn bytes(text: &str) -> Result<usize, String> {
    let accepted = || "use bytes (1048576) or a number with its unit: 64KiB, 8MiB, 8MB, 1GiB".to_owned();
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let factor: usize = match unit {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        _ => return Err(accepted()),
    };
    let number: usize = number.parse().map_err(|_| accepted())?;
    number.checked_mul(factor).filter(|bytes| *bytes > 0).ok_or_else(accepted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        for (text, micros) in [("2", 2_000_000), ("1.5s", 1_500_000), ("20ms", 20_000), ("7us", 7), ("2m", 120_000_000)]
        {
            assert_eq!(duration(text), Ok(Duration::from_micros(micros)), "{text}");
        }
        for text in ["", "s", "-1", "1d", "1 2s", "nan", "inf", "1e400s"] {
            assert!(duration(text).is_err(), "{text:?}");
        }
        assert!(timeout("0ms").is_err());
    }

    #[test]
    fn sizes_have_units() {
        for (text, size) in [("1", 1), ("64KiB", 65_536), ("8MB", 8_000_000)] {
            assert_eq!(bytes(text), Ok(size), "{text}");
        }
        for text in ["", "0", "MiB", "-1", "1.5MiB", "8mib", "99999999999GiB"] {
            assert!(bytes(text).is_err(), "{text:?}");
        }
    }
}
