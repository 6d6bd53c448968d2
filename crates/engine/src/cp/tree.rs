//! Files and trees copied from one directory into another, by descriptors: no link in either is followed.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use runtime::beneath;
use rustix::fs::{
    AtFlags, Dir, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid, chmodat, chownat, fchmod,
    fchown, futimens, mkdirat, mknodat, openat, readlinkat, statat, symlinkat, unlinkat, utimensat,
};
use rustix::io::Errno;

/// The deepest tree copied: each level holds two descriptors open.
const DEPTH: usize = 400;

/// Whose the copies are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owners {
    /// The source's owners.
    Keep,
    /// Root's, as this process sees it: for an ordinary user, the user's own.
    Root,
}

/// Copies `name` of `from` to `to_name` of `to`. A file takes the place of one that is there; a directory
/// is merged into one that is there.
pub(crate) fn one(
    from: BorrowedFd<'_>,
    name: &OsStr,
    to: BorrowedFd<'_>,
    to_name: &OsStr,
    owners: Owners,
) -> io::Result<()> {
    at_depth(from, name, to, to_name, owners, 0)
}

/// Copies everything in `from` into `to`.
pub(crate) fn children(from: BorrowedFd<'_>, to: BorrowedFd<'_>, owners: Owners) -> io::Result<()> {
    each(from, to, owners, 0)
}

fn each(from: BorrowedFd<'_>, to: BorrowedFd<'_>, owners: Owners, depth: usize) -> io::Result<()> {
    if depth > DEPTH {
        return Err(io::Error::other(format!("directories are nested more than {DEPTH} deep")));
    }
    let mut names = Vec::new();
    for entry in Dir::read_from(from)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(OsString::from_vec(name.to_vec()));
        }
    }
    names.sort();
    for name in names {
        at_depth(from, &name, to, &name, owners, depth)?;
    }
    Ok(())
}

fn at_depth(
    from: BorrowedFd<'_>,
    name: &OsStr,
    to: BorrowedFd<'_>,
    to_name: &OsStr,
    owners: Owners,
    depth: usize,
) -> io::Result<()> {
    let stat = statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let kind = FileType::from_raw_mode(stat.st_mode);
    if kind == FileType::Directory {
        let source = openat(
            from,
            name,
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        let dest = make_directory(to, to_name, &stat, owners)?;
        each(source.as_fd(), dest.as_fd(), owners, depth + 1)?;
        return Ok(futimens(&dest, &times(&stat))?);
    }
    match unlinkat(to, to_name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(Errno::ISDIR) => return Err(io::Error::other("a directory is in the way of a file")),
        Err(error) => return Err(error.into()),
    }
    match kind {
        FileType::RegularFile => file(from, name, to, to_name, &stat, owners),
        FileType::Symlink => {
            symlinkat(readlinkat(from, name, Vec::new())?.as_c_str(), to, to_name)?;
            own(to, to_name, &stat, owners)?;
            Ok(utimensat(to, to_name, &times(&stat), AtFlags::SYMLINK_NOFOLLOW)?)
        }
        FileType::Fifo | FileType::CharacterDevice | FileType::BlockDevice => {
            mknodat(to, to_name, kind, mode(&stat), stat.st_rdev)?;
            chmodat(to, to_name, mode(&stat), AtFlags::empty())?;
            own(to, to_name, &stat, owners)?;
            Ok(utimensat(to, to_name, &times(&stat), AtFlags::SYMLINK_NOFOLLOW)?)
        }
        // A socket is nothing without the process behind it.
        _ => Ok(()),
    }
}

fn file(
    from: BorrowedFd<'_>,
    name: &OsStr,
    to: BorrowedFd<'_>,
    to_name: &OsStr,
    stat: &Stat,
    owners: Owners,
) -> io::Result<()> {
    let source = openat(from, name, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let dest = openat(to, to_name, flags, Mode::from_raw_mode(0o600))?;
    let (mut source, mut dest) = (File::from(source), File::from(dest));
    io::copy(&mut source, &mut dest)?;
    if owners == Owners::Keep {
        let (uid, gid) = ids(stat);
        fchown(&dest, uid, gid)?;
    }
    fchmod(&dest, mode(stat))?;
    Ok(futimens(&dest, &times(stat))?)
}

/// Makes the directory `name` of `to`, or takes the one that is there, and opens it.
pub(crate) fn make_directory(
    to: BorrowedFd<'_>,
    name: &OsStr,
    stat: &Stat,
    owners: Owners,
) -> io::Result<OwnedFd> {
    let made = match mkdirat(to, name, Mode::from_raw_mode(0o700)) {
        Ok(()) => true,
        Err(Errno::EXIST) => false,
        Err(error) => return Err(error.into()),
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = openat(to, name, flags, Mode::empty()).map_err(|error| match error {
        Errno::NOTDIR | Errno::LOOP => io::Error::other("a file is in the way of a directory"),
        other => other.into(),
    })?;
    if made {
        if owners == Owners::Keep {
            let (uid, gid) = ids(stat);
            fchown(&opened, uid, gid)?;
        }
        fchmod(&opened, mode(stat))?;
    }
    Ok(opened)
}

/// The directory and the name that `path`, a link perhaps, leads to inside `root`.
pub(crate) fn resolve(root: BorrowedFd<'_>, path: &Path) -> io::Result<(OwnedFd, OsString)> {
    let mut at = path.to_owned();
    for _ in 0..40 {
        let stat = beneath::lstat(root, &at)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
            return beneath::parent(root, &at);
        }
        let target = beneath::readlink(root, &at)?;
        at = at.parent().unwrap_or(Path::new("/")).join(target);
    }
    Err(Errno::LOOP.into())
}

fn own(to: BorrowedFd<'_>, name: &OsStr, stat: &Stat, owners: Owners) -> io::Result<()> {
    if owners == Owners::Keep {
        let (uid, gid) = ids(stat);
        chownat(to, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?;
    }
    Ok(())
}

fn ids(stat: &Stat) -> (Option<Uid>, Option<Gid>) {
    (Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))
}

fn mode(stat: &Stat) -> Mode {
    Mode::from_raw_mode(stat.st_mode & 0o7777)
}

fn times(stat: &Stat) -> Timestamps {
    let time = Timespec { tv_sec: stat.st_mtime, tv_nsec: stat.st_mtime_nsec as _ };
    Timestamps { last_access: time, last_modification: time }
}
