//! Durations as Docker writes them (`1m30s`, `500ms`), after Go's `time.ParseDuration`.

use std::time::Duration;

const UNITS: [(&str, f64); 8] =
    [("ns", 1.0), ("us", 1e3), ("µs", 1e3), ("μs", 1e3), ("ms", 1e6), ("s", 1e9), ("m", 60e9), ("h", 3600e9)];

/// Reads a duration.
///
/// # Errors
/// What is wrong with it, in Go's words. A negative one is refused as well: nothing here takes it.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let invalid = || format!("invalid duration {text:?}");
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest.starts_with('-') {
        return Err(format!("negative duration {text:?}"));
    }
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.').len();
        let number: f64 = rest[..digits].parse().map_err(|_| invalid())?;
        rest = &rest[digits..];
        let length = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let unit = &rest[..length];
        rest = &rest[length..];
        let nanoseconds = match UNITS.iter().find(|(name, _)| *name == unit) {
            Some((_, nanoseconds)) => number * nanoseconds,
            None if unit.is_empty() => return Err(format!("missing unit in duration {text:?}")),
            None => return Err(format!("unknown unit {unit:?} in duration {text:?}")),
        };
        let part = Duration::try_from_secs_f64(nanoseconds / 1e9).map_err(|_| invalid())?;
        total = total.checked_add(part).ok_or_else(invalid)?;
    }
    // Docker keeps them as nanoseconds in 64 bits with a sign.
    if i64::try_from(total.as_nanos()).is_err() {
        return Err(invalid());
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let table = [
            ("0", 0),
            ("5s", 5_000_000_000),
            ("1m30s", 90_000_000_000),
            ("1.5h", 5_400_000_000_000),
            ("500ms", 500_000_000),
            ("+1us", 1_000),
            ("1µs", 1_000),
            (".5s", 500_000_000),
            ("1.s", 1_000_000_000),
            ("3s2ns", 3_000_000_002),
        ];
        for (text, nanoseconds) in table {
            assert_eq!(parse(text), Ok(Duration::from_nanos(nanoseconds)), "{text}");
        }
        for text in ["", "5", "s", ".", "1x", "-1s", "1e3s", "1 s", "99999999999h", "1..5s", "NaNs"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
