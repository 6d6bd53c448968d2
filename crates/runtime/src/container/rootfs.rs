//! The root file system: layers, upper and skeleton stacked into one tree, and the step into it.
//!
//! Every mount point that the spec names is put into a layer below all others first (a tmpfs that dies with the mount
//! namespace), so that neither the image nor the container's upper layer needs to have it, and none is left there.

use super::attributes::set_attributes;
use super::mounts::{Point, Targets, open_target, resolve_missing};
use super::staging::{Staging, tmpfs};
use super::{RootFs, Source};
use crate::error::Context;
use crate::namespace::Mode;
use crate::overlay::{Overlay, Upper, mount_overlay};
use crate::spec::Spec;
use crate::sys::MountAttr;
use crate::{Error, beneath, capability};
use rustix::fs::{AtFlags, CWD, Mode as Bits, OFlags, StatxFlags, statx};
use rustix::io::Errno;
use rustix::mount::{MoveMountFlags, OpenTreeFlags, UnmountFlags, move_mount, open_tree, unmount};
use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

/// A root file system, mounted on [`Staging::ROOT`] of our mount namespace but not yet entered.
#[derive(Debug)]
pub(crate) struct Tree {
    /// Its top directory.
    pub root: OwnedFd,
    /// What is to be mounted in it.
    pub targets: Targets,
    /// Whether device nodes in the tree, and in what is mounted on it, are not to work.
    pub no_devices: bool,
}

/// Stacks `rootfs` and the mount points of `spec`.
pub(crate) fn prepare(mode: Mode, spec: &Spec, rootfs: &RootFs, sources: &[Source]) -> Result<Tree, Error> {
    let targets = Targets::open(spec, sources)?;
    // A user namespace's file systems have no working devices anyhow; and whoever has this capability can remount.
    let bounding = spec.process.capabilities.as_ref().map_or(0, |c| capability::mask(&c.bounding));
    let no_devices = mode == Mode::Root && bounding & capability::mask(&["CAP_SYS_ADMIN".into()]) == 0;

    let mut skeleton = Skeleton::default();
    let missing: Vec<_> = targets.points.iter().filter(|(p, _)| !Staging::covers(p)).cloned().collect();
    skeleton.add(&missing)?;
    let mut root = stack(rootfs, &skeleton)?;
    // A mount point can still be missing, behind a dangling link of the image.
    let dangling = dangling(root.as_fd(), &targets.points)?;
    if !dangling.is_empty() {
        drop(root);
        skeleton.add(&dangling)?;
        root = stack(rootfs, &skeleton)?;
    }
    let attributes = if no_devices { libc::MOUNT_ATTR_NODEV } else { 0 };
    let attr = MountAttr { propagation: libc::MS_PRIVATE, ..MountAttr::set(attributes) };
    let doing = || "attaching the root file system";
    set_attributes(&root, false, &attr).doing(doing)?;
    move_mount(&root, c"", CWD, Staging::ROOT, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH).doing(doing)?;
    Ok(Tree { root, targets, no_devices })
}

fn stack(rootfs: &RootFs, skeleton: &Skeleton) -> Result<OwnedFd, Error> {
    let mut lowers = rootfs.lowers.clone();
    lowers.extend(skeleton.extra.is_some().then(|| PathBuf::from(Staging::EXTRA)));
    lowers.push(PathBuf::from(Staging::SKELETON));
    let upper = rootfs.upper.as_ref().map(|(fs, work)| Upper { fs, work });
    let mounted = mount_overlay(&Overlay { lowers: &lowers, upper })?;
    if lowers.len() > 1 || upper.is_some() {
        return Ok(mounted);
    }
    // One directory is not mounted but opened; a root must be a mount.
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    open_tree(&mounted, c"", flags).doing(|| "attaching the root file system")
}

/// The layer of mount points beyond the standard ones.
#[derive(Default)]
struct Skeleton {
    extra: Option<OwnedFd>,
}

impl Skeleton {
    /// Adds mount points.
    fn add(&mut self, points: &[(PathBuf, Point)]) -> Result<(), Error> {
        if points.is_empty() {
            return Ok(());
        }
        if self.extra.is_none() {
            let extra = tmpfs(&[("mode", "0755"), ("size", "1m")])?;
            move_mount(&extra, c"", CWD, Staging::EXTRA, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
                .doing(|| "preparing mount points")?;
            self.extra = Some(extra);
        }
        if let Some(extra) = &self.extra {
            for (path, point) in points {
                open_target(extra.as_fd(), path, *point)
                    .doing(|| format!("preparing the mount point {}", path.display()))?;
            }
        }
        Ok(())
    }
}

/// The mount points that do not exist in `root`, as they would be reached.
fn dangling(root: BorrowedFd<'_>, points: &[(PathBuf, Point)]) -> Result<Vec<(PathBuf, Point)>, Error> {
    let mut missing = Vec::new();
    for (path, point) in points {
        let found = beneath::open_in_root(root, path, OFlags::PATH, Bits::empty());
        if found.is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound) {
            let reached = resolve_missing(root, path)
                .doing(|| format!("looking for the mount point {}", path.display()))?;
            missing.push((reached, *point));
        }
    }
    Ok(missing)
}

/// Makes `tree` the root of this process and leaves the old one behind.
pub(super) fn enter(tree: &Tree, read_only: bool, propagation: Option<&str>) -> Result<(), Error> {
    let doing = || "entering the root file system";
    if read_only {
        set_attributes(&tree.root, false, &MountAttr::set(libc::MOUNT_ATTR_RDONLY)).doing(doing)?;
    }
    rustix::process::fchdir(&tree.root).doing(doing)?;
    // The old root is put where the new one is, on top of it, and on top of that lies the supervisor's tmpfs, which is
    // what "." names first. Both are at once taken away again, the old root with all its mounts.
    rustix::process::pivot_root(c".", c".").doing(doing)?;
    unmount(c".", UnmountFlags::DETACH).doing(doing)?;
    unmount(c".", UnmountFlags::DETACH).doing(doing)?;
    rustix::process::chdir(c"/").doing(doing)?;
    // One mount too many or too few there and "/.." would be the host's.
    if mount_id(c"/..").doing(doing)? != mount_id(c"/").doing(doing)? {
        return Err(Error::Container("the host's root is still in reach (a bug)".into()));
    }
    let propagation = match propagation {
        None | Some("private" | "rprivate" | "") => return Ok(()),
        Some("shared" | "rshared") => libc::MS_SHARED,
        Some("slave" | "rslave") => libc::MS_SLAVE,
        Some("unbindable" | "runbindable") => libc::MS_UNBINDABLE,
        Some(other) => return Err(Error::Spec(format!("unknown rootfsPropagation \"{other}\""))),
    };
    set_attributes(&tree.root, false, &MountAttr { propagation, ..MountAttr::default() }).doing(doing)
}

fn mount_id(path: &CStr) -> Result<u64, Errno> {
    Ok(statx(CWD, path, AtFlags::empty(), StatxFlags::MNT_ID)?.stx_mnt_id)
}
