//! Sizes, times and IDs as Docker shows them to people (github.com/docker/go-units).

use jiff::tz::TimeZone;
use jiff::{Timestamp, ZonedDateTime};

/// Bytes in powers of 1000, four digits: `1.982MB`.
pub(crate) fn size(bytes: u64) -> String {
    human(bytes, 4)
}

/// Bytes in powers of 1000, three digits: `1.98MB`. What lists of images and histories show.
pub(crate) fn size3(bytes: u64) -> String {
    human(bytes, 3)
}

fn human(bytes: u64, digits: usize) -> String {
    const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    let mut unit = 0;
    // Exact enough: what is shown has four digits.
    let mut value = bytes as f64;
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    // Go's %.Ng, whose only exponent here would be that of 999.9 rounded up; "1e+03MB" helps nobody.
    let whole = match value {
        v if v >= 100.0 => 3,
        v if v >= 10.0 => 2,
        _ => 1,
    };
    let text = format!("{value:.*}", digits.saturating_sub(whole));
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{}", UNITS[unit])
}

/// A number of bytes as Docker reads sizes of memory and caches: `512m`, `1.5GB`, `10GiB`, in powers of 1024.
pub(crate) fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim().to_lowercase();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: f64 = number.parse().ok()?;
    let power = match unit.trim() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 1,
        "m" | "mb" | "mib" => 2,
        "g" | "gb" | "gib" => 3,
        "t" | "tb" | "tib" => 4,
        "p" | "pb" | "pib" => 5,
        _ => return None,
    };
    let bytes = number * 1024f64.powi(power);
    // Above 2^63 nothing is meant seriously; below it the cast is exact enough.
    (0.0..9.2e18).contains(&bytes).then_some(bytes as u64)
}

/// How long ago, in words: `2 minutes ago`.
pub(crate) fn ago(seconds: i64) -> String {
    format!("{} ago", duration(Timestamp::now().as_second().saturating_sub(seconds)))
}

/// A duration in words, as coarse as Docker's: `About an hour`, `3 weeks`.
pub(crate) fn duration(seconds: i64) -> String {
    let minutes = seconds / 60;
    // Rounded, as in Docker; minutes and years are cut.
    let hours = (seconds + 1800) / 3600;
    match () {
        () if seconds < 1 => "Less than a second".to_owned(),
        () if seconds == 1 => "1 second".to_owned(),
        () if seconds < 60 => format!("{seconds} seconds"),
        () if minutes == 1 => "About a minute".to_owned(),
        () if minutes < 60 => format!("{minutes} minutes"),
        () if hours == 1 => "About an hour".to_owned(),
        () if hours < 48 => format!("{hours} hours"),
        () if hours < 24 * 7 * 2 => format!("{} days", hours / 24),
        () if hours < 24 * 30 * 2 => format!("{} weeks", hours / 24 / 7),
        () if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        () => format!("{} years", seconds / 3600 / 24 / 365),
    }
}

/// A moment as Go prints times, in the local zone: `2026-11-24 05:47:50 +0000 UTC`.
pub(crate) fn timestamp(seconds: i64) -> String {
    local(seconds).map_or_else(String::new, |time| time.strftime("%Y-%m-%d %H:%M:%S %z %Z").to_string())
}

/// A moment in RFC 3339, in the local zone: `2026-11-24T05:47:50Z`.
pub(crate) fn rfc3339(seconds: i64) -> String {
    let Some(time) = local(seconds) else { return String::new() };
    match time.offset().seconds() {
        0 => time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        _ => time.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string(),
    }
}

fn local(seconds: i64) -> Option<ZonedDateTime> {
    Some(Timestamp::from_second(seconds).ok()?.to_zoned_datetime(TimeZone::system()))
}

/// The first 12 digits of an ID, without `sha256:`.
pub(crate) fn short_id(id: &str) -> &str {
    let hex = id.split_once(':').map_or(id, |(_, hex)| hex);
    hex.get(..12).unwrap_or(hex)
}

/// At most `width` characters, the last an ellipsis where something was cut.
pub(crate) fn ellipsis(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut cut: String = text.chars().take(width.saturating_sub(1)).collect();
    cut.push('…');
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (bytes, four, three) in [
            (0, "0B", "0B"),
            (5, "5B", "5B"),
            (999, "999B", "999B"),
            (1000, "1kB", "1kB"),
            (1_982_259, "1.982MB", "1.98MB"),
            (1_000_000, "1MB", "1MB"),
            (123_456_789, "123.5MB", "123MB"),
            (999_999, "1000kB", "1000kB"),
            (12_345_678_901, "12.35GB", "12.3GB"),
            (100, "100B", "100B"),
            (u64::MAX, "18.45EB", "18.4EB"),
        ] {
            assert_eq!((size(bytes).as_str(), size3(bytes).as_str()), (four, three), "{bytes}");
        }
    }

    #[test]
    fn durations() {
        for (seconds, text) in [
            (-5, "Less than a second"),
            (0, "Less than a second"),
            (1, "1 second"),
            (47, "47 seconds"),
            (60, "About a minute"),
            (119, "About a minute"),
            (180, "3 minutes"),
            (3599, "59 minutes"),
            (3600, "About an hour"),
            (5399, "About an hour"),
            (5400, "2 hours"),
            (47 * 3600, "47 hours"),
            (48 * 3600, "2 days"),
            (13 * 86400, "13 days"),
            (14 * 86400, "2 weeks"),
            (60 * 86400, "2 months"),
            (729 * 86400, "24 months"),
            (730 * 86400, "2 years"),
        ] {
            assert_eq!(duration(seconds), text, "{seconds}");
        }
    }

    #[test]
    fn parses_sizes() {
        for (text, bytes) in [
            ("0", Some(0)),
            ("512", Some(512)),
            ("1k", Some(1024)),
            ("1.5 GB", Some(1_610_612_736)),
            ("10GiB", Some(10_737_418_240)),
            ("", None),
            ("x", None),
            ("1x", None),
            ("-1", None),
            ("1.2.3", None),
            ("99999999p", None),
        ] {
            assert_eq!(parse_size(text), bytes, "{text}");
        }
    }

    #[test]
    fn cuts() {
        assert_eq!(short_id("sha256:0123456789abcdef"), "0123456789ab");
        assert_eq!(short_id("abc"), "abc");
        assert_eq!(ellipsis("abcdef", 6), "abcdef");
        assert_eq!(ellipsis("abcdefg", 6), "abcde…");
    }
}
