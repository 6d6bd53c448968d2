//! The `owners` sidecar: owners that a layer directory cannot hold because only one id is mapped.
//!
//! Format of the file: records sorted by path bytes, each `UID GID MODE TYPE MAJOR:MINOR PATH` followed by a NUL,
//! where UID, GID, MAJOR and MINOR are decimal, MODE is octal (`0o7777` bits), TYPE is one of `f` (file), `d`, `l`
//! (symlink), `c`, `b` (devices, held in the directory as empty files) and `p`, and PATH is relative to `fs/`,
//! any bytes but NUL. A path without a record belongs to 0:0 and is what the directory says it is.

mod settle;
mod twin;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

use crate::error::{Doing as _, Error};
use crate::{Kind, Owner};
pub use settle::settle;

/// What one path is, where the directory cannot say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// User and group.
    pub owner: Owner,
    /// Permission bits, `0o7777`.
    pub mode: u32,
    /// `f`, `d`, `l`, `c`, `b` or `p`.
    pub kind: u8,
    /// Device numbers; 0:0 for what is no device.
    pub rdev: (u32, u32),
}

impl Record {
    /// The record of a file of this kind; `None` for a hard link, which has its target's.
    pub fn of(kind: &Kind, owner: Owner, mode: u32) -> Option<Record> {
        let (kind, rdev) = match *kind {
            Kind::File { .. } => (b'f', (0, 0)),
            Kind::Directory => (b'd', (0, 0)),
            Kind::Symlink(_) => (b'l', (0, 0)),
            Kind::HardLink(_) => return None,
            Kind::CharDevice { major, minor } => (b'c', (major, minor)),
            Kind::BlockDevice { major, minor } => (b'b', (major, minor)),
            Kind::Fifo => (b'p', (0, 0)),
        };
        Some(Record { owner, mode, kind, rdev })
    }

    /// What the directory's `kind` stands for: devices are held as empty files.
    pub fn kind_over(&self, kind: Kind) -> Kind {
        let (major, minor) = self.rdev;
        match self.kind {
            b'c' => Kind::CharDevice { major, minor },
            b'b' => Kind::BlockDevice { major, minor },
            _ => kind,
        }
    }
}

/// All records of one layer, by path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Owners(pub BTreeMap<Vec<u8>, Record>);

impl Owners {
    /// The sidecar of the layer directory `fs`: `owners` beside it. No file: no records.
    pub fn of_layer(fs: &Path) -> Result<Owners, Error> {
        let path = sidecar(fs);
        match std::fs::read(&path) {
            Ok(bytes) => Owners::parse(&bytes).doing("reading", &path),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Owners::default()),
            Err(e) => Err(e).doing("reading", &path),
        }
    }

    /// Writes the sidecar of the layer directory `fs`; nothing, if there are no records.
    pub fn save(&self, fs: &Path) -> Result<(), Error> {
        let path = sidecar(fs);
        if self.0.is_empty() {
            return match std::fs::remove_file(&path) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e).doing("removing", &path),
                _ => Ok(()),
            };
        }
        let mut bytes = Vec::new();
        for (name, r) in &self.0 {
            let Record { owner: Owner { uid, gid }, mode, kind, rdev: (major, minor) } = *r;
            write!(bytes, "{uid} {gid} {mode:o} {} {major}:{minor} ", kind as char)
                .expect("because a Vec takes all");
            bytes.extend_from_slice(name);
            bytes.push(0);
        }
        std::fs::write(&path, bytes).doing("writing", &path)
    }

    fn parse(bytes: &[u8]) -> io::Result<Owners> {
        let mut map = BTreeMap::new();
        for line in bytes.split(|b| *b == 0).filter(|l| !l.is_empty()) {
            let (name, record) = parse_record(line).ok_or_else(|| {
                io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("bad record {:?}", line.escape_ascii().to_string()),
                )
            })?;
            map.insert(name, record);
        }
        Ok(Owners(map))
    }
}

fn parse_record(line: &[u8]) -> Option<(Vec<u8>, Record)> {
    let mut fields = line.splitn(6, |b| *b == b' ');
    let mut text = || std::str::from_utf8(fields.next()?).ok();
    let uid = text()?.parse().ok()?;
    let gid = text()?.parse().ok()?;
    let mode = u32::from_str_radix(text()?, 8).ok()?;
    let kind = match text()?.as_bytes() {
        [kind @ (b'f' | b'd' | b'l' | b'c' | b'b' | b'p')] => *kind,
        _ => return None,
    };
    let (major, minor) = text()?.split_once(':')?;
    let rdev = (major.parse().ok()?, minor.parse().ok()?);
    let path = fields.next().filter(|path| !path.is_empty())?.to_vec();
    Some((path, Record { owner: Owner { uid, gid }, mode, kind, rdev }))
}

/// When the sidecar of the layer directory `fs` was written, in seconds and nanoseconds; `None` without one.
fn written(fs: &Path) -> Option<(i64, u32)> {
    use std::os::unix::fs::MetadataExt as _;
    let status = std::fs::metadata(sidecar(fs)).ok()?;
    Some((status.mtime(), u32::try_from(status.mtime_nsec()).ok()?))
}

fn sidecar(fs: &Path) -> std::path::PathBuf {
    fs.with_file_name("owners")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sidecar_is_read_as_it_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let fs = dir.path().join("fs");
        let mut owners = Owners::default();
        let record =
            |kind, rdev| Record { owner: Owner { uid: 5, gid: u32::MAX - 1 }, mode: 0o4755, kind, rdev };
        owners.0.insert(b"a b\n\xff".to_vec(), record(b'f', (0, 0)));
        owners.0.insert(b"dev/sda".to_vec(), record(b'b', (8, 1_048_575)));
        owners.save(&fs).unwrap();
        assert_eq!(Owners::of_layer(&fs).unwrap(), owners);
        Owners::default().save(&fs).unwrap();
        assert!(!dir.path().join("owners").exists());
        assert_eq!(Owners::of_layer(&fs).unwrap(), Owners::default());
        for bad in ["x", "1 2 3 f 0:0", "1 2 9 f 0:0 p", "1 2 7 f 0 p", "1 2 7 ff 0:0 p", "1 2 7 f 0:0 "] {
            assert!(Owners::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
