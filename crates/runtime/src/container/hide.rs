//! Masked and read-only paths: what the default spec hides of /proc and /sys.

use super::attributes::set_attributes;
use super::staging::{DEFAULT_DEVICES, Staging};
use crate::error::Context;
use crate::spec::Linux;
use crate::sys::MountAttr;
use crate::{Error, beneath};
use rustix::fs::{CWD, FileType, OFlags};
use rustix::io::Errno;
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Covers `masked_paths` with nothing and makes `readonly_paths` read-only, those that exist.
pub(super) fn hide(root: BorrowedFd<'_>, linux: &Linux) -> Result<(), Error> {
    for path in &linux.masked_paths {
        let doing = || format!("masking {path}");
        let Some(target) = open(root, path).doing(doing)? else { continue };
        let kind = FileType::from_raw_mode(rustix::fs::fstat(&target).doing(doing)?.st_mode);
        let cover = if kind == FileType::Directory { empty_directory() } else { null(root) }.doing(doing)?;
        attach(&cover, &target).doing(doing)?;
    }
    for path in &linux.readonly_paths {
        let doing = || format!("making {path} read-only");
        let Some(target) = open(root, path).doing(doing)? else { continue };
        let flags = OpenTreeFlags::OPEN_TREE_CLONE
            | OpenTreeFlags::OPEN_TREE_CLOEXEC
            | OpenTreeFlags::AT_EMPTY_PATH
            | OpenTreeFlags::AT_RECURSIVE;
        let copy = open_tree(&target, c"", flags).doing(doing)?;
        set_attributes(&copy, true, &MountAttr::set(libc::MOUNT_ATTR_RDONLY)).doing(doing)?;
        attach(&copy, &target).doing(doing)?;
    }
    Ok(())
}

/// `None` where there is nothing to hide: these lists name files of all kernels and machines.
fn open(root: BorrowedFd<'_>, path: &str) -> io::Result<Option<OwnedFd>> {
    match beneath::open_in_root(root, path, OFlags::PATH, rustix::fs::Mode::empty()) {
        Ok(target) => Ok(Some(target)),
        Err(error) => match Errno::from_io_error(&error) {
            Some(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS) => Ok(None),
            _ => Err(error),
        },
    }
}

fn empty_directory() -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let empty = open_tree(CWD, Staging::EMPTY, flags)?;
    set_attributes(&empty, false, &MountAttr::set(libc::MOUNT_ATTR_RDONLY))?;
    Ok(empty)
}

/// A copy of the container's own null device: what is read through it is empty, and no more can be done with it than
/// with that.
fn null(root: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let (name, ..) = DEFAULT_DEVICES[0];
    match open_tree(CWD, format!("{}/{name}", Staging::DEVICES), flags) {
        Ok(null) => Ok(null),
        // In a user namespace: the host's, as bound into the container's /dev.
        Err(_) => {
            let null = beneath::open_in_root(root, c"dev/null", OFlags::PATH, rustix::fs::Mode::empty())?;
            Ok(open_tree(&null, c"", flags | OpenTreeFlags::AT_EMPTY_PATH)?)
        }
    }
}

fn attach(mount: &OwnedFd, target: &OwnedFd) -> io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    Ok(move_mount(mount.as_fd(), c"", target.as_fd(), c"", flags)?)
}
