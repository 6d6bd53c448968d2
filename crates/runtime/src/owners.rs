//! Owners where only one id is mapped: a container's chown family answered with success, and remembered.
//!
//! (Being written. For the container: after everything else is set up and just before the normal seccomp filter,
//! call [`listen`] and hand the descriptor to the supervisor, which starts a [`Recorder`] with it.)

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::process::Pid;

use crate::Error;

/// What a container's processes asked one file's owner to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnerRecord {
    /// Where the file was in the container when last heard of.
    pub path: PathBuf,
    /// The file in the upper directory.
    pub file: FileId,
    /// The owner asked for; `None` where only the group was changed.
    pub uid: Option<u32>,
    /// The group asked for; `None` where only the owner was changed.
    pub gid: Option<u32>,
    /// The device that the (regular, empty) file stands for.
    pub device: Option<Device>,
}

/// A device node that could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Device {
    /// `S_IFCHR` or `S_IFBLK`, and permissions.
    pub mode: u32,
    /// Major and minor number, as `makedev(3)` packs them.
    pub rdev: u64,
}

/// A file that was never another: its inode number, and its time of birth against the number's reuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileId {
    /// `st_dev` of the upper directory's file system.
    pub dev: u64,
    /// `st_ino` in the upper directory.
    pub ino: u64,
    /// `stx_btime` in seconds and nanoseconds; zero where the file system keeps none.
    pub born: (i64, u32),
}

/// In the container's first process, as late as possible (its own `setuid` and `setgroups` calls would be answered
/// with success and do nothing), with CAP_SYS_ADMIN in the user namespace or no_new_privs: installs the filter.
/// The descriptor goes to the supervisor, for [`Recorder::start`]; calls of the family wait until that happened.
#[allow(dead_code)]
pub(crate) fn listen() -> Result<OwnedFd, Error> {
    Err(Error::Unsupported { what: "not built yet".into(), remedy: "wait".into() })
}

/// A process beside the supervisor that answers one container's calls until the last of its processes is gone.
#[derive(Debug)]
#[allow(dead_code)]
pub(crate) struct Recorder {
    pidfd: OwnedFd,
}

#[allow(dead_code)]
impl Recorder {
    /// Starts it (from a single-threaded process). `init` is the container's first process as seen from here.
    pub(crate) fn start(_listener: OwnedFd, _init: Pid, _upper: Option<&Path>) -> Result<Recorder, Error> {
        Err(Error::Unsupported { what: "not built yet".into(), remedy: "wait".into() })
    }

    /// Readable when it has ended, which is soon after the container has; then [`Recorder::finish`] does not wait.
    pub(crate) fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// A memfd with the records, for [`decode`]: small to send to another process. Reaps the recorder's process.
    pub(crate) fn finish(self) -> Result<OwnedFd, Error> {
        Ok(self.pidfd)
    }
}

/// Reads what [`Recorder::finish`] gave.
#[allow(dead_code)]
pub(crate) fn decode(_records: OwnedFd) -> Result<Vec<OwnerRecord>, Error> {
    Ok(Vec::new())
}
