//! `--filter name=value`: what verbs that list or prune share of it, with Docker's rules and words.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::error::{Error, Result};

/// Filters as given, by name; several values of one name are alternatives or must all hold, as the verb says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filters {
    by_name: BTreeMap<String, Vec<String>>,
}

impl Filters {
    /// Adds one.
    pub fn add(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.by_name.entry(name.into()).or_default().push(value.into());
    }

    /// Whether none was given.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// All of them by name, sorted.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[String])> {
        self.by_name.iter().map(|(name, values)| (name.as_str(), values.as_slice()))
    }

    /// The values of one name; empty where none was given.
    pub fn get(&self, name: &str) -> &[String] {
        self.by_name.get(name).map_or(&[], Vec::as_slice)
    }

    /// Refuses names that the verb does not know.
    pub fn only(&self, known: &[&str]) -> Result<()> {
        match self.by_name.keys().find(|name| !known.contains(&name.as_str())) {
            Some(name) => Err(Error::invalid(format!("invalid filter '{name}'"))
                .hint(format!("filters here: {}", known.join(", ")))),
            None => Ok(()),
        }
    }

    /// A filter that is `true` or `false` (or `1` or `0`), if given.
    pub fn boolean(&self, name: &str) -> Result<Option<bool>> {
        let values = self.get(name);
        let mut answer = None;
        for value in values {
            let this = match value.as_str() {
                "true" | "1" => true,
                "false" | "0" => false,
                _ => return Err(Error::invalid(format!("invalid filter '{name}=[{}]'", values.join(" ")))),
            };
            if answer.is_some_and(|other| other != this) {
                return Err(Error::invalid(format!("invalid filter '{name}=[{}]'", values.join(" "))));
            }
            answer = Some(this);
        }
        Ok(answer)
    }

    /// Whether the labels have every `label=KEY` and `label=KEY=VALUE`, and none of the `label!=…`.
    pub fn labels(&self, labels: Option<&BTreeMap<String, String>>) -> bool {
        let has = |wanted: &String| {
            let (key, value) = match wanted.split_once('=') {
                Some((key, value)) => (key, Some(value)),
                None => (wanted.as_str(), None),
            };
            let found = labels.and_then(|labels| labels.get(key));
            found.is_some_and(|found| value.is_none_or(|value| value == found))
        };
        self.get("label").iter().all(has) && !self.get("label!").iter().any(has)
    }

    /// The moment of `until=…`, in nanoseconds since the Unix epoch, if given: a Go duration before now
    /// (`24h`, `1h30m`), a date or time (RFC 3339, zone and parts from the right may be missing), or Unix seconds.
    pub fn until(&self) -> Result<Option<i64>> {
        match self.get("until") {
            [] => Ok(None),
            [value] => moment(value, Timestamp::now()).map(Some),
            _ => Err(Error::invalid("more than one until filter specified")),
        }
    }
}

/// As Docker's GetTimestamp.
fn moment(text: &str, now: Timestamp) -> Result<i64> {
    let invalid = || {
        Error::invalid(format!("invalid until filter {text:?}")).hint(
            "write a duration before now (24h, 10m), a time (2026-01-31, 2026-01-31T12:00:00Z) or Unix seconds",
        )
    };
    if let Some(duration) = go_duration(text) {
        return now.checked_sub(duration).ok().and_then(nanoseconds).ok_or_else(invalid);
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return nanoseconds(time).ok_or_else(invalid);
    }
    if text.contains('-') {
        // Docker's shorter forms: to the hour, to the minute, a day alone.
        let full = match text.len() {
            10 => format!("{text}T00:00:00"),
            13 => format!("{text}:00:00"),
            16 => format!("{text}:00"),
            _ => text.to_owned(),
        };
        let time: jiff::civil::DateTime = full.parse().map_err(|_| invalid())?;
        let time = TimeZone::system().to_timestamp(time).map_err(|_| invalid())?;
        return nanoseconds(time).ok_or_else(invalid);
    }
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = seconds.parse().map_err(|_| invalid())?;
    let fraction: i64 =
        format!("{fraction:0<9}").get(..9).and_then(|f| f.parse().ok()).ok_or_else(invalid)?;
    seconds.checked_mul(1_000_000_000).and_then(|n| n.checked_add(fraction)).ok_or_else(invalid)
}

fn nanoseconds(time: Timestamp) -> Option<i64> {
    i64::try_from(time.as_nanosecond()).ok()
}

/// Go's time.ParseDuration, without a sign.
fn go_duration(text: &str) -> Option<SignedDuration> {
    let mut rest = text;
    let mut total = 0f64;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        total += number
            * match &rest[..end] {
                "ns" => 1e-9,
                "us" | "µs" => 1e-6,
                "ms" => 1e-3,
                "s" => 1.0,
                "m" => 60.0,
                "h" => 3600.0,
                _ => return None,
            };
        rest = &rest[end..];
    }
    SignedDuration::try_from_secs_f64(total).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_match_by_key_or_pair() {
        let labels = BTreeMap::from([("a".to_owned(), "1".to_owned())]);
        for (name, value, expected) in [
            ("label", "a", true),
            ("label", "a=1", true),
            ("label", "a=2", false),
            ("label", "b", false),
            ("label!", "a", false),
            ("label!", "b", true),
        ] {
            let mut filters = Filters::default();
            filters.add(name, value);
            assert_eq!(filters.labels(Some(&labels)), expected, "{name}={value}");
        }
    }

    #[test]
    fn moments() {
        let now = Timestamp::from_second(1_000_000).expect("a time");
        let seconds = |text: &str| moment(text, now).map(|n| n / 1_000_000_000).ok();
        assert_eq!(seconds("10m"), Some(999_400));
        assert_eq!(seconds("1h30m"), Some(994_600));
        assert_eq!(seconds("1.5h"), Some(994_600));
        assert_eq!(seconds("12345"), Some(12345));
        assert_eq!(seconds("12345.5"), Some(12345));
        assert_eq!(seconds("1970-01-02T00:00:00Z"), Some(86400));
        assert_eq!(seconds("1970-01-02T00:00:00+01:00"), Some(82800));
        assert!(seconds("1970-01-02").is_some());
        assert!(seconds("1970-01-02T10:00").is_some());
        for bad in ["", "x", "10x", "-", "1970-13-01", "99999999999999999999"] {
            assert_eq!(seconds(bad), None, "{bad}");
        }
    }

    #[test]
    fn booleans_and_names() {
        let mut filters = Filters::default();
        filters.add("dangling", "maybe");
        assert_eq!(
            filters.boolean("dangling").expect_err("not a boolean").message,
            "invalid filter 'dangling=[maybe]'"
        );
        assert_eq!(filters.only(&["label"]).expect_err("unknown").message, "invalid filter 'dangling'");
    }
}
