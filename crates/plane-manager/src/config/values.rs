//! Durations and sizes as people write them.

use std::time::Duration;

/// Reads a duration as every variable is read: `10`, `0.5` (seconds), `200us`, `500ms`, `3s`, `2m`, `1h`, `7d`; in any case, with
/// or without a space before the unit. `None` if it is none, or longer than a year.
#[must_use]
pub fn parse_duration(text: &str) -> Option<Duration> {
    let (number, unit) = split_unit(text)?;
    let seconds_each = match unit.as_str() {
        "" | "s" => 1.0,
        "us" => 1e-6,
        "ms" => 1e-3,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        _ => return None,
    };
    let seconds: f64 = number.parse().ok()?;
    // Rounded to what people write, so that 0.1 s is 100 ms and not a nanosecond less.
    let micros = (seconds * seconds_each * 1e6).round();
    Duration::try_from_secs_f64(micros / 1e6).ok().filter(|duration| *duration <= LONGEST)
}

/// No setting takes more; arithmetic with it cannot overflow.
const LONGEST: Duration = Duration::from_secs(366 * 86_400);

/// Reads a size as every variable is read: `1048576`, `32MiB`, `32MB`, `64k`: bytes, or a number and a unit in any case. `MB` is a million bytes, `MiB` and `M`
/// are 1,048,576. `None` if it is none.
#[must_use]
pub fn parse_size(text: &str) -> Option<usize> {
    let (number, unit) = split_unit(text)?;
    let bytes_each: u64 = match unit.as_str() {
        "" | "b" => 1,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        "t" | "tib" => 1 << 40,
        _ => return None,
    };
    let number: u64 = number.parse().ok()?;
    usize::try_from(number.checked_mul(bytes_each)?).ok()
}

/// `true` or `false` as every variable is read: also `1`, `0`, `on`, `off`, `yes`, `no`, in any case.
pub(super) fn parse_switch(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "on" | "yes" => Some(true),
        "false" | "0" | "off" | "no" => Some(false),
        _ => None,
    }
}

/// A number of digits and at most one point, and the unit in lower case. A sign or an exponent is refused here.
fn split_unit(text: &str) -> Option<(&str, String)> {
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    number.starts_with(|c: char| c.is_ascii_digit()).then(|| (number, unit.trim_start().to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let millis = |text| parse_duration(text).map(|duration| duration.as_millis());
        for (text, expected) in [
            ("10", 10_000),
            ("0.5", 500),
            ("0.1", 100),
            ("500ms", 500),
            ("500MS", 500),
            ("3s", 3_000),
            ("3 s", 3_000),
            ("1.5s", 1_500),
            ("2m", 120_000),
            ("1h", 3_600_000),
            ("7d", 604_800_000),
            ("0", 0),
            ("1500us", 1),
        ] {
            assert_eq!(millis(text), Some(expected), "{text}");
        }
        for text in [
            "",
            "-1",
            "+1",
            "ten",
            "1e3",
            "inf",
            "NaN",
            "1.2.3",
            ".5",
            "5 minutes",
            "1w",
            "s",
            "9".repeat(400).as_str(),
        ] {
            assert_eq!(parse_duration(text), None, "{text:?}");
        }
    }

    #[test]
    fn sizes() {
        for (text, expected) in [
            ("0", 0),
            ("1", 1),
            ("33554432", 32 << 20),
            ("32MiB", 32 << 20),
            ("32mib", 32 << 20),
            ("32MB", 32_000_000),
            ("32 MB", 32_000_000),
            ("64k", 65_536),
            ("1GiB", 1 << 30),
            ("32TiB", 32 << 40),
            ("1kb", 1_000),
            ("7B", 7),
        ] {
            assert_eq!(parse_size(text), Some(expected), "{text}");
        }
        for text in
            ["", "-1", "many", "1.5MiB", "32PiB", "32 M iB", "MiB", "99999999999999999999", "18446744073709551615k"]
        {
            assert_eq!(parse_size(text), None, "{text:?}");
        }
    }
}
