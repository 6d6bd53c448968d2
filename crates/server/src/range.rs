//! Ranges: what part of a blob a request asks for (RFC 9110, section 14), and which bytes of an upload it brings
//! (distribution specification, "Pushing a blob in chunks").

use std::ops::Range;

/// What a `Range` header comes to for a blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Part {
    /// All of it: there is no range, or one that need not be understood.
    Whole,
    /// These bytes.
    Bytes(Range<u64>),
    /// Nothing of what is there.
    Nothing,
}

/// Reads a `Range` header for a blob of `size` bytes. Several ranges at once get the whole, which the standard allows.
pub(crate) fn part(header: Option<&str>, size: u64) -> Part {
    let Some(range) = header.and_then(|h| h.trim().strip_prefix("bytes=")) else { return Part::Whole };
    if range.contains(',') {
        return Part::Whole;
    }
    let Some((first, last)) = range.trim().split_once('-') else { return Part::Whole };
    let (start, end) = match (number(first), number(last)) {
        (Some(first), Some(last)) if last < first => return Part::Nothing,
        (Some(first), Some(last)) => (first, size.min(last.saturating_add(1))),
        (Some(first), None) if last.is_empty() => (first, size),
        (None, Some(count)) if first.is_empty() => (size.saturating_sub(count), size),
        _ => return Part::Whole,
    };
    if start < end { Part::Bytes(start..end) } else { Part::Nothing }
}

/// Reads the `Content-Range` of a chunk: `0-1023`, and as some clients write it, `bytes 0-1023/4096`.
pub(crate) fn chunk(header: &str) -> Option<Range<u64>> {
    let range = header.trim();
    let range = range.strip_prefix("bytes ").unwrap_or(range);
    let range = range.split_once('/').map_or(range, |(range, _)| range);
    let (first, last) = range.split_once('-')?;
    let (first, last) = (number(first)?, number(last)?);
    (first <= last).then(|| first..last.saturating_add(1))
}

fn number(text: &str) -> Option<u64> {
    if text.bytes().all(|b| b.is_ascii_digit()) { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_ten_bytes() {
        for (header, expected) in [
            ("bytes=0-0", Part::Bytes(0..1)),
            ("bytes=2-5", Part::Bytes(2..6)),
            ("bytes=2-", Part::Bytes(2..10)),
            ("bytes=-3", Part::Bytes(7..10)),
            ("bytes=-30", Part::Bytes(0..10)),
            ("bytes=8-30", Part::Bytes(8..10)),
            ("bytes=0-18446744073709551615", Part::Bytes(0..10)),
            ("bytes=5-0", Part::Nothing),
            ("bytes=10-", Part::Nothing),
            ("bytes=10-20", Part::Nothing),
            ("bytes=-0", Part::Nothing),
            ("bytes=0-1,3-4", Part::Whole),
            ("bytes=", Part::Whole),
            ("bytes=-", Part::Whole),
            ("bytes=a-b", Part::Whole),
            ("bytes=+1-2", Part::Whole),
            ("lines=0-1", Part::Whole),
        ] {
            assert_eq!(part(Some(header), 10), expected, "{header}");
        }
        assert_eq!(part(Some("bytes=0-"), 0), Part::Nothing);
        assert_eq!(part(None, 10), Part::Whole);
    }

    #[test]
    fn chunks() {
        assert_eq!(chunk("0-1023"), Some(0..1024));
        assert_eq!(chunk("bytes 5-5/10"), Some(5..6));
        for bad in ["", "-", "0", "0-", "-5", "5-4", "a-b", "0-1-2"] {
            assert_eq!(chunk(bad), None, "{bad}");
        }
    }
}
