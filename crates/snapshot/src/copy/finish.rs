//! Owner, permissions and time of files that are written, as far as this process may set them.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, Uid};

use super::attributes::{self, Xattrs};
use super::plan::Meta;
use crate::{Mtime, Owner};

/// Which ids files can be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ids(runtime::Mode);

impl Ids {
    pub fn of(mode: runtime::Mode) -> Ids {
        Ids(mode)
    }

    /// Whether `owner` has to be written down beside the layer.
    pub fn must_record(self, owner: Owner) -> bool {
        self.0 == runtime::Mode::SingleId && owner != Owner::ROOT
    }

    /// Whether devices that cannot be made are written down instead.
    pub fn records_devices(self) -> bool {
        self.0 != runtime::Mode::Root
    }
}

/// Finishes an open file or directory. Writing and changing the owner take capabilities away, so they come last but
/// for the time.
pub(super) fn open_file(file: BorrowedFd<'_>, meta: &Meta, xattrs: &Xattrs, ids: Ids) -> io::Result<()> {
    if !ids.must_record(meta.owner) {
        let stat = rustix::fs::fstat(file)?;
        if (stat.st_uid, stat.st_gid) != (meta.owner.uid, meta.owner.gid) {
            let (uid, gid) = (Uid::from_raw(meta.owner.uid), Gid::from_raw(meta.owner.gid));
            rustix::fs::fchown(file, Some(uid), Some(gid))?;
        }
    }
    if xattrs.contains_key(b"security.capability".as_slice()) {
        attributes::write(file, xattrs)?;
    }
    rustix::fs::fchmod(file, Mode::from_raw_mode(meta.mode))?;
    Ok(rustix::fs::futimens(file, &times(meta.mtime))?)
}

/// Finishes a link, pipe or device.
pub(super) fn by_name(
    dir: BorrowedFd<'_>,
    name: &[u8],
    kind: FileType,
    meta: &Meta,
    ids: Ids,
) -> io::Result<()> {
    let flags = AtFlags::SYMLINK_NOFOLLOW;
    if !ids.must_record(meta.owner) && meta.owner != Owner::ROOT {
        let (uid, gid) = (Uid::from_raw(meta.owner.uid), Gid::from_raw(meta.owner.gid));
        rustix::fs::chownat(dir, name, Some(uid), Some(gid), flags)?;
    }
    if kind != FileType::Symlink {
        rustix::fs::chmodat(dir, name, Mode::from_raw_mode(meta.mode), AtFlags::empty())?;
    }
    Ok(rustix::fs::utimensat(dir, name, &times(meta.mtime), flags)?)
}

/// Nanoseconds between two times that the file system of `dir` can tell apart: a layer must not claim times that its
/// directory does not hold. Leaves the time of `dir` changed.
pub(super) fn precision(dir: &Path) -> io::Result<u32> {
    const PROBE: u32 = 123_456_789;
    let dir = runtime::beneath::open_root(dir)?;
    let dir = runtime::beneath::reopen(dir.as_fd(), OFlags::RDONLY | OFlags::DIRECTORY)?;
    rustix::fs::futimens(&dir, &times(Mtime { sec: 1, nsec: PROBE }))?;
    let held = rustix::fs::fstat(&dir)?.st_mtime_nsec as u32;
    let mut precision = 1;
    while precision < 1_000_000_000 && PROBE - PROBE % precision != held {
        precision *= 10;
    }
    Ok(precision)
}

fn times(mtime: Mtime) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: mtime.sec, tv_nsec: mtime.nsec.into() },
    }
}
