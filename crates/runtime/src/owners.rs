//! Owners where only one id is mapped: a container's chown family answered with success, and remembered.
//!
//! In a user namespace with one id, `chown postgres /var/lib/postgresql` is EINVAL, and package installation ends
//! there. So a second seccomp filter beside the normal one (of two filters' verdicts the stricter counts, so a profile
//! that forbids chown still does) holds these calls, and a process of ours answers them:
//!
//! - `chown`, `lchown`, `fchown`, `fchownat`: carried out with each id replaced by the one there is. So the file is
//!   copied up into the upper directory and loses its setuid bits as it should, and an error (no such file, read-only)
//!   is the right one. What was asked for is recorded.
//! - `mknod`, `mknodat` of devices: an empty file is made in its place, and the device recorded. FIFOs, sockets and
//!   overlayfs whiteouts (0:0) are left to the kernel, which allows them.
//! - `setuid`, `setgid`, `setgroups` and their like: success, and nothing happens.
//!
//! A record is by the identity of the file in the upper directory, not by its path: dpkg gives `foo.dpkg-new` away and
//! then renames it. Deliberately absent: showing the recorded owners to the container. `stat` goes on to say 0, also to
//! a program that checks whether it got rid of its privileges (apt's sandbox: set `APT::Sandbox::User "root"`).
//!
//! The parts: `calls` knows the calls and their arguments, `process` opens what a path means to the process that
//! asks, `recorder` is the process that answers.

mod calls;
mod process;
mod recorder;

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use rustix::fs::{AtFlags, Statx, StatxFlags};
use rustix::path::Arg;

use crate::Error;
use crate::error::Context;

pub use recorder::{Recorder, listen};

/// What a container's processes asked one file's owner to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnerRecord {
    /// Where the file was in the container when last asked about, absolute.
    pub path: PathBuf,
    /// The file in the upper directory.
    pub file: FileId,
    /// The owner asked for; `None` where none was, or it was only for the group.
    pub uid: Option<u32>,
    /// The group asked for; `None` where none was, or it was only for the owner.
    pub gid: Option<u32>,
    /// The device that the file, which is empty and regular, stands for.
    pub device: Option<Device>,
}

/// A device node that could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Device {
    /// `S_IFCHR` or `S_IFBLK`, with the permissions asked for (less the umask; the file has them too, and later ones).
    pub mode: u32,
    /// Major and minor number, packed as in `st_rdev`.
    pub rdev: u64,
}

/// A file that is itself and no later one: an inode number is used again soon after its file is deleted, but not with
/// the same time of birth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileId {
    /// `st_dev`.
    pub dev: u64,
    /// `st_ino`.
    pub ino: u64,
    /// Time of birth in seconds and nanoseconds; zero on a file system that keeps none.
    pub born: (i64, u32),
}

impl FileId {
    /// What `statx` has to be asked for.
    pub const MASK: StatxFlags = StatxFlags::INO.union(StatxFlags::BTIME);

    /// The identity of `path` below `directory`, itself if it is a link; an empty path is the descriptor's own file.
    pub fn of(directory: impl AsFd, path: impl Arg) -> io::Result<FileId> {
        let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::EMPTY_PATH;
        Ok(FileId::from_statx(&rustix::fs::statx(directory, path, flags, FileId::MASK)?))
    }

    /// The identity in a status that was asked for with at least [`FileId::MASK`].
    pub fn from_statx(status: &Statx) -> FileId {
        let born = if status.stx_mask & StatxFlags::BTIME.bits() != 0 {
            (status.stx_btime.tv_sec, status.stx_btime.tv_nsec)
        } else {
            (0, 0)
        };
        let dev = rustix::fs::makedev(status.stx_dev_major, status.stx_dev_minor);
        FileId { dev, ino: status.stx_ino, born }
    }
}

/// The first and last bytes of what a [`Recorder`] leaves: without them it died in between.
const MAGIC: &[u8] = b"strake owners 1\n";

/// Bytes of a record before its path.
const FIXED: usize = 8 + 8 + 8 + 4 + 1 + 4 + 4 + 4 + 8 + 4;

const HAS_UID: u8 = 1;
const HAS_GID: u8 = 2;
const HAS_DEVICE: u8 = 4;

fn encode<'a>(records: impl Iterator<Item = &'a OwnerRecord>) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    for record in records {
        let OwnerRecord { path, file, uid, gid, device } = record;
        bytes.extend(file.dev.to_le_bytes());
        bytes.extend(file.ino.to_le_bytes());
        bytes.extend(file.born.0.to_le_bytes());
        bytes.extend(file.born.1.to_le_bytes());
        let present = [(uid.is_some(), HAS_UID), (gid.is_some(), HAS_GID), (device.is_some(), HAS_DEVICE)];
        let flags = present.iter().filter(|(is, _)| *is).fold(0, |flags, (_, flag)| flags | flag);
        bytes.push(flags);
        bytes.extend(uid.unwrap_or(0).to_le_bytes());
        bytes.extend(gid.unwrap_or(0).to_le_bytes());
        let device = device.unwrap_or(Device { mode: 0, rdev: 0 });
        bytes.extend(device.mode.to_le_bytes());
        bytes.extend(device.rdev.to_le_bytes());
        let path = path.as_os_str().as_bytes();
        bytes.extend((path.len() as u32).to_le_bytes());
        bytes.extend(path);
    }
    bytes.extend(MAGIC);
    bytes
}

/// Reads what [`Recorder::finish`] gave.
///
/// # Errors
/// [`Error::Supervisor`] where the recorder did not come to its end.
pub fn decode(records: OwnedFd) -> Result<Vec<OwnerRecord>, Error> {
    let mut bytes = Vec::new();
    let mut file = File::from(records);
    file.rewind()
        .and_then(|()| file.read_to_end(&mut bytes))
        .doing(|| "reading the owners that the container gave its files")?;
    parse(&bytes)
        .ok_or_else(|| Error::Supervisor("the owners that the container gave its files are lost".into()))
}

fn parse(bytes: &[u8]) -> Option<Vec<OwnerRecord>> {
    let mut rest = bytes.strip_prefix(MAGIC)?.strip_suffix(MAGIC)?;
    let mut records = Vec::new();
    while !rest.is_empty() {
        let (fixed, after) = rest.split_at_checked(FIXED)?;
        let mut at = 0;
        let mut take = |len: usize| {
            at += len;
            &fixed[at - len..at]
        };
        let file = FileId {
            dev: u64::from_le_bytes(take(8).try_into().ok()?),
            ino: u64::from_le_bytes(take(8).try_into().ok()?),
            born: (
                i64::from_le_bytes(take(8).try_into().ok()?),
                u32::from_le_bytes(take(4).try_into().ok()?),
            ),
        };
        let flags = take(1)[0];
        let uid = u32::from_le_bytes(take(4).try_into().ok()?);
        let gid = u32::from_le_bytes(take(4).try_into().ok()?);
        let mode = u32::from_le_bytes(take(4).try_into().ok()?);
        let rdev = u64::from_le_bytes(take(8).try_into().ok()?);
        let len = u32::from_le_bytes(take(4).try_into().ok()?) as usize;
        let (path, after) = after.split_at_checked(len)?;
        records.push(OwnerRecord {
            path: PathBuf::from(OsString::from_vec(path.to_vec())),
            file,
            uid: (flags & HAS_UID != 0).then_some(uid),
            gid: (flags & HAS_GID != 0).then_some(gid),
            device: (flags & HAS_DEVICE != 0).then_some(Device { mode, rdev }),
        });
        rest = after;
    }
    Some(records)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_survive_their_encoding() {
        let file = FileId { dev: 0x0800_0001, ino: u64::MAX - 1, born: (-3, 999_999_999) };
        let records = [
            OwnerRecord {
                path: OsString::from_vec(b"/not \xff utf8".to_vec()).into(),
                file,
                uid: Some(u32::MAX - 1),
                gid: None,
                device: None,
            },
            OwnerRecord {
                path: "/".into(),
                file: FileId { ino: 7, ..file },
                uid: None,
                gid: Some(5),
                device: Some(Device { mode: libc::S_IFBLK | 0o640, rdev: rustix::fs::makedev(259, 70_000) }),
            },
        ];
        let bytes = encode(records.iter());
        assert_eq!(parse(&bytes).unwrap(), records);
        assert_eq!(parse(&encode([].iter())).unwrap(), []);
        for len in 0..bytes.len() {
            assert_eq!(parse(&bytes[..len]), None, "cut at {len}");
        }
    }

    #[test]
    fn a_new_file_with_an_old_number_is_another() {
        let path = std::env::temp_dir().join(format!("strake-file-id-{}", std::process::id()));
        let identity = || {
            std::fs::write(&path, "").unwrap();
            let id = FileId::of(rustix::fs::CWD, &path).unwrap();
            assert_eq!(id, FileId::of(rustix::fs::CWD, &path).unwrap());
            std::fs::remove_file(&path).unwrap();
            id
        };
        let first = identity();
        std::thread::sleep(std::time::Duration::from_millis(20));
        assert_ne!(first, identity());
    }
}
