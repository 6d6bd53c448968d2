//! PAX extended headers: `LENGTH KEY=VALUE\n` records that overrule fields of the entry after them.

use std::collections::BTreeMap;

use super::header::Bad;
use crate::Mtime;

/// What the records of one extended header say. An empty value leaves the header's own, as in Go's archive/tar.
#[derive(Default, Debug)]
pub(super) struct Pax {
    pub path: Option<Vec<u8>>,
    pub link: Option<Vec<u8>>,
    pub size: Option<u64>,
    pub uid: Option<i64>,
    pub gid: Option<i64>,
    pub mtime: Option<Mtime>,
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    pub sparse: GnuSparse,
}

/// GNU tar's records of a sparse file, in all three forms.
#[derive(Default, Debug)]
pub(super) struct GnuSparse {
    pub major: Option<u64>,
    pub minor: Option<u64>,
    pub name: Option<Vec<u8>>,
    pub real_size: Option<u64>,
    pub blocks: Option<u64>,
    /// Offsets and lengths in turns, from 0.0's repeated records or 0.1's list.
    pub map: Vec<u64>,
}

impl GnuSparse {
    pub fn is_present(&self) -> bool {
        self.major.is_some() || self.blocks.is_some() || !self.map.is_empty()
    }
}

pub(super) fn parse(mut bytes: &[u8]) -> Result<Pax, Bad> {
    let mut pax = Pax::default();
    while !bytes.is_empty() {
        let (key, value, rest) = record(bytes).ok_or("a malformed record in its PAX header")?;
        pax.take(key, value)?;
        bytes = rest;
    }
    Ok(pax)
}

/// Key, value, and what follows the first record.
fn record(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = bytes.iter().take(20).position(|b| *b == b' ')?;
    let len = usize::try_from(decimal(&bytes[..space])?).ok()?;
    let body = bytes.get(space + 1..len)?;
    let body = body.strip_suffix(b"\n")?;
    let equals = body.iter().position(|b| *b == b'=')?;
    if equals == 0 {
        return None;
    }
    Some((&body[..equals], &body[equals + 1..], &bytes[len..]))
}

impl Pax {
    fn take(&mut self, key: &[u8], value: &[u8]) -> Result<(), Bad> {
        if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
            if name.is_empty() || name.contains(&0) {
                return Err("an xattr without a proper name".into());
            }
            self.xattrs.insert(name.to_vec(), value.to_vec());
            return Ok(());
        }
        let number = || {
            let what = || format!("{} in its PAX header is no number", key.escape_ascii());
            decimal(value).ok_or_else(what)
        };
        match key {
            b"GNU.sparse.offset" => {
                if !self.sparse.map.len().is_multiple_of(2) {
                    return Err("two sparse offsets in a row".into());
                }
                self.sparse.map.push(number()?);
            }
            b"GNU.sparse.numbytes" => {
                if self.sparse.map.len().is_multiple_of(2) {
                    return Err("a sparse length without its offset".into());
                }
                self.sparse.map.push(number()?);
            }
            _ if value.is_empty() => {}
            b"path" => self.path = Some(name(value)?),
            b"linkpath" => self.link = Some(name(value)?),
            b"size" => self.size = Some(number()?),
            b"uid" => self.uid = Some(id(number()?)?),
            b"gid" => self.gid = Some(id(number()?)?),
            b"mtime" => self.mtime = Some(time(value).ok_or("mtime in its PAX header is no time")?),
            b"GNU.sparse.major" => self.sparse.major = Some(number()?),
            b"GNU.sparse.minor" => self.sparse.minor = Some(number()?),
            b"GNU.sparse.name" => self.sparse.name = Some(name(value)?),
            b"GNU.sparse.realsize" | b"GNU.sparse.size" => self.sparse.real_size = Some(number()?),
            b"GNU.sparse.numblocks" => self.sparse.blocks = Some(number()?),
            b"GNU.sparse.map" => {
                let numbers = value.split(|b| *b == b',').map(decimal);
                let map: Option<Vec<u64>> = numbers.collect();
                self.sparse.map = map.ok_or("GNU.sparse.map is no list of numbers")?;
            }
            // Access times, user names, comments, what other tars add: not of a layer.
            _ => {}
        }
        Ok(())
    }
}

fn name(value: &[u8]) -> Result<Vec<u8>, Bad> {
    if value.contains(&0) { Err("a NUL byte in a name of its PAX header".into()) } else { Ok(value.to_vec()) }
}

fn id(number: u64) -> Result<i64, Bad> {
    i64::try_from(number).map_err(|_| "an owner's id in its PAX header is out of range".into())
}

pub(super) fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Seconds with a fraction; digits below a nanosecond are cut off.
fn time(text: &[u8]) -> Option<Mtime> {
    let (negative, text) = match text {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, text),
    };
    let mut parts = text.splitn(2, |b| *b == b'.');
    let sec = i64::try_from(decimal(parts.next()?)?).ok()?;
    let fraction = parts.next().unwrap_or(b"");
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digit = |at: usize| u32::from(fraction.get(at).map_or(0, |d| d - b'0'));
    let nsec = (0..9).fold(0, |n, at| n * 10 + digit(at));
    Some(match (negative, nsec) {
        (false, _) => Mtime { sec, nsec },
        (true, 0) => Mtime { sec: -sec, nsec },
        (true, _) => Mtime { sec: (-sec).checked_sub(1)?, nsec: 1_000_000_000 - nsec },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        let of = |s: &str| time(s.as_bytes()).map(|m| (m.sec, m.nsec));
        assert_eq!(of("1.5"), Some((1, 500_000_000)));
        assert_eq!(of("1"), Some((1, 0)));
        assert_eq!(of("-1.25"), Some((-2, 750_000_000)));
        assert_eq!(of("-0.25"), Some((-1, 750_000_000)));
        assert_eq!(of("1.1234567899"), Some((1, 123_456_789)));
        assert_eq!(of("1."), Some((1, 0)));
        assert_eq!(of(""), None);
        assert_eq!(of("1.x"), None);
        assert_eq!(of("99999999999999999999"), None);
    }

    #[test]
    fn records() {
        let pax = parse(b"11 path=ab\n28 SCHILY.xattr.user.a=b=\n\0\n").unwrap();
        assert_eq!(pax.path.as_deref(), Some(&b"ab"[..]));
        assert_eq!(pax.xattrs[&b"user.a"[..]], b"b=\n\0");
        for bad in [
            "11 path=ab",
            "99 path=ab\n",
            "3 a\n",
            "0 \n",
            " path=a\n",
            "9 =value\n",
            "-1 a=b\n",
            "11 path=abc",
        ] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad:?}");
        }
        assert!(parse(b"12 path=a\0b\n").is_err());
    }
}
