//! Device nodes in the container's /dev.
//!
//! Nodes are bind mounts, also for root: the container's own file systems are `nodev` (see [`super::rootfs`]), so that
//! CAP_MKNOD, which Docker grants, opens nothing even where no device cgroup can be set up. Root makes the nodes in the
//! supervisor's tmpfs; in a user namespace the host's are taken.

use super::Report;
use super::mounts::{Point, open_target};
use super::staging::{DEFAULT_DEVICES, Staging};
use crate::Error;
use crate::error::Context;
use crate::namespace::Mode;
use crate::spec::Device;
use rustix::fs::{CWD, FileType, Gid, Mode as Bits, OFlags, Uid, makedev, mknodat, symlinkat};
use rustix::io::Errno;
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// Which nodes to make.
pub(super) struct Devices<'a> {
    pub mode: Mode,
    /// Beyond those of every container.
    pub extra: &'a [Device],
    /// Whether /dev/console is needed.
    pub console: bool,
}

const LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];

/// Whether this is one of the devices that every container has.
pub(super) fn is_default(kind: FileType, rdev: u64) -> bool {
    kind == FileType::CharacterDevice
        && DEFAULT_DEVICES.iter().any(|&(_, major, minor)| rdev == makedev(major, minor))
}

impl Devices<'_> {
    /// Fills a new, empty /dev.
    pub(super) fn populate(&self, dev: BorrowedFd<'_>, report: &mut dyn Report) -> Result<(), Error> {
        for (name, ..) in DEFAULT_DEVICES {
            let own = format!("{}/{name}", Staging::DEVICES);
            let hosts = format!("/dev/{name}");
            let doing = || format!("binding /dev/{name}");
            let node = match self.mode {
                Mode::Root => match open_tree(CWD, own, tree_flags()) {
                    // None could be made.
                    Err(Errno::NOENT) => open_tree(CWD, hosts, tree_flags()),
                    opened => opened,
                },
                Mode::Mapped | Mode::SingleId => open_tree(CWD, hosts, tree_flags()),
            };
            match node {
                Ok(node) => {
                    make_file(dev, name).doing(doing)?;
                    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
                    move_mount(&node, c"", dev, name, flags).doing(doing)?;
                }
                Err(Errno::NOENT) => {
                    report.warning(format!("/dev/{name} is missing here, and in the container"))
                }
                Err(errno) => return Err(Error::io(doing(), errno)),
            }
        }
        for (name, target) in LINKS {
            symlinkat(target, dev, name).doing(|| format!("linking /dev/{name}"))?;
        }
        if Path::new("/proc/kcore").exists() {
            symlinkat("/proc/kcore", dev, "core").doing(|| "linking /dev/core")?;
        }
        if self.console {
            make_file(dev, "console").doing(|| "making /dev/console")?;
        }
        for device in self.extra {
            self.extra(dev, device, report)?;
        }
        Ok(())
    }

    fn extra(&self, dev: BorrowedFd<'_>, device: &Device, report: &mut dyn Report) -> Result<(), Error> {
        let path = device.path.as_path();
        let doing = || format!("making the device {}", path.display());
        let inside = path
            .strip_prefix("/dev")
            .map_err(|_| Error::Spec(format!("the device {} is not below /dev", path.display())))?;
        if DEFAULT_DEVICES.iter().any(|&(name, ..)| Path::new(name) == inside) {
            return Ok(());
        }
        let kind = match device.kind.as_str() {
            "c" | "u" => FileType::CharacterDevice,
            "b" => FileType::BlockDevice,
            "p" => FileType::Fifo,
            other => {
                return Err(Error::Spec(format!("unknown device type \"{other}\" of {}", path.display())));
            }
        };
        let made = match self.mode == Mode::Root || kind == FileType::Fifo {
            true => make_node(kind, device),
            false => Err(Errno::PERM),
        };
        let (node, name) = match made {
            Ok((node, name)) => (node, Some(name)),
            Err(Errno::PERM) => match host_node(kind, device) {
                Ok(node) => (node, None),
                Err(Errno::NOENT | Errno::NODEV) => {
                    report.warning(format!(
                        "the device {} is left out: strake may not make one here, and the host has none at \
                         that path",
                        path.display()
                    ));
                    return Ok(());
                }
                Err(errno) => return Err(Error::io(doing(), errno)),
            },
            Err(errno) => return Err(Error::io(doing(), errno)),
        };
        let target = open_target(dev, inside, Point::File).doing(doing)?;
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
        move_mount(&node, c"", &target, c"", flags).doing(doing)?;
        // The mount keeps the node; its name in the tmpfs, which other containers share, is no longer needed.
        name.map_or(Ok(()), |name| rustix::fs::unlink(name.as_str()).doing(doing))
    }
}

fn tree_flags() -> OpenTreeFlags {
    OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC
}

fn make_file(dev: BorrowedFd<'_>, name: &str) -> Result<(), Errno> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    rustix::fs::openat(dev, name, flags, Bits::from_raw_mode(0o666)).map(drop)
}

/// Makes the node in the supervisor's tmpfs; returns it as a mount, and its name there.
fn make_node(kind: FileType, device: &Device) -> Result<(OwnedFd, String), Errno> {
    // Our pid, but not as we see it: everyone's is 1.
    let own = rustix::fs::readlink("/proc/self", Vec::new())?;
    let name = format!("{}/made-by-{}", Staging::DEVICES, own.to_string_lossy());
    let mode = Bits::from_raw_mode(device.file_mode.unwrap_or(0o666) & 0o777);
    mknodat(CWD, name.as_str(), kind, mode, makedev(device.major, device.minor))?;
    let (uid, gid) = (device.uid.unwrap_or(0), device.gid.unwrap_or(0));
    if (uid, gid) != (0, 0) {
        rustix::fs::chown(name.as_str(), Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
    }
    Ok((open_tree(CWD, name.as_str(), tree_flags())?, name))
}

/// The host's node of the same path, if it is the same device.
fn host_node(kind: FileType, device: &Device) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let node = rustix::fs::open(device.path.as_path(), flags, Bits::empty())?;
    let stat = rustix::fs::fstat(&node)?;
    if FileType::from_raw_mode(stat.st_mode) != kind || stat.st_rdev != makedev(device.major, device.minor) {
        return Err(Errno::NODEV);
    }
    open_tree(&node, c"", tree_flags() | OpenTreeFlags::AT_EMPTY_PATH)
}

/// Shows the container's terminal as /dev/console.
pub(super) fn bind_console(root: BorrowedFd<'_>, terminal: BorrowedFd<'_>) -> Result<(), Error> {
    let doing = || "binding /dev/console";
    let node = open_tree(terminal, c"", tree_flags() | OpenTreeFlags::AT_EMPTY_PATH).doing(doing)?;
    let target = open_target(root, Path::new("/dev/console"), Point::File).doing(doing)?;
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(&node, c"", target.as_fd(), c"", flags).doing(doing)
}
