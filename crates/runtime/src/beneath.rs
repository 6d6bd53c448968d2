//! Paths under a root whose content nobody vouches for: an image, a build context, a container.
//!
//! Every function takes a directory as the root and a path inside it, absolute or not, and lets the kernel resolve the
//! path as if that directory were `/` (`openat2` with `RESOLVE_IN_ROOT`): no link, no `..` and no rename by another
//! process leads out. Magic links (`/proc/self/fd/3`) are not followed (`ELOOP`), so a root with a /proc in it is no
//! way out either. What is *not* here: any check of names by text.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

pub use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::fs::{CWD, RenameFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::path::Arg;

/// How often a resolution is tried anew when a rename or mount anywhere on the machine came between (`EAGAIN`).
const ATTEMPTS: usize = 256;

/// How many levels [`remove_children`] holds open at once.
const DESCENT: usize = 64;

/// Opens `path` as it reads inside `root`. `O_CLOEXEC` and `O_NOCTTY` are added; `mode` counts only with `O_CREAT`.
///
/// Opening a FIFO waits for its other end, and opening a device may do things: to read a file, use [`open_file`].
pub fn open_in_root(root: BorrowedFd<'_>, path: impl Arg, flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
    resolve(root, path, flags, mode, ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS)
}

/// As [`open_in_root`], but a link anywhere on the way is an error (`ELOOP`), also as the last part (unless that is
/// what is asked for, by `O_PATH | O_NOFOLLOW`).
pub fn open_without_links(
    root: BorrowedFd<'_>,
    path: impl Arg,
    flags: OFlags,
    mode: Mode,
) -> io::Result<OwnedFd> {
    resolve(root, path, flags, mode, ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS)
}

fn resolve(
    root: BorrowedFd<'_>,
    path: impl Arg,
    flags: OFlags,
    mode: Mode,
    how: ResolveFlags,
) -> io::Result<OwnedFd> {
    let mut flags = flags | OFlags::CLOEXEC;
    if !flags.contains(OFlags::PATH) {
        flags |= OFlags::NOCTTY;
    }
    // The kernel refuses permission bits where nothing can be created.
    let creates = flags.contains(OFlags::CREATE) || flags.contains(OFlags::TMPFILE);
    let mode = if creates { mode } else { Mode::empty() };
    Ok(path.into_with_c_str(|path| {
        for _ in 0..ATTEMPTS {
            match rustix::fs::openat2(root, path, flags, mode, how) {
                Err(Errno::AGAIN | Errno::INTR) => rustix::thread::sched_yield(),
                done => return done,
            }
        }
        Err(Errno::AGAIN)
    })?)
}

/// Opens the directory `path` for use as a root, or as the directory of the `*at` calls (`O_PATH`). Trusts `path`.
pub fn open_root(path: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::openat(CWD, path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

/// Opens the regular file `path` for reading, links followed. Anything else is refused without being opened, so that
/// no FIFO blocks and no device acts: `EISDIR` for a directory, `EINVAL` for the rest.
pub fn open_file(root: BorrowedFd<'_>, path: impl Arg) -> io::Result<OwnedFd> {
    regular(open_in_root(root, path, OFlags::PATH, Mode::empty())?)
}

/// As [`open_file`], for a `path` on the host: trusted to be the one that is meant, while what is there is not.
pub fn open_host_file(path: &Path) -> io::Result<OwnedFd> {
    regular(rustix::fs::openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?)
}

fn regular(handle: OwnedFd) -> io::Result<OwnedFd> {
    match FileType::from_raw_mode(rustix::fs::fstat(&handle)?.st_mode) {
        FileType::RegularFile => reopen(handle.as_fd(), OFlags::RDONLY),
        FileType::Directory => Err(Errno::ISDIR.into()),
        _ => Err(Errno::INVAL.into()),
    }
}

/// Opens again, with other flags, what an `O_PATH` descriptor refers to; needs /proc.
pub fn reopen(handle: BorrowedFd<'_>, flags: OFlags) -> io::Result<OwnedFd> {
    let link = format!("/proc/self/fd/{}", handle.as_raw_fd());
    Ok(rustix::fs::openat(CWD, link, flags | OFlags::CLOEXEC | OFlags::NOCTTY, Mode::empty())?)
}

/// The status of `path`, links followed.
pub fn stat(root: BorrowedFd<'_>, path: impl Arg) -> io::Result<Stat> {
    let handle = open_in_root(root, path, OFlags::PATH, Mode::empty())?;
    Ok(rustix::fs::fstat(&handle)?)
}

/// The status of `path` itself, if it is a link; links on the way are followed.
pub fn lstat(root: BorrowedFd<'_>, path: impl Arg) -> io::Result<Stat> {
    let handle = open_in_root(root, path, OFlags::PATH | OFlags::NOFOLLOW, Mode::empty())?;
    Ok(rustix::fs::fstat(&handle)?)
}

/// The text of the link `path`; `EINVAL` if it is none.
pub fn readlink(root: BorrowedFd<'_>, path: impl Arg) -> io::Result<PathBuf> {
    let handle = open_in_root(root, path, OFlags::PATH | OFlags::NOFOLLOW, Mode::empty())?;
    match rustix::fs::readlinkat(&handle, c"", Vec::new()) {
        Ok(target) => Ok(PathBuf::from(OsString::from_vec(target.into_bytes()))),
        // What readlinkat says of an empty path whose descriptor is no link.
        Err(Errno::NOENT) => Err(Errno::INVAL.into()),
        Err(errno) => Err(errno.into()),
    }
}

/// Splits `path` into its directory, opened (`O_PATH`) with links followed, and its last name, which is left alone:
/// what the calls that create, remove or rename a name are to be given. `EINVAL` where there is no such name (`/`, or
/// an end in `..`).
pub fn parent(root: BorrowedFd<'_>, path: &Path) -> io::Result<(OwnedFd, OsString)> {
    let name = path.file_name().ok_or(Errno::INVAL)?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    let handle = open_in_root(root, directory.unwrap_or(Path::new(".")), flags, Mode::empty())?;
    Ok((handle, name.to_owned()))
}

/// Creates the directory `path`; its parent must be there. `mode` is subject to the umask.
pub fn mkdir(root: BorrowedFd<'_>, path: &Path, mode: Mode) -> io::Result<()> {
    let (directory, name) = parent(root, path)?;
    Ok(rustix::fs::mkdirat(directory, name.as_os_str(), mode)?)
}

/// Creates the directory `path` and those above it that are missing, and returns it opened (`O_PATH`).
///
/// Links to directories on the way are followed inside the root; `..` is resolved by the kernel, where it stands.
/// `made` is called with each directory made, opened, and with its path as it was reached (links not resolved): the
/// place to set owner, mode and times. A dangling link on the way is `EEXIST`, another kind of file `ENOTDIR`.
pub fn mkdir_all(
    root: BorrowedFd<'_>,
    path: &Path,
    mode: Mode,
    mut made: impl FnMut(BorrowedFd<'_>, &Path) -> io::Result<()>,
) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    // The common case is that it is all there.
    match open_in_root(root, path, flags, Mode::empty()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        done => return done,
    }
    let mut reached = PathBuf::from("/");
    let mut directory = open_in_root(root, c"/", flags, Mode::empty())?;
    for component in path.components() {
        match component {
            Component::RootDir | Component::CurDir | Component::Prefix(_) => continue,
            Component::ParentDir => reached.push(".."),
            Component::Normal(name) => {
                reached.push(name);
                match rustix::fs::mkdirat(&directory, name, mode) {
                    Ok(()) => {
                        let new = open_without_links(directory.as_fd(), name, flags, mode)?;
                        made(new.as_fd(), &reached)?;
                        directory = new;
                        continue;
                    }
                    Err(Errno::EXIST) => {}
                    Err(errno) => return Err(errno.into()),
                }
            }
        }
        directory = match open_in_root(root, &reached, flags, Mode::empty()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(Errno::EXIST.into());
            }
            done => done?,
        };
    }
    Ok(directory)
}

/// Removes `path` with everything below it; a link is removed, not followed, and mounts are not crossed (`EXDEV`).
/// Nothing there is `ENOENT`.
pub fn remove_all(root: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let (directory, name) = parent(root, path)?;
    remove_entry(directory.as_fd(), name.as_bytes())
}

/// Empties an opened directory (readable or `O_PATH`), which itself stays.
pub fn remove_children(directory: BorrowedFd<'_>) -> io::Result<()> {
    let top = open_to_clear(directory, b".")?;
    let mut below: Vec<(OwnedFd, Vec<u8>)> = Vec::new();
    let mut moved = 0u64;
    loop {
        let current = below.last().map_or(top.as_fd(), |(open, _)| open.as_fd());
        if let Some(name) = clear_files(current)? {
            if below.len() < DESCENT {
                let child = open_to_clear(current, &name)?;
                below.push((child, name));
            } else {
                // A hostile tree may be deeper than there are descriptors: its lower part is made a child of the top.
                let shallow = format!(".deep-{moved}");
                match rustix::fs::renameat_with(
                    current,
                    name.as_slice(),
                    &top,
                    shallow.as_str(),
                    RenameFlags::NOREPLACE,
                ) {
                    Ok(()) | Err(Errno::EXIST) => moved += 1,
                    Err(errno) => return Err(errno.into()),
                }
            }
            continue;
        }
        let Some((_, name)) = below.pop() else { return Ok(()) };
        let above = below.last().map_or(top.as_fd(), |(open, _)| open.as_fd());
        rustix::fs::unlinkat(above, name.as_slice(), AtFlags::REMOVEDIR)?;
    }
}

fn remove_entry(directory: BorrowedFd<'_>, name: &[u8]) -> io::Result<()> {
    match rustix::fs::unlinkat(directory, name, AtFlags::empty()) {
        Err(Errno::ISDIR) => {}
        done => return Ok(done?),
    }
    remove_children(open_to_clear(directory, name)?.as_fd())?;
    Ok(rustix::fs::unlinkat(directory, name, AtFlags::REMOVEDIR)?)
}

fn open_to_clear(directory: BorrowedFd<'_>, name: &[u8]) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
    let how = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    resolve(directory, name, flags, Mode::empty(), how)
}

/// Removes what is no directory or an empty one; returns a directory that has to be emptied first.
fn clear_files(directory: BorrowedFd<'_>) -> io::Result<Option<Vec<u8>>> {
    for entry in rustix::fs::Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let removed = match entry.file_type() {
            FileType::Directory => Err(Errno::ISDIR),
            _ => rustix::fs::unlinkat(directory, name, AtFlags::empty()),
        };
        match removed {
            Err(Errno::ISDIR) => {}
            done => {
                done?;
                continue;
            }
        }
        match rustix::fs::unlinkat(directory, name, AtFlags::REMOVEDIR) {
            Err(Errno::NOTEMPTY | Errno::EXIST) => return Ok(Some(name.to_bytes().to_vec())),
            done => done?,
        }
    }
    Ok(None)
}
