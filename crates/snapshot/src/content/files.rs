//! The files of a content, in few bytes each, for telling what differs between two of them.
//!
//! A list is kept with the record of each step that took files, so it is small: paths share their beginnings with the
//! one before, digests are cut to what tells two versions of a file apart, and all of it is compressed. Nothing is ever
//! decided by it.
//!
//! ```text
//! each file: shared, u8…: bytes that its path shares with the one before, then how many follow, and these
//!            kind (one letter), mode, 1 or 0 and user and group, 6 bytes of a digest, 4 of one of the xattrs
//! ```
//! Numbers are LEB128.

use std::collections::HashMap;
use std::fmt;
use std::io::{self, Read as _};

use oci::Hasher;
use serde::{Deserialize, Serialize};

use crate::Owner;
use crate::error::Name;
use crate::xattrs::Xattrs;

/// Bytes of a digest that tell one version of a file from another.
const SHORT: usize = 6;
/// Bytes of a list before it is compressed: more files than this has room for are counted, and not named.
const ROOM: usize = 16 << 20;
const ZSTD_LEVEL: i32 = 1;

/// A list of files, in an order that depends on their paths only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files {
    bytes: Vec<u8>,
    last: Vec<u8>,
    left_out: u64,
}

/// One file of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Known {
    path: Vec<u8>,
    kind: u8,
    mode: u32,
    owner: Option<Owner>,
    what: [u8; SHORT],
    xattrs: [u8; 4],
}

/// How one file differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileChange {
    /// Its path as the user knows it.
    pub path: String,
    /// What about it.
    pub change: Change,
}

/// What about a file differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// It was not there before.
    Added,
    /// It is not there any more.
    Removed,
    /// It is there in both, and differs in these respects: at least one.
    Changed(Vec<Changed>),
}

/// A respect in which a file differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Changed {
    /// It is of another type.
    Type {
        /// Before.
        from: String,
        /// Now.
        to: String,
    },
    /// Its bytes; of a link what it points to, of a device its number.
    Content,
    /// Its permission bits.
    Mode {
        /// Before.
        from: u32,
        /// Now.
        to: u32,
    },
    /// Who owns it; user and group.
    Owner {
        /// Before.
        from: String,
        /// Now.
        to: String,
    },
    /// Its extended attributes.
    Xattrs,
}

impl Files {
    /// Adds a file.
    pub(super) fn add(
        &mut self,
        path: &[u8],
        kind: u8,
        what: &[u8],
        mode: u32,
        owner: Option<Owner>,
        xattrs: &Xattrs,
    ) {
        if self.bytes.len() > ROOM {
            self.left_out += 1;
            return;
        }
        let shared = self.last.iter().zip(path).take_while(|(a, b)| a == b).count();
        let bytes = &mut self.bytes;
        number(bytes, shared as u64);
        number(bytes, (path.len() - shared) as u64);
        bytes.extend_from_slice(&path[shared..]);
        bytes.push(kind);
        number(bytes, u64::from(mode));
        match owner {
            Some(owner) => {
                bytes.push(1);
                number(bytes, u64::from(owner.uid));
                number(bytes, u64::from(owner.gid));
            }
            None => bytes.push(0),
        }
        // Of a file it is a digest already.
        match what.first_chunk::<SHORT>() {
            Some(beginning) if kind == b'f' => bytes.extend_from_slice(beginning),
            _ => bytes.extend_from_slice(&short::<SHORT>(&[what])),
        }
        let own = xattrs.iter().flat_map(|(name, value)| [name.as_slice(), b"=", value.as_slice(), b"\0"]);
        let own: Vec<&[u8]> = own.collect();
        bytes.extend_from_slice(&if own.is_empty() { [0; 4] } else { short::<4>(&own) });
        self.last.clear();
        self.last.extend_from_slice(path);
    }

    /// The list as bytes, compressed.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut all = Vec::with_capacity(8 + self.bytes.len());
        all.extend_from_slice(&self.left_out.to_le_bytes());
        all.extend_from_slice(&self.bytes);
        zstd::bulk::compress(&all, ZSTD_LEVEL).unwrap_or_default()
    }

    /// Reads what [`Files::to_bytes`] made; `None` for what it cannot have made.
    pub fn from_bytes(bytes: &[u8]) -> Option<Files> {
        let limit = ROOM as u64 + 64 * 1024;
        let mut all = Vec::new();
        let decoder: io::Result<_> = zstd::Decoder::new(bytes);
        decoder.ok()?.take(limit).read_to_end(&mut all).ok()?;
        let (left_out, rest) = all.split_first_chunk::<8>()?;
        let files = Files { bytes: rest.to_vec(), last: Vec::new(), left_out: u64::from_le_bytes(*left_out) };
        files.entries().map(|_| files)
    }

    fn entries(&self) -> Option<Vec<Known>> {
        let mut rest = self.bytes.as_slice();
        let mut entries = Vec::new();
        let mut path: Vec<u8> = Vec::new();
        while !rest.is_empty() {
            let shared =
                usize::try_from(read_number(&mut rest)?).ok().filter(|shared| *shared <= path.len())?;
            let more = usize::try_from(read_number(&mut rest)?).ok()?;
            path.truncate(shared);
            path.extend_from_slice(rest.split_off(..more)?);
            let kind = *rest.split_off_first()?;
            let mode = u32::try_from(read_number(&mut rest)?).ok()?;
            let owner = match *rest.split_off_first()? {
                0 => None,
                _ => Some(Owner {
                    uid: u32::try_from(read_number(&mut rest)?).ok()?,
                    gid: u32::try_from(read_number(&mut rest)?).ok()?,
                }),
            };
            let what = *rest.split_off(..SHORT)?.first_chunk()?;
            let xattrs = *rest.split_off(..4)?.first_chunk()?;
            entries.push(Known { path: path.clone(), kind, mode, owner, what, xattrs });
        }
        Some(entries)
    }
}

/// What is different in `now` from `before`, by path, at most `most` of it; and how many files more differ, or may.
pub fn changes(before: &Files, now: &Files, most: usize) -> (Vec<FileChange>, u64) {
    let (old, new) = (before.entries().unwrap_or_default(), now.entries().unwrap_or_default());
    // A path can be taken more than once, by several actions of a step.
    let mut known: HashMap<&[u8], Vec<&Known>> = HashMap::with_capacity(old.len());
    for file in old.iter().rev() {
        known.entry(&file.path).or_default().push(file);
    }
    let mut changes = Vec::new();
    for file in &new {
        let change = match known.get_mut(file.path.as_slice()).and_then(Vec::pop) {
            None => Change::Added,
            Some(other) if other == file => continue,
            Some(other) => Change::Changed(changed(other, file)),
        };
        changes.push((&file.path, change));
    }
    for file in known.into_values().flatten() {
        changes.push((&file.path, Change::Removed));
    }
    changes.sort_by(|a, b| a.0.cmp(b.0));
    let mut more = changes.len().saturating_sub(most) as u64;
    if before.left_out != 0 || now.left_out != 0 {
        more += before.left_out.max(now.left_out);
    }
    changes.truncate(most);
    let named = changes
        .into_iter()
        .map(|(path, change)| FileChange { path: Name::from(path.as_slice()).to_string(), change });
    (named.collect(), more)
}

fn changed(from: &Known, to: &Known) -> Vec<Changed> {
    let mut changed = Vec::new();
    if from.kind != to.kind {
        changed.push(Changed::Type { from: kind(from.kind).to_owned(), to: kind(to.kind).to_owned() });
    } else if from.what != to.what {
        changed.push(Changed::Content);
    }
    if from.mode != to.mode && from.kind == to.kind {
        changed.push(Changed::Mode { from: from.mode, to: to.mode });
    }
    if from.owner != to.owner {
        let text = |owner: Option<Owner>| owner.map_or("0:0".into(), |o| format!("{}:{}", o.uid, o.gid));
        changed.push(Changed::Owner { from: text(from.owner), to: text(to.owner) });
    }
    if from.xattrs != to.xattrs {
        changed.push(Changed::Xattrs);
    }
    changed
}

fn kind(letter: u8) -> &'static str {
    match letter {
        b'd' => "directory",
        b'f' => "file",
        b'h' => "hard link",
        b'l' => "symbolic link",
        b'p' => "named pipe",
        b'c' => "character device",
        _ => "block device",
    }
}

impl fmt::Display for FileChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.path)?;
        match &self.change {
            Change::Added => f.write_str("added"),
            Change::Removed => f.write_str("removed"),
            Change::Changed(all) => {
                for (number, changed) in all.iter().enumerate() {
                    f.write_str(if number == 0 { "" } else { ", " })?;
                    match changed {
                        Changed::Type { from, to } => write!(f, "type {from} -> {to}")?,
                        Changed::Content => f.write_str("content changed")?,
                        Changed::Mode { from, to } => write!(f, "mode {from:04o} -> {to:04o}")?,
                        Changed::Owner { from, to } => write!(f, "owner {from} -> {to}")?,
                        Changed::Xattrs => f.write_str("extended attributes changed")?,
                    }
                }
                Ok(())
            }
        }
    }
}

fn short<const N: usize>(parts: &[&[u8]]) -> [u8; N] {
    let mut hasher = Hasher::new();
    parts.iter().for_each(|part| hasher.update(part));
    *hasher.finish_bytes().first_chunk().expect("because a digest is longer")
}

fn number(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

fn read_number(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..63).step_by(7) {
        let byte = *rest.split_off_first()?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Path, kind, what, mode, owner.
    type Row<'r> = (&'r str, u8, &'r [u8], u32, Option<u32>);

    fn list(files: &[Row<'_>]) -> Files {
        let mut list = Files::default();
        for (path, kind, what, mode, owner) in files {
            let owner = owner.map(|id| Owner { uid: id, gid: id });
            list.add(path.as_bytes(), *kind, what, *mode, owner, &Xattrs::new());
        }
        list
    }

    #[test]
    fn every_way_to_differ_has_its_words() {
        let before = list(&[
            ("a", b'f', b"content", 0o644, None),
            ("d", b'd', b"", 0o755, None),
            ("d/l", b'l', b"a", 0, None),
            ("d/o", b'f', b"content", 0o644, Some(1)),
            ("gone", b'f', b"", 0o644, None),
        ]);
        let now = list(&[
            ("a", b'f', b"context", 0o755, None),
            ("d", b'd', b"", 0o755, None),
            ("d/l", b'f', b"content", 0o644, None),
            ("d/o", b'f', b"content", 0o644, Some(2)),
            ("new", b'f', b"", 0o644, None),
        ]);
        let now = Files::from_bytes(&now.to_bytes()).unwrap();
        let (all, more) = changes(&before, &now, 100);
        let shown: Vec<String> = all.iter().map(ToString::to_string).collect();
        assert_eq!(
            shown,
            [
                "a: content changed, mode 0644 -> 0755",
                "d/l: type symbolic link -> file",
                "d/o: owner 1:1 -> 2:2",
                "gone: removed",
                "new: added"
            ]
        );
        assert_eq!((more, changes(&before, &now, 2).1), (0, 3));
        assert_eq!(changes(&now, &now, 100), (vec![], 0));
    }

    #[test]
    fn what_is_no_list_is_none() {
        assert_eq!(Files::from_bytes(b"nonsense"), None);
        let mut bytes = list(&[("a", b'f', b"content", 0o644, None)]).to_bytes();
        bytes.truncate(bytes.len() - 1);
        assert_eq!(Files::from_bytes(&bytes), None);
        let cut = zstd::bulk::compress(b"\0\0\0\0\0\0\0\0\x05\x01a", 1).unwrap();
        assert_eq!(Files::from_bytes(&cut), None);
    }

    #[test]
    fn twenty_thousand_files_take_few_bytes_each() {
        let mut all = Files::default();
        for n in 0..20_000u32 {
            let path = format!("src/d{:03}/module/file{n:05}.rs", n / 100);
            all.add(path.as_bytes(), b'f', &short::<32>(&[path.as_bytes()]), 0o644, None, &Xattrs::new());
        }
        assert!(all.to_bytes().len() < 20_000 * 14, "{}", all.to_bytes().len());
    }
}
