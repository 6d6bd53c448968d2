//! Files and trees copied from one place to another, by descriptors: no link in either is followed.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use runtime::beneath;
use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid, XattrFlags, chmodat, chownat,
    fchmod, fchown, fstat, futimens, linkat, mkdirat, mknodat, openat, readlinkat, renameat, symlinkat,
    unlinkat, utimensat,
};
use rustix::io::Errno;

use super::place::{handle, names};

/// The deepest tree copied: each level holds two descriptors open.
const DEPTH: usize = 400;

/// Whose the copies are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owners {
    /// The source's owners.
    Keep,
    /// Root's, as this process sees it: for an ordinary user, the user's own.
    Root,
    /// This user's and group's.
    Set(u32, u32),
}

/// A copy into one directory, which knows what it has copied: files with several names stay one file.
struct Copy<'a> {
    top: BorrowedFd<'a>,
    owners: Owners,
    linked: HashMap<(u64, u64), PathBuf>,
    /// Of the host's own user namespace: whoever is not, can make no devices and give files to few.
    real: bool,
    /// Seconds since 1970: the time of all copies, instead of their own.
    epoch: Option<i64>,
}

/// Copies what `source` is a handle of to `name` of the directory `to`. A file takes the place of one that is there; a
/// directory is merged into one that is there, and neither takes the other's.
pub(crate) fn one(
    source: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    name: &OsStr,
    owners: Owners,
) -> io::Result<()> {
    let stat = fstat(source)?;
    Copy::new(to, owners).copy(source, &stat, to, name, Path::new(name), 0)
}

/// Copies everything in the directory `source` into the directory `to`.
pub(crate) fn children(source: BorrowedFd<'_>, to: BorrowedFd<'_>, owners: Owners) -> io::Result<()> {
    Copy::new(to, owners).children(source, to, Path::new(""), 0)
}

/// As [`children`]; with `epoch`, seconds since 1970, all copies have that time.
pub(crate) fn children_dated(
    source: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    owners: Owners,
    epoch: Option<i64>,
) -> io::Result<()> {
    Copy { epoch, ..Copy::new(to, owners) }.children(source, to, Path::new(""), 0)
}

/// Gives the directory `to` owner, mode, xattrs and times of the directory `source`.
pub(crate) fn directory_like(to: BorrowedFd<'_>, source: BorrowedFd<'_>) -> io::Result<()> {
    Copy::new(to, Owners::Keep).finish(to, source, &fstat(source)?)
}

/// Gives the new directory `path` the mode of a plain one, whatever the umask is.
pub(crate) fn plain_directory(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))
}

impl<'a> Copy<'a> {
    fn new(top: BorrowedFd<'a>, owners: Owners) -> Copy<'a> {
        let real = runtime::mode().is_none_or(|mode| mode == runtime::Mode::Root);
        Copy { top, owners, linked: HashMap::new(), real, epoch: None }
    }

    fn children(
        &mut self,
        source: BorrowedFd<'_>,
        to: BorrowedFd<'_>,
        path: &Path,
        depth: usize,
    ) -> io::Result<()> {
        if depth > DEPTH {
            return Err(io::Error::other(format!("directories are nested more than {DEPTH} deep")));
        }
        let source = beneath::reopen(source, OFlags::RDONLY | OFlags::DIRECTORY)?;
        for name in names(source.as_fd())? {
            let (child, stat) = match handle(source.as_fd(), &name) {
                // It went away while we looked, as in a container that runs.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                found => found?,
            };
            self.copy(child.as_fd(), &stat, to, &name, &path.join(&name), depth)?;
        }
        Ok(())
    }

    fn copy(
        &mut self,
        source: BorrowedFd<'_>,
        stat: &Stat,
        to: BorrowedFd<'_>,
        name: &OsStr,
        path: &Path,
        depth: usize,
    ) -> io::Result<()> {
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind == FileType::Directory {
            let dest = directory(to, name)?;
            self.children(source, dest.as_fd(), path, depth + 1)?;
            return self.finish(dest.as_fd(), source, stat);
        }
        let there = handle(to, name).ok().map(|(_, stat)| FileType::from_raw_mode(stat.st_mode));
        if there == Some(FileType::Directory) {
            return Err(io::Error::other("a directory is in the way of a file"));
        }
        // What is there stays until all of the new file is.
        let made = match there {
            Some(_) => OsString::from(format!(".strake-cp-{}", std::process::id())),
            None => name.to_owned(),
        };
        let done = match self.linked.get(&(stat.st_dev, stat.st_ino)) {
            Some(first) => self.link(first, to, &made),
            None => self.file(kind, source, stat, to, &made),
        };
        let done = match (done, there) {
            (Ok(true), Some(_)) => renameat(to, &made, to, name).map(|()| true).map_err(io::Error::from),
            (done, _) => done,
        };
        match done {
            Ok(true) if stat.st_nlink > 1 => {
                self.linked.entry((stat.st_dev, stat.st_ino)).or_insert_with(|| path.to_owned());
            }
            Ok(_) => {}
            Err(error) => {
                let _ = unlinkat(to, &made, AtFlags::empty());
                return Err(error);
            }
        }
        Ok(())
    }

    /// One more name for a file copied before.
    fn link(&self, first: &Path, to: BorrowedFd<'_>, name: &OsStr) -> io::Result<bool> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW;
        let first = beneath::open_without_links(self.top, first, flags, Mode::empty())?;
        let path = format!("/proc/self/fd/{}", first.as_raw_fd());
        linkat(CWD, path, to, name, AtFlags::SYMLINK_FOLLOW)?;
        Ok(true)
    }

    /// Makes what is no directory under a name that is free. `false`: it is of a kind that is left out.
    fn file(
        &self,
        kind: FileType,
        source: BorrowedFd<'_>,
        stat: &Stat,
        to: BorrowedFd<'_>,
        name: &OsStr,
    ) -> io::Result<bool> {
        match kind {
            FileType::RegularFile => {
                let mut from = File::from(beneath::reopen(source, OFlags::RDONLY | OFlags::NONBLOCK)?);
                let flags =
                    OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let mut dest = File::from(openat(to, name, flags, Mode::from_raw_mode(0o600))?);
                io::copy(&mut from, &mut dest)?;
                self.finish(dest.as_fd(), source, stat)?;
                return Ok(true);
            }
            FileType::Symlink => symlinkat(readlinkat(source, c"", Vec::new())?.as_c_str(), to, name)?,
            FileType::Fifo => mknodat(to, name, kind, mode(stat), 0)?,
            FileType::CharacterDevice | FileType::BlockDevice if self.real => {
                mknodat(to, name, kind, mode(stat), stat.st_rdev)?;
            }
            // A device that cannot be made is left out, as Docker does in a user namespace; a socket is nothing
            // without the process behind it.
            _ => return Ok(false),
        }
        if let Some((uid, gid)) = self.ids(stat) {
            allowed(chownat(to, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW), self.real)?;
        }
        if kind != FileType::Symlink {
            chmodat(to, name, mode(stat), AtFlags::empty())?;
        }
        utimensat(to, name, &self.times(stat), AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(true)
    }

    /// Owner, mode, xattrs and times, in the order in which none undoes another.
    fn finish(&self, dest: BorrowedFd<'_>, source: BorrowedFd<'_>, stat: &Stat) -> io::Result<()> {
        if let Some((uid, gid)) = self.ids(stat) {
            allowed(fchown(dest, uid, gid), self.real)?;
        }
        fchmod(dest, mode(stat))?;
        copy_xattrs(source, dest)?;
        Ok(futimens(dest, &self.times(stat))?)
    }

    fn times(&self, stat: &Stat) -> Timestamps {
        let time = match self.epoch {
            Some(epoch) => Timespec { tv_sec: epoch, tv_nsec: 0 },
            None => Timespec { tv_sec: stat.st_mtime, tv_nsec: stat.st_mtime_nsec as _ },
        };
        Timestamps { last_access: time, last_modification: time }
    }

    fn ids(&self, stat: &Stat) -> Option<(Option<Uid>, Option<Gid>)> {
        /// What a user namespace shows for ids that it has no number for.
        const OVERFLOW: u32 = 65534;
        let known = |id: u32| if !self.real && id == OVERFLOW { 0 } else { id };
        let (uid, gid) = match self.owners {
            Owners::Keep => (known(stat.st_uid), known(stat.st_gid)),
            Owners::Set(uid, gid) => (uid, gid),
            Owners::Root => return None,
        };
        Some((Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid))))
    }
}

/// An id that is not mapped stays root's: nobody can be given the file.
fn allowed(done: rustix::io::Result<()>, real: bool) -> io::Result<()> {
    match done {
        Err(Errno::INVAL | Errno::PERM) if !real => Ok(()),
        done => Ok(done?),
    }
}

/// Makes the directory `name` of `to`, or takes the one that is there, and opens it.
pub(crate) fn directory(to: BorrowedFd<'_>, name: &OsStr) -> io::Result<OwnedFd> {
    match mkdirat(to, name, Mode::from_raw_mode(0o700)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(error.into()),
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(to, name, flags, Mode::empty()).map_err(|error| match error {
        Errno::NOTDIR | Errno::LOOP => io::Error::other("a file is in the way of a directory"),
        other => other.into(),
    })
}

/// Users' attributes, and capabilities. The rest belongs to where the file was; what cannot be kept is let go.
fn copy_xattrs(source: BorrowedFd<'_>, dest: BorrowedFd<'_>) -> io::Result<()> {
    let Ok(source) = beneath::reopen(source, OFlags::RDONLY | OFlags::NONBLOCK) else { return Ok(()) };
    let mut list = vec![0u8; 64 << 10];
    let listed = match rustix::fs::flistxattr(&source, &mut list) {
        Ok(length) => &list[..length],
        Err(_) => return Ok(()),
    };
    for name in listed.split(|&b| b == 0) {
        let users = name.starts_with(b"user.") && !name.starts_with(b"user.overlay.");
        if !users && name != b"security.capability" {
            continue;
        }
        let mut value = vec![0u8; 64 << 10];
        if let Ok(length) = rustix::fs::fgetxattr(&source, name, &mut value) {
            let set = rustix::fs::fsetxattr(dest, name, &value[..length], XattrFlags::empty());
            if set == Err(Errno::NOSPC) {
                return Err(Errno::NOSPC.into());
            }
        }
    }
    Ok(())
}

fn mode(stat: &Stat) -> Mode {
    Mode::from_raw_mode(stat.st_mode & 0o7777)
}
