//! The upper directory of a finished step, made into a layer directory.
//!
//! Overlayfs leaves notes in it (`user.overlay.origin`, `impure`, `uuid`) that mean something only to that mount: they
//! go. Under a `SOURCE_DATE_EPOCH` no file is newer than it. Note what the upper also holds: the directories above
//! each change, copied up with the metadata of the lowers' and, where a name was added or removed, a new time.
//!
//! Whiteouts and opaque marks stay as they are. Owners recorded beside the step are `owners::settle`'s, which must run
//! before, as it reads those notes.

use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use runtime::beneath;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, openat, statat};

use crate::Mtime;
use crate::apply::timestamps;
use crate::error::{Doing as _, Error};
use crate::view::non_empty;
use crate::{path, xattrs};

/// Strips overlayfs's notes from the tree `upper`, its root included, and sets times after `epoch` (seconds since
/// 1970) to it.
///
/// # Errors
/// [`Error::Io`] with the path.
pub fn normalize(upper: &Path, epoch: Option<i64>) -> Result<(), Error> {
    let root = beneath::open_root(upper).doing("opening", upper)?;
    let mut todo = vec![Vec::new()];
    // One directory is open at a time, however many there are side by side or above each other.
    while let Some(at) = todo.pop() {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let fd = beneath::open_without_links(root.as_fd(), non_empty(&at), flags, Mode::empty());
        let fd = fd.map_err(|e| failed(upper, &at, e))?;
        directory(&fd, epoch).map_err(|e| failed(upper, &at, e))?;
        let listing = Dir::read_from(&fd).map_err(|e| failed(upper, &at, e))?;
        for entry in listing {
            let entry = entry.map_err(|e| failed(upper, &at, e))?;
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") {
                continue;
            }
            let below = path::join(&at, name);
            let is_directory = entry.file_type() == FileType::Directory
                || child(&fd, name, epoch).map_err(|e| failed(upper, &below, e))?;
            if is_directory {
                todo.push(below);
            }
        }
    }
    Ok(())
}

fn directory(fd: &OwnedFd, epoch: Option<i64>) -> std::io::Result<()> {
    xattrs::strip_notes(fd)?;
    let stat = rustix::fs::fstat(fd)?;
    if let Some(mtime) = clamped(&stat, epoch) {
        rustix::fs::futimens(fd, &timestamps(mtime))?;
    }
    Ok(())
}

/// Does the work for what is no directory; says whether it is one.
fn child(parent: &OwnedFd, name: &[u8], epoch: Option<i64>) -> std::io::Result<bool> {
    let stat = statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => return Ok(true),
        FileType::RegularFile => xattrs::strip_notes(openat(parent, name, flags, Mode::empty())?)?,
        _ => {}
    }
    if let Some(mtime) = clamped(&stat, epoch) {
        rustix::fs::utimensat(parent, name, &timestamps(mtime), AtFlags::SYMLINK_NOFOLLOW)?;
    }
    Ok(false)
}

fn clamped(stat: &Stat, epoch: Option<i64>) -> Option<Mtime> {
    let epoch = epoch?;
    let later = stat.st_mtime > epoch || (stat.st_mtime == epoch && stat.st_mtime_nsec > 0);
    later.then_some(Mtime { sec: epoch, nsec: 0 })
}

fn failed(upper: &Path, at: &[u8], error: impl Into<std::io::Error>) -> Error {
    use std::os::unix::ffi::OsStrExt as _;
    let path = upper.join(std::ffi::OsStr::from_bytes(at));
    Error::io(format!("normalising {}", path.display()), error)
}
