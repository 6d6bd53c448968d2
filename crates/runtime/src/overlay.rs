//! A stack of directories as one tree: overlayfs, as a detached mount.
//!
//! The result is a file descriptor. It serves as the directory of `openat2` and its kin, it can be moved into a
//! container by `move_mount`, and when its last copy closes the mount is gone, also when that is because the process
//! was killed. No mount point is made (but see `Method::Legacy`).
//!
//! One set of options serves root and user namespaces alike, so that both leave the same files in the upper
//! directory. Deliberately absent: locking. Two mounts of one upper at a time destroy it, and the kernel only warns.

use std::fmt::Write;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, Ordering};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, OpenTreeFlags, UnmountFlags, fsconfig_create,
    fsconfig_set_fd, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, open_tree, unmount,
};
use rustix::thread::UnshareFlags;

use crate::error::Context;
use crate::filesystem::FileSystem;
use crate::{Error, beneath, sys};

/// The most lower directories that overlayfs takes (`OVL_MAX_STACK`).
pub const MAX_LOWERS: usize = 500;

/// A stack of directories, to be seen as one tree.
#[derive(Clone, Copy, Debug)]
pub struct Overlay<'a> {
    /// The read-only directories, topmost first; at most [`MAX_LOWERS`].
    pub lowers: &'a [PathBuf],
    /// The writable layer; without one the tree is read-only.
    pub upper: Option<Upper<'a>>,
}

/// The writable layer of an [`Overlay`]: two directories on one file system, which may not be overlayfs itself.
#[derive(Clone, Copy, Debug)]
pub struct Upper<'a> {
    /// Where what is written goes. After the mount is gone this is the difference to the lowers.
    pub fs: &'a Path,
    /// Overlayfs's own scratch directory, empty at first.
    pub work: &'a Path,
}

/// Overlayfs's options that are `key=value`, for every mount. Why these: whiteouts and opaque marks must be in
/// `user.` xattrs to be the same in and out of a user namespace; redirects, metadata-only copies and the index would
/// put files in the upper directory that mean something only there.
const OPTIONS: [(&str, &str); 4] =
    [("redirect_dir", "nofollow"), ("metacopy", "off"), ("index", "off"), ("xino", "off")];

/// Keeps overlayfs from writing a uuid xattr to the upper directory. Linux 6.6, hence separate.
const UUID: (&str, &str) = ("uuid", "null");

/// Ways to tell the kernel of the directories, newest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Method {
    /// `lowerdir+` by file descriptor: Linux 6.13, and some versions later with `O_PATH`.
    Descriptor,
    /// `lowerdir+` by a path, which may have 255 bytes: /proc/self/fd/N. Linux 6.8.
    Path,
    /// `mount(2)` with one string of options, kept short by descriptors' numbers for paths. It needs a mount point:
    /// the work directory, else a temporary directory, for the moment until the mount is detached.
    Legacy,
}

impl Method {
    /// Whether a kernel that does not know this way answers with `errno`.
    fn may_be_unknown(self, errno: Option<i32>) -> bool {
        match errno {
            Some(libc::EINVAL) => true,
            // Before Linux 6.5 overlayfs takes its options as one string, and no descriptors at all; from then on
            // fsconfig(2) takes descriptors, but for some versions none that are O_PATH, as ours are.
            Some(libc::EOPNOTSUPP | libc::EBADF) => self == Method::Descriptor,
            _ => false,
        }
    }
}

const METHODS: [Method; 3] = [Method::Descriptor, Method::Path, Method::Legacy];

/// The index in [`METHODS`] of the first one not known to fail.
static FIRST: AtomicU8 = AtomicU8::new(0);

/// Mounts `overlay`, detached: see the module's words on what the descriptor is.
///
/// Few layers are not worth a mount: one lower without an upper is just opened (`O_PATH`), an upper without lowers is
/// a bind mount of it, and nothing at all is an empty, read-only tmpfs. What an earlier, `volatile` mount of the same
/// upper left in the work directory to prevent a second one is removed.
///
/// # Errors
/// [`Error::TooManyLayers`]; [`Error::UpperFileSystem`] where the upper is on a file system that cannot be one;
/// [`Error::Unsupported`] where the kernel has no overlayfs; [`Error::Io`] with the path for a missing directory, and
/// for all else. Needs what [`crate::enter`] gives.
pub fn mount_overlay(overlay: &Overlay<'_>) -> Result<OwnedFd, Error> {
    if overlay.lowers.len() > MAX_LOWERS {
        return Err(Error::TooManyLayers { count: overlay.lowers.len(), limit: MAX_LOWERS });
    }
    match (overlay.lowers, overlay.upper) {
        ([], None) => return empty(),
        ([], Some(upper)) => return bind(upper.fs),
        ([only], None) => return open_directory(only),
        _ => {}
    }
    if let Some(upper) = overlay.upper {
        allow_reuse(upper.work)?;
    }
    let only = forced_method();
    let first = match only {
        Some(method) => method as u8,
        None => FIRST.load(Ordering::Relaxed),
    };
    let mut failure = None;
    for method in &METHODS[usize::from(first)..] {
        let mounted = match method {
            Method::Descriptor | Method::Path => by_fsopen(overlay, *method),
            Method::Legacy => by_mount(overlay),
        };
        match mounted {
            Ok(mount) => {
                if only.is_none() {
                    FIRST.store(*method as u8, Ordering::Relaxed);
                }
                return Ok(mount);
            }
            // No other error is worth another method.
            Err(error) if method.may_be_unknown(error.raw_os_error()) => {
                // Of a way that the kernel does not have, the answer says nothing of the directories.
                let said_something =
                    |kept: &Error| !matches!(kept.raw_os_error(), Some(libc::EOPNOTSUPP | libc::EBADF));
                failure = failure.filter(said_something).or(Some(error));
            }
            Err(error) => return Err(explain(overlay, error)),
        }
        if only.is_some() {
            break;
        }
    }
    let failure = failure.expect("because every method failed, and the first failure is kept");
    Err(explain(overlay, failure))
}

/// `STRAKE_OVERLAY_MOUNT=descriptor|path|legacy` confines us to one method, to test the ways of older kernels.
fn forced_method() -> Option<Method> {
    match std::env::var_os("STRAKE_OVERLAY_MOUNT")?.to_str()? {
        "descriptor" => Some(Method::Descriptor),
        "path" => Some(Method::Path),
        "legacy" => Some(Method::Legacy),
        _ => None,
    }
}

fn by_fsopen(overlay: &Overlay<'_>, method: Method) -> Result<OwnedFd, Error> {
    let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)
        .doing(|| format!("mounting {}", describe(overlay)))
        .map_err(no_overlayfs)?;
    configure(context.as_fd(), overlay, method).map_err(|failure| match failure {
        Failure::Directory(error) => error,
        Failure::Option(errno) => {
            let mut doing = format!("mounting {}", describe(overlay));
            let log = messages(context.as_fd());
            if !log.is_empty() {
                let _ = write!(doing, " ({log})");
            }
            Error::io(doing, errno)
        }
    })?;
    let attributes = if overlay.upper.is_some() {
        MountAttrFlags::empty()
    } else {
        // A tree that is only looked at: its devices are names, nothing to be opened.
        MountAttrFlags::MOUNT_ATTR_RDONLY | MountAttrFlags::MOUNT_ATTR_NODEV
    };
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
        .doing(|| format!("mounting {}", describe(overlay)))
}

enum Failure {
    /// A directory could not be opened.
    Directory(Error),
    /// The kernel did not take an option, or the whole.
    Option(Errno),
}

impl From<Errno> for Failure {
    fn from(errno: Errno) -> Failure {
        Failure::Option(errno)
    }
}

fn configure(context: BorrowedFd<'_>, overlay: &Overlay<'_>, method: Method) -> Result<(), Failure> {
    // Each descriptor is closed once the kernel has taken the directory: 500 layers must not cost 500 of them.
    let add = |key: &str, path: &Path| -> Result<(), Failure> {
        let directory = open_directory(path).map_err(Failure::Directory)?;
        match method {
            Method::Descriptor => fsconfig_set_fd(context, key, &directory)?,
            Method::Path | Method::Legacy => fsconfig_set_string(context, key, link_of(&directory))?,
        }
        Ok(())
    };
    fsconfig_set_string(context, "source", "strake")?;
    for lower in overlay.lowers {
        add("lowerdir+", lower)?;
    }
    if let Some(upper) = overlay.upper {
        add("upperdir", upper.fs)?;
        add("workdir", upper.work)?;
        fsconfig_set_flag(context, "volatile")?;
    }
    fsconfig_set_flag(context, "userxattr")?;
    for (key, value) in OPTIONS {
        fsconfig_set_string(context, key, value)?;
    }
    match fsconfig_set_string(context, UUID.0, UUID.1) {
        Ok(()) | Err(Errno::INVAL) => {}
        Err(errno) => return Err(errno.into()),
    }
    Ok(fsconfig_create(context)?)
}

fn by_mount(overlay: &Overlay<'_>) -> Result<OwnedFd, Error> {
    let lowers: Vec<OwnedFd> =
        overlay.lowers.iter().map(|path| open_directory(path)).collect::<Result<_, _>>()?;
    let upper = match overlay.upper {
        Some(upper) => Some((open_directory(upper.fs)?, open_directory(upper.work)?)),
        None => None,
    };
    let mut options = String::from("userxattr,lowerdir=");
    for (n, lower) in lowers.iter().enumerate() {
        let colon = if n == 0 { "" } else { ":" };
        let _ = write!(options, "{colon}{}", lower.as_raw_fd());
    }
    if let Some((fs, work)) = &upper {
        let _ = write!(options, ",upperdir={},workdir={},volatile", fs.as_raw_fd(), work.as_raw_fd());
    }
    for (key, value) in OPTIONS {
        let _ = write!(options, ",{key}={value}");
    }
    let (point, temporary) = match overlay.upper {
        Some(upper) => (upper.work.to_owned(), None),
        None => {
            let point = temporary_directory()?;
            (point.0.clone(), Some(point))
        }
    };
    // Not its canonical name: a directory in a detached mount would be mistaken for one under `/`.
    let point = std::path::absolute(&point).doing(|| point.display().to_string())?;

    let read_only = overlay.upper.is_none();
    let mounted = if sys::is_single_threaded() {
        // As in a clone that becomes a container, where a thread would take a pid.
        keep_working_directory(|| mount_from_descriptors(&point, &options, read_only))
    } else {
        // The working directory of a thread by itself, as others use theirs.
        std::thread::scope(|scope| {
            let mount = || {
                sys::unshare(UnshareFlags::FS)?;
                mount_from_descriptors(&point, &options, read_only)
            };
            scope.spawn(mount).join().unwrap_or_else(|_| Err(Errno::CANCELED.into()))
        })
    };
    drop(temporary);
    mounted.doing(|| format!("mounting {}", describe(overlay))).map_err(no_overlayfs)
}

fn keep_working_directory<T>(inside: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let before =
        rustix::fs::openat(CWD, c".", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let done = inside();
    rustix::process::fchdir(before)?;
    done
}

/// Moves to /proc/self/fd, where the numbers of the options are relative paths.
fn mount_from_descriptors(point: &Path, options: &str, read_only: bool) -> io::Result<OwnedFd> {
    rustix::process::chdir("/proc/self/fd")?;
    let flags = if read_only { MountFlags::RDONLY | MountFlags::NODEV } else { MountFlags::empty() };
    let with_uuid = format!("{options},{}={}", UUID.0, UUID.1);
    let mount = |options: &str| {
        let options = std::ffi::CString::new(options).map_err(|_| Errno::INVAL)?;
        rustix::mount::mount("strake", point, "overlay", flags, options.as_c_str())
    };
    match mount(&with_uuid) {
        Err(Errno::INVAL) => mount(options)?,
        done => done?,
    }
    let detached = open_tree(CWD, point, OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC);
    unmount(point, UnmountFlags::DETACH)?;
    Ok(detached?)
}

/// A directory that is removed, if it is empty, when this is dropped.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

fn temporary_directory() -> Result<Temporary, Error> {
    let base = std::env::temp_dir();
    for n in 0.. {
        let path = base.join(format!("strake-mount-{}-{n}", std::process::id()));
        match fs::create_dir(&path) {
            Ok(()) => return Ok(Temporary(path)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && n < 10_000 => {}
            Err(error) => return Err(Error::io(format!("creating {}", path.display()), error)),
        }
    }
    unreachable!("the loop has no end but a return")
}

/// An empty tree that nothing can be written to.
fn empty() -> Result<OwnedFd, Error> {
    let mount = || {
        let context = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
        fsconfig_set_string(&context, "source", "strake")?;
        fsconfig_set_string(&context, "mode", "0755")?;
        fsconfig_create(&context)?;
        let attributes = MountAttrFlags::MOUNT_ATTR_RDONLY | MountAttrFlags::MOUNT_ATTR_NODEV;
        fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
    };
    mount().doing(|| "mounting an empty tmpfs")
}

fn bind(path: &Path) -> Result<OwnedFd, Error> {
    open_tree(CWD, path, OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC)
        .doing(|| format!("mounting {}", path.display()))
}

fn open_directory(path: &Path) -> Result<OwnedFd, Error> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, path, flags, Mode::empty()).doing(|| path.display().to_string())
}

fn link_of(descriptor: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", descriptor.as_raw_fd())
}

/// Removes `work/work/incompat`, with which a `volatile` mount forbids the next one, as the kernel cannot know whether
/// the machine crashed between them. The store knows.
fn allow_reuse(work: &Path) -> Result<(), Error> {
    let root = open_directory(work)?;
    let mark = Path::new("work/incompat");
    match beneath::remove_all(root.as_fd(), mark) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::io(format!("removing {}", work.join(mark).display()), error))
        }
        _ => Ok(()),
    }
}

fn describe(overlay: &Overlay<'_>) -> String {
    let lowers = overlay.lowers.len();
    let layers = if lowers == 1 { "layer" } else { "layers" };
    match overlay.upper {
        Some(upper) => format!("an overlay of {lowers} {layers} and {}", upper.fs.display()),
        None => format!("an overlay of {lowers} {layers}"),
    }
}

/// What the kernel has to say of a failed mount, beyond its errno.
fn messages(context: BorrowedFd<'_>) -> String {
    let mut all = Vec::new();
    let mut message = [0; 1024];
    // Each read is one message, "e overlay: …"; the end is ENODATA.
    while let Ok(n @ 1..) = rustix::io::read(context, &mut message) {
        let text = String::from_utf8_lossy(&message[..n]);
        let text = text.trim_end();
        all.push(text.strip_prefix("e ").unwrap_or(text).to_owned());
    }
    all.join("; ")
}

fn no_overlayfs(error: Error) -> Error {
    match error.raw_os_error() {
        Some(libc::ENODEV) => Error::Unsupported {
            what: "this kernel has no overlayfs".into(),
            remedy: "load it with `modprobe overlay`, or use a kernel built with CONFIG_OVERLAY_FS".into(),
        },
        _ => error,
    }
}

/// Looks for the reason behind the kernel's usual answer, "invalid argument".
fn explain(overlay: &Overlay<'_>, error: Error) -> Error {
    let Some(upper) = overlay.upper else { return error };
    if !matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EOPNOTSUPP | libc::EPERM)) {
        return error;
    }
    match FileSystem::of(upper.fs) {
        Ok(found) if !found.can_hold_upper() => {
            Error::UpperFileSystem { path: upper.fs.to_owned(), kind: found.to_string() }
        }
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_that_do_not_know_a_way_are_told_from_failures() {
        // Kernels before 6.5 answer EOPNOTSUPP to a descriptor, and later ones EBADF, as long as they take none with
        // O_PATH: Debian 13's 6.12.
        for errno in [libc::EOPNOTSUPP, libc::EBADF] {
            assert!(Method::Descriptor.may_be_unknown(Some(errno)));
            assert!(!Method::Legacy.may_be_unknown(Some(errno)));
        }
        assert!(METHODS.iter().all(|method| method.may_be_unknown(Some(libc::EINVAL))));
        assert!(METHODS.iter().all(|method| !method.may_be_unknown(Some(libc::ENOENT))));
    }
}
