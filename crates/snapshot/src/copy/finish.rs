//! Owner, permissions and time of files that are written, as far as this process may set them.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;

use super::attributes::{self, Xattrs};
use super::plan::Meta;
use crate::apply::timestamps;
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

/// Why a file could not be finished.
pub(super) enum Unfinished {
    /// Its owner could not be set.
    Owner(Errno),
    Other(io::Error),
}

impl From<Errno> for Unfinished {
    fn from(errno: Errno) -> Unfinished {
        Unfinished::Other(errno.into())
    }
}

/// Finishes an open file or directory. Writing and changing the owner take capabilities away, so they come last but
/// for the time.
pub(super) fn open_file(
    file: BorrowedFd<'_>,
    meta: &Meta,
    xattrs: &Xattrs,
    ids: Ids,
) -> Result<(), Unfinished> {
    if !ids.must_record(meta.owner) {
        let stat = rustix::fs::fstat(file)?;
        if (stat.st_uid, stat.st_gid) != (meta.owner.uid, meta.owner.gid) {
            let (uid, gid) = (Uid::from_raw(meta.owner.uid), Gid::from_raw(meta.owner.gid));
            rustix::fs::fchown(file, Some(uid), Some(gid)).map_err(Unfinished::Owner)?;
        }
    }
    if xattrs.contains_key(b"security.capability".as_slice()) {
        attributes::write(file, xattrs).map_err(Unfinished::Other)?;
    }
    rustix::fs::fchmod(file, Mode::from_raw_mode(meta.mode))?;
    Ok(rustix::fs::futimens(file, &timestamps(meta.mtime))?)
}

/// Finishes a link, pipe or device.
pub(super) fn by_name(
    dir: BorrowedFd<'_>,
    name: &[u8],
    kind: FileType,
    meta: &Meta,
    ids: Ids,
) -> Result<(), Unfinished> {
    let flags = AtFlags::SYMLINK_NOFOLLOW;
    if !ids.must_record(meta.owner) && meta.owner != Owner::ROOT {
        let (uid, gid) = (Uid::from_raw(meta.owner.uid), Gid::from_raw(meta.owner.gid));
        rustix::fs::chownat(dir, name, Some(uid), Some(gid), flags).map_err(Unfinished::Owner)?;
    }
    if kind != FileType::Symlink {
        rustix::fs::chmodat(dir, name, Mode::from_raw_mode(meta.mode), AtFlags::empty())?;
    }
    Ok(rustix::fs::utimensat(dir, name, &timestamps(meta.mtime), flags)?)
}

/// Nanoseconds between two times that the file system of `dir` can tell apart: a layer must not claim times that its
/// directory does not hold. Leaves the time of `dir` changed.
pub(super) fn precision(dir: &Path) -> io::Result<u32> {
    const PROBE: u32 = 123_456_789;
    let dir = runtime::beneath::open_root(dir)?;
    let dir = runtime::beneath::reopen(dir.as_fd(), OFlags::RDONLY | OFlags::DIRECTORY)?;
    rustix::fs::futimens(&dir, &timestamps(Mtime { sec: 1, nsec: PROBE }))?;
    let held = rustix::fs::fstat(&dir)?.st_mtime_nsec as u32;
    let mut precision = 1;
    while precision < 1_000_000_000 && PROBE - PROBE % precision != held {
        precision *= 10;
    }
    Ok(precision)
}
