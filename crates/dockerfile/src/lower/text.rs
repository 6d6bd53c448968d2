//! Go's ways of writing values, as they stand in the history of images: `%q`, `%v`, durations,
//! times.

use std::fmt::Write;

/// A list of strings by `%q`: `["a" "b"]`.
pub(crate) fn quoted_list<S: AsRef<str>>(items: &[S]) -> String {
    let items: Vec<String> = items.iter().map(|item| quoted(item.as_ref())).collect();
    format!("[{}]", items.join(" "))
}

/// A list of strings by `%v`: `[a b]`.
pub(crate) fn plain_list<S: AsRef<str>>(items: &[S]) -> String {
    let items: Vec<&str> = items.iter().map(AsRef::as_ref).collect();
    format!("[{}]", items.join(" "))
}

/// A string by `%q` (Go's `strconv.Quote`).
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\x07' => out.push_str("\\a"),
            '\x08' => out.push_str("\\b"),
            '\x0c' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\x0b' => out.push_str("\\v"),
            c if printable(c) => out.push(c),
            c => {
                let code = u32::from(c);
                let _ = match code {
                    0..=0x1f | 0x7f => write!(out, "\\x{code:02x}"),
                    0x80..=0xffff => write!(out, "\\u{code:04x}"),
                    _ => write!(out, "\\U{code:08x}"),
                };
            }
        }
    }
    out.push('"');
    out
}

/// Go's `unicode.IsPrint`. The standard library has the same table behind `escape_debug`, which
/// shows it as it is for characters that do not come first.
fn printable(c: char) -> bool {
    match c {
        ' '..='~' => true,
        c if c.is_ascii() => false,
        c => !format!("a{c}").escape_debug().any(|c| c == '\\'),
    }
}

/// A duration as Go prints it: `1h0m0s`, `1.5s`, `300ms`, `0s`.
pub(crate) fn duration(nanoseconds: i64) -> String {
    let total = nanoseconds.unsigned_abs();
    let sign = if nanoseconds < 0 { "-" } else { "" };
    let fraction = |value: u64, unit: u64| {
        let digits = unit.ilog10() as usize;
        match value % unit {
            0 => (value / unit).to_string(),
            rest => {
                let rest = format!("{rest:0digits$}");
                format!("{}.{}", value / unit, rest.trim_end_matches('0'))
            }
        }
    };
    let (micro, milli, second) = (1_000, 1_000_000, 1_000_000_000);
    let text = match total {
        0 => "0s".to_owned(),
        1..1_000 => format!("{total}ns"),
        1_000..1_000_000 => format!("{}µs", fraction(total, micro)),
        1_000_000..1_000_000_000 => format!("{}ms", fraction(total, milli)),
        _ => {
            let minutes = total / (60 * second);
            let seconds = fraction(total % (60 * second), second);
            match (minutes / 60, minutes % 60) {
                (0, 0) => format!("{seconds}s"),
                (0, minutes) => format!("{minutes}m{seconds}s"),
                (hours, minutes) => format!("{hours}h{minutes}m{seconds}s"),
            }
        }
    };
    format!("{sign}{text}")
}

/// The instant `seconds` after 1970 in RFC 3339, in UTC; `None` outside of the years 0 to 9999.
pub(crate) fn rfc3339(seconds: i64) -> Option<String> {
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Howard Hinnant's `civil_from_days`: years that begin in March, eras of 400 years.
    let shifted = days.checked_add(719_468)?;
    let (era, day) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let march = (5 * of_year + 2) / 153;
    let (day, month) = (of_year - (153 * march + 2) / 5 + 1, if march < 10 { march + 3 } else { march - 9 });
    let year = era.checked_mul(400)?.checked_add(year + i64::from(month <= 2))?;
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    (0..=9999)
        .contains(&year)
        .then(|| format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z"))
}

/// The first line of a here-document, with a mark where there are more.
pub(crate) fn summary(document: &str) -> String {
    let mut lines = document.trim().split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
    let first = lines.next().unwrap_or_default();
    if lines.next().is_some() { format!("{first}...") } else { first.to_owned() }
}

/// `text` with its first word in upper case.
pub(crate) fn uppercase_first_word(text: &str) -> String {
    match text.split_once(' ') {
        Some((first, rest)) => format!("{} {rest}", first.to_uppercase()),
        None => text.to_uppercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_as_go() {
        assert_eq!(
            quoted_list(&["a b", "\"\\", "\n\t\x01\x7f", "é€😀", "\u{a0}\u{200b}\u{10ffff}", "e\u{301}"]),
            "[\"a b\" \"\\\"\\\\\" \"\\n\\t\\x01\\x7f\" \"é€😀\" \"\\u00a0\\u200b\\U0010ffff\" \"e\u{301}\"]"
        );
        assert_eq!(quoted_list::<&str>(&[]), "[]");
        assert_eq!(plain_list(&["a", "b c"]), "[a b c]");
    }

    #[test]
    fn durations_as_go() {
        for (nanoseconds, text) in [
            (0, "0s"),
            (1, "1ns"),
            (1_500, "1.5µs"),
            (300_000_000, "300ms"),
            (1_500_000_000, "1.5s"),
            (30_000_000_000, "30s"),
            (300_000_000_000, "5m0s"),
            (3_600_000_000_000, "1h0m0s"),
            (5_430_010_000_000, "1h30m30.01s"),
            (-1_000_000_000, "-1s"),
        ] {
            assert_eq!(duration(nanoseconds), text);
        }
    }

    #[test]
    fn times() {
        for (seconds, text) in [
            (0, Some("1970-01-01T00:00:00Z")),
            (1_700_000_000, Some("2023-11-14T22:13:20Z")),
            (951_782_400, Some("2000-02-29T00:00:00Z")),
            (-1, Some("1969-12-31T23:59:59Z")),
            (i64::MAX, None),
            (i64::MIN, None),
        ] {
            assert_eq!(rfc3339(seconds).as_deref(), text);
        }
    }

    #[test]
    fn summaries() {
        assert_eq!(summary("\n  a b \r\nc\n"), "a b ...");
        assert_eq!(summary("a\n"), "a");
        assert_eq!(uppercase_first_word("run true x"), "RUN true x");
        assert_eq!(uppercase_first_word("run"), "RUN");
    }
}
