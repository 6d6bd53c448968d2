//! The supervisor's own small tmpfs: what containers' root file systems are assembled from.
//!
//! It is mounted over `/` of the supervisor's mount namespace, where no path leads (paths start below it), and is the
//! supervisor's working directory, by which clones find their copy of it. So no mount point on the host is needed and
//! nothing is left behind. It holds:
//!
//! - `skeleton/`: the bottom-most layer of every container: `/proc`, `/dev`, `/sys` and the `/etc` files that are
//!   mounted over, so that mounting leaves no stub in a container's upper layer;
//! - `dev/`: the default device nodes (not where we may not make any, as in a user namespace);
//! - `empty/`, shown in place of masked directories; `root/`, `extra/`, `source/` and `file`, mount points for clones.

use crate::Error;
use crate::error::Context;
use crate::namespace::Mode;
use rustix::fs::{CWD, FileType, Mode as Bits, OFlags, makedev, mkdirat, mknodat};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, fsconfig_create, fsconfig_set_string, fsmount,
    fsopen, move_mount,
};
use rustix::thread::UnshareFlags;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The tmpfs is made, and is the working directory.
#[derive(Debug)]
pub(crate) struct Staging(());

/// Name, major and minor number of the devices every container has.
pub(crate) const DEFAULT_DEVICES: [(&str, u32, u32); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

const STANDARD_DIRECTORIES: [&str; 4] = ["/proc", "/dev", "/sys", "/etc"];
const STANDARD_FILES: [&str; 3] = ["/etc/resolv.conf", "/etc/hosts", "/etc/hostname"];

impl Staging {
    pub(crate) const SKELETON: &str = "skeleton";
    pub(crate) const DEVICES: &str = "dev";
    pub(crate) const EMPTY: &str = "empty";
    pub(crate) const ROOT: &str = "root";
    pub(crate) const EXTRA: &str = "extra";
    pub(crate) const SOURCE: &str = "source";
    pub(crate) const FILE: &str = "file";

    /// Moves this process into a mount namespace of its own, and makes the tmpfs its working directory.
    pub(crate) fn create(mode: Mode) -> Result<Staging, Error> {
        // Nodes and directories are made with the modes they are given.
        rustix::process::umask(Bits::empty());
        let doing = || "preparing the supervisor's tmpfs";
        crate::sys::unshare(UnshareFlags::NEWNS).doing(doing)?;
        let tmpfs = tmpfs(&[("mode", "0755"), ("size", "1m"), ("nr_inodes", "4096")])?;
        move_mount(&tmpfs, c"", CWD, c"/", MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH).doing(doing)?;
        rustix::process::fchdir(&tmpfs).doing(doing)?;
        let at = tmpfs.as_fd();
        for name in [Self::SKELETON, Self::DEVICES, Self::EMPTY, Self::ROOT, Self::EXTRA, Self::SOURCE] {
            directory(at, name)?;
        }
        file(at, Self::FILE)?;
        let skeleton = rustix::fs::openat(at, Self::SKELETON, OFlags::PATH | OFlags::CLOEXEC, Bits::empty())
            .doing(doing)?;
        for path in STANDARD_DIRECTORIES {
            directory(skeleton.as_fd(), &path[1..])?;
        }
        for path in STANDARD_FILES {
            file(skeleton.as_fd(), &path[1..])?;
        }
        if mode == Mode::Root {
            for (name, major, minor) in DEFAULT_DEVICES {
                let path = format!("{}/{name}", Self::DEVICES);
                let bits = Bits::from_raw_mode(0o666);
                match mknodat(at, path, FileType::CharacterDevice, bits, makedev(major, minor)) {
                    // In a container without CAP_MKNOD or a device cgroup that allows it: those there are must do.
                    Err(Errno::PERM) => break,
                    made => made.doing(|| format!("making the device {name}"))?,
                }
            }
        }
        Ok(Staging(()))
    }

    /// Whether the skeleton has a mount point at this path.
    pub(crate) fn covers(path: &std::path::Path) -> bool {
        STANDARD_DIRECTORIES.iter().chain(&STANDARD_FILES).any(|&p| std::path::Path::new(p) == path)
    }
}

/// A new tmpfs as a detached mount. Device nodes in it work.
pub(crate) fn tmpfs(options: &[(&str, &str)]) -> Result<OwnedFd, Error> {
    let doing = || "mounting a tmpfs";
    let context = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC).doing(doing)?;
    fsconfig_set_string(&context, "source", "tmpfs").doing(doing)?;
    for &(key, value) in options {
        fsconfig_set_string(&context, key, value).doing(doing)?;
    }
    fsconfig_create(&context).doing(doing)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes).doing(doing)
}

fn directory(at: BorrowedFd<'_>, name: &str) -> Result<(), Error> {
    mkdirat(at, name, Bits::from_raw_mode(0o755)).doing(|| format!("making {name} in the supervisor's tmpfs"))
}

fn file(at: BorrowedFd<'_>, name: &str) -> Result<(), Error> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    rustix::fs::openat(at, name, flags, Bits::from_raw_mode(0o644))
        .doing(|| format!("making {name} in the supervisor's tmpfs"))?;
    Ok(())
}
