//! Owners, modes, times and xattrs of files just made.
//!
//! Always by descriptor, or by name with `NOFOLLOW`; in the order that keeps what the kernel clears: owner first (it
//! takes setuid and capabilities away), then xattrs, mode, times.

use std::os::fd::{AsFd, BorrowedFd};

use runtime::Mode as Ids;
use rustix::fs::{AtFlags, Gid, Mode, Timespec, Timestamps, UTIME_OMIT, Uid};
use rustix::io::Errno;

use super::Notes;
use crate::error::{Error, Name};
use crate::xattrs::{self, Xattrs};
use crate::{Mtime, Owner};

/// A time of modification, and no change to that of access.
pub(crate) fn timestamps(mtime: Mtime) -> Timestamps {
    let omit = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
    Timestamps {
        last_access: omit,
        last_modification: Timespec { tv_sec: mtime.sec, tv_nsec: mtime.nsec.into() },
    }
}

/// Sets the owner of `name` in `directory`, or of `directory` itself if the name is empty.
pub(super) fn chown(directory: BorrowedFd<'_>, name: &[u8], owner: Owner) -> Result<(), Errno> {
    let (uid, gid) = (Uid::from_raw(owner.uid), Gid::from_raw(owner.gid));
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::EMPTY_PATH;
    rustix::fs::chownat(directory, name, Some(uid), Some(gid), flags)
}

/// Says of a failed chown what the kernel's `EINVAL` does not.
pub(crate) fn explain_chown(errno: Errno, owner: Owner, entry: &[u8]) -> Error {
    if errno == Errno::INVAL {
        let maps = [("uid", owner.uid, "/proc/self/uid_map"), ("gid", owner.gid, "/proc/self/gid_map")];
        for (what, id, map) in maps {
            let Some(ranges) = std::fs::read_to_string(map).ok().map(|text| mapped_ranges(&text)) else {
                continue;
            };
            if !ranges.iter().any(|(first, last)| (*first..=*last).contains(&u64::from(id))) {
                let texts: Vec<String> =
                    ranges.iter().map(|(first, last)| format!("{first}-{last}")).collect();
                return Error::UnmappedOwner {
                    entry: entry.into(),
                    owner: format!("{what} {id}"),
                    range: texts.join(", "),
                };
            }
        }
    }
    Error::io(format!("setting the owner of {} to {}:{}", Name::from(entry), owner.uid, owner.gid), errno)
}

/// First and last id inside, of each line of a uid_map.
fn mapped_ranges(map: &str) -> Vec<(u64, u64)> {
    map.lines()
        .filter_map(|line| {
            let mut numbers = line.split_whitespace().map(|n| n.parse::<u64>().ok());
            let (inside, _, count) = (numbers.next()??, numbers.next()??, numbers.next()??);
            Some((inside, inside + count.max(1) - 1))
        })
        .collect()
}

pub(super) fn fchmod(fd: BorrowedFd<'_>, mode: u32) -> Result<(), Errno> {
    rustix::fs::fchmod(fd, Mode::from_raw_mode(mode & 0o7777))
}

/// Sets an image's xattrs on an open file or directory of a layer.
///
/// As with Docker, an attribute that this file system does not have or this user may not set is left out and counted.
/// In a user namespace that is `trusted.*` and most of `security.*`, but not `security.capability`.
pub(super) fn set_xattrs(
    fd: impl AsFd,
    xattrs: &Xattrs,
    entry: &[u8],
    ids: Ids,
    notes: &mut Notes,
) -> Result<(), Error> {
    for (name, value) in xattrs {
        let Some(name) = xattrs::to_layer(name) else { continue };
        match xattrs::set(&fd, &name, value) {
            Ok(()) => {}
            Err(e) => match Errno::from_io_error(&e) {
                Some(Errno::OPNOTSUPP | Errno::PERM) => note_xattr(&name, entry, notes),
                // Capabilities for a user namespace that is not ours, in a value of version 3.
                Some(Errno::INVAL) if ids != Ids::Root => note_xattr(&name, entry, notes),
                _ => {
                    let name = Name(name);
                    return Err(Error::io(format!("setting the xattr {name} of {}", Name::from(entry)), e));
                }
            },
        }
    }
    Ok(())
}

/// Counts an attribute that is left out.
pub(super) fn note_xattr(name: &[u8], entry: &[u8], notes: &mut Notes) {
    notes.xattrs += 1;
    notes.xattr_example.get_or_insert_with(|| format!("{} of {}", Name::from(name), Name::from(entry)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        let map = "         0       1000          1\n         1     100000      65536\n";
        assert_eq!(mapped_ranges(map), [(0, 0), (1, 65536)]);
        assert_eq!(mapped_ranges("0 0 4294967295\n"), [(0, 4_294_967_294)]);
    }
}
