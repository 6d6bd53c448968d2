//! The spec's mounts, made in the new root before it is entered.
//!
//! File systems and binds are made detached and then attached to a target that was opened inside the root
//! (`RESOLVE_IN_ROOT`): no link in an image can lead a mount onto the host. Targets that are missing were given to the
//! skeleton layer by [`super::rootfs`]; only below other mounts are they made here.

use super::attributes::set_attributes;
use super::devices::Devices;
use super::options::{self, Options};
use super::rootfs::Tree;
use super::staging::Staging;
use super::{Report, Source};
use crate::error::Context;
use crate::namespace::Mode;
use crate::spec::{Mount, Spec};
use crate::sys::MountAttr;
use crate::{Error, beneath};
use rustix::fs::{CWD, FileType, Mode as Bits, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, fsconfig_create,
    fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, move_mount, open_tree,
};
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

/// A bind mount's source, opened.
#[derive(Debug)]
pub(crate) struct Bind {
    /// `O_PATH`.
    pub source: OwnedFd,
    pub is_directory: bool,
    is_device: bool,
}

/// What the mounts of a spec need before the root file system is put together.
#[derive(Debug)]
pub(crate) struct Targets {
    /// Per mount of the spec: its source, if it is a bind.
    pub binds: Vec<Option<Bind>>,
    /// Mount points in the root itself (not below another mount).
    pub points: Vec<(PathBuf, Point)>,
}

/// What a mount point that is missing is made as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Point {
    File,
    /// With these permissions.
    Directory(u32),
}

impl Point {
    fn of(mount: &Mount, bind: Option<&Bind>) -> Result<Point, Error> {
        if bind.is_some_and(|bind| !bind.is_directory) {
            return Ok(Point::File);
        }
        // runc, and so Docker, gives a tmpfs the permissions of the directory it is mounted on.
        Ok(Point::Directory(if mount.kind == "tmpfs" && bind.is_none() {
            let options = options::parse(mount)?;
            options.value("mode").and_then(|m| u32::from_str_radix(m, 8).ok()).unwrap_or(0o1777)
        } else {
            0o755
        }))
    }
}

impl Targets {
    /// Opens the sources of `spec`'s binds and lists its mount points.
    pub(crate) fn open(spec: &Spec, sources: &[Source]) -> Result<Targets, Error> {
        let mut binds = Vec::new();
        let mut points: Vec<(PathBuf, Point)> = Vec::new();
        for mount in &spec.mounts {
            let bind = mount.is_bind().then(|| Bind::open(mount, sources)).transpose()?;
            let destination = normalize(&mount.destination)?;
            // Below a file there can be nothing: only directories cover.
            if !points.iter().any(|(above, point)| *point != Point::File && destination.starts_with(above)) {
                points.push((destination, Point::of(mount, bind.as_ref())?));
            }
            binds.push(bind);
        }
        Ok(Targets { binds, points })
    }
}

impl Bind {
    fn open(mount: &Mount, sources: &[Source]) -> Result<Bind, Error> {
        let given = sources.iter().enumerate().find(|(_, s)| s.destination == mount.destination);
        let source = match given {
            Some((number, given)) => open_inside(number, given)?,
            None => {
                let path = mount.source.as_deref().ok_or_else(|| {
                    Error::Spec(format!("the bind mount {} has no source", mount.destination.display()))
                })?;
                if !path.is_absolute() {
                    return Err(Error::Spec(format!(
                        "the source {} of the bind mount {} is not absolute",
                        path.display(),
                        mount.destination.display()
                    )));
                }
                rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Bits::empty())
                    .doing(|| format!("opening {} to mount it", path.display()))?
            }
        };
        let stat = rustix::fs::fstat(&source).doing(|| "looking at a bind mount's source")?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        Ok(Bind {
            source,
            is_directory: kind == FileType::Directory,
            is_device: super::devices::is_default(kind, stat.st_rdev),
        })
    }
}

/// Opens a source given as a descriptor, which the supervisor's client made a detached mount. It is attached first, in
/// our private mount namespace: only newer kernels clone parts of one that is not. Each has a place of its own: what is
/// attached on another would be cloned with it.
fn open_inside(number: usize, given: &Source) -> Result<OwnedFd, Error> {
    let doing = || format!("opening {} to mount it on {}", given.path.display(), given.destination.display());
    let open =
        || beneath::open_in_root(given.root.as_fd(), given.path.as_path(), OFlags::PATH, Bits::empty());
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    let place = format!("{}/{number}", Staging::SOURCE);
    match rustix::fs::mkdirat(CWD, &place, Bits::from_raw_mode(0o755)) {
        // An earlier container's; the tmpfs is the supervisor's.
        Err(Errno::EXIST) => {}
        made => made.doing(doing)?,
    }
    move_mount(&given.root, c"", CWD, &place, flags).doing(doing)?;
    open().doing(doing)
}

/// `path` as absolute and without `.`; `..` is refused.
fn normalize(path: &Path) -> Result<PathBuf, Error> {
    let mut clean = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => {
                return Err(Error::Spec(format!("mount destination {} contains \"..\"", path.display())));
            }
        }
    }
    if clean == Path::new("/") {
        return Err(Error::Spec("a mount's destination cannot be /".into()));
    }
    Ok(clean)
}

/// Makes all `mounts` in `tree`, and the device nodes as soon as there is a /dev.
pub(super) fn mount_all(
    mode: Mode,
    tree: &Tree,
    mounts: &[Mount],
    devices: &Devices<'_>,
    report: &mut dyn Report,
) -> Result<(), Error> {
    let root = tree.root.as_fd();
    for (mount, bind) in mounts.iter().zip(&tree.targets.binds) {
        let mut options = options::parse(mount)?;
        // Without a device cgroup, this is what keeps a container's root from the host's disks.
        if tree.no_devices && !bind.as_ref().is_some_and(|b| b.is_device) && mount.kind != "devpts" {
            options.set |= libc::MOUNT_ATTR_NODEV;
        }
        let destination = normalize(&mount.destination)?;
        let point = Point::of(mount, bind.as_ref())?;
        let doing = || format!("mounting {} on {}", describe(mount), destination.display());
        let made = match bind {
            Some(bind) => Some(bind_mount(bind.source.as_fd(), &options).doing(doing)?),
            None => {
                if mount.kind == "tmpfs" && options.value("mode").is_none() {
                    let target = open_target(root, &destination, point).doing(doing)?;
                    let mode = rustix::fs::fstat(&target).doing(doing)?.st_mode & 0o7777;
                    options.data.push(("mode".into(), Some(format!("{mode:o}"))));
                }
                file_system(mode, mount, &options, report).doing(doing)?
            }
        };
        let Some(made) = made else { continue };
        let target = match mount.kind.as_str() {
            // Everything else trusts these two to be what they seem.
            "proc" | "sysfs" => beneath::open_without_links(root, &destination, OFlags::PATH, Bits::empty()),
            _ => open_target(root, &destination, point),
        }
        .doing(|| format!("opening the mount point {}", destination.display()))?;
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
        move_mount(&made, c"", &target, c"", flags).doing(doing)?;
        if destination == Path::new("/dev") && bind.is_none() {
            devices.populate(made.as_fd(), report)?;
        }
    }
    Ok(())
}

fn describe(mount: &Mount) -> String {
    match &mount.source {
        Some(source) if mount.is_bind() => source.display().to_string(),
        _ => mount.kind.clone(),
    }
}

/// A new mount of the spec's type, or what must do in its place; `None` where the container does without.
fn file_system(
    mode: Mode,
    mount: &Mount,
    options: &Options,
    report: &mut dyn Report,
) -> io::Result<Option<OwnedFd>> {
    match mount.kind.as_str() {
        "proc" => match new_mount("proc", mount, options) {
            // Refused where the host's own /proc has anything mounted over it, as in a container.
            Err(Errno::PERM | Errno::BUSY) => {
                report.warning(
                    "/proc shows the processes outside of the container too: this kernel allows no new one, as \
                     parts of the present one are covered (in a container: run it privileged or with an unmasked \
                     /proc)"
                        .into(),
                );
                Ok(Some(bind_host("/proc", options)?))
            }
            made => Ok(Some(made?)),
        },
        "sysfs" => match new_mount("sysfs", mount, options) {
            // A user namespace may only mount the sysfs of a network namespace that it owns.
            Err(Errno::PERM | Errno::BUSY) if mode != Mode::Root => Ok(Some(bind_host("/sys", options)?)),
            made => Ok(Some(made?)),
        },
        "cgroup" | "cgroup2" => Ok(cgroup(mount, options)),
        "" => Err(Errno::INVAL.into()),
        kind => Ok(Some(new_mount(kind, mount, options)?)),
    }
}

/// The host's view of cgroups. Nothing in a container depends on it: where it cannot be had it is left out, as on hosts
/// with a v1 or hybrid tree, of which each of a dozen parts would have to be mounted at every step.
fn cgroup(mount: &Mount, options: &Options) -> Option<OwnedFd> {
    if !crate::spec::cgroup_is_v2() {
        return None;
    }
    new_mount("cgroup2", mount, options).or_else(|_| bind_host("/sys/fs/cgroup", options)).ok()
}

fn new_mount(kind: &str, mount: &Mount, options: &Options) -> Result<OwnedFd, Errno> {
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    if let Some(source) = &mount.source {
        fsconfig_set_string(&context, "source", source.as_path())?;
    }
    for flag in &options.flags {
        fsconfig_set_flag(&context, flag.as_str())?;
    }
    for (key, value) in &options.data {
        match value {
            Some(value) => fsconfig_set_string(&context, key.as_str(), value.as_str())?,
            None => fsconfig_set_flag(&context, key.as_str())?,
        }
    }
    fsconfig_create(&context)?;
    let attributes = MountAttrFlags::from_bits_retain((options.set | options.recursive_set) as u32);
    let made = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?;
    if let Some((propagation, _)) = options.propagation
        && propagation != libc::MS_PRIVATE
    {
        let attr = MountAttr { propagation, ..MountAttr::default() };
        set_attributes(&made, false, &attr).map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))?;
    }
    Ok(made)
}

fn bind_host(path: &str, options: &Options) -> Result<OwnedFd, Errno> {
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    let tree = open_tree(CWD, path, flags)?;
    // With everything below, or the host's own mounts in it would stay writable.
    let attr = MountAttr { propagation: libc::MS_PRIVATE, ..MountAttr::set(options.set) };
    set_attributes(&tree, true, &attr).map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))?;
    Ok(tree)
}

fn clone_tree(source: BorrowedFd<'_>, recursive: bool) -> Result<OwnedFd, Errno> {
    let mut flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    open_tree(source, c"", flags)
}

fn bind_mount(source: BorrowedFd<'_>, options: &Options) -> io::Result<OwnedFd> {
    let tree = clone_tree(source, options.recursive_bind)?;
    // What the host mounts or unmounts later is not to appear in a container that did not ask.
    let (propagation, all) = options.propagation.unwrap_or((libc::MS_PRIVATE, true));
    let below = all && options.recursive_bind;
    let top = MountAttr { clear: options.clear, propagation, ..MountAttr::set(options.set) };
    if below && options.set | options.clear == 0 {
        set_attributes(&tree, true, &top)?;
    } else {
        set_attributes(&tree, false, &top)?;
        if below {
            set_attributes(&tree, true, &MountAttr { propagation, ..MountAttr::default() })?;
        }
    }
    if options.recursive_set | options.recursive_clear != 0 {
        let attr = MountAttr { clear: options.recursive_clear, ..MountAttr::set(options.recursive_set) };
        set_attributes(&tree, true, &attr)?;
    }
    Ok(tree)
}

/// Opens the mount point `path` in `root`, making what is missing of it.
pub(super) fn open_target(root: BorrowedFd<'_>, path: &Path, point: Point) -> io::Result<OwnedFd> {
    match beneath::open_in_root(root, path, OFlags::PATH, Bits::empty()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        done => return done,
    }
    let path = resolve_missing(root, path)?;
    let parent = path.parent().ok_or(Errno::INVAL)?;
    beneath::mkdir_all(root, parent, Bits::from_raw_mode(0o755), |_, _| Ok(()))?;
    if let Point::Directory(mode) = point {
        return beneath::mkdir_all(root, &path, Bits::from_raw_mode(mode), |_, _| Ok(()));
    }
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW;
    beneath::open_in_root(root, &path, flags, Bits::from_raw_mode(0o644))?;
    beneath::open_in_root(root, &path, OFlags::PATH, Bits::empty())
}

/// Where `path`, some part of which does not exist in `root`, would have to be made: links resolved, dangling ones too
/// (/etc/resolv.conf of many a distribution's image is one).
pub(super) fn resolve_missing(root: BorrowedFd<'_>, path: &Path) -> io::Result<PathBuf> {
    fn parts(path: &Path) -> Vec<PathBuf> {
        path.components().map(|c| PathBuf::from(c.as_os_str())).collect()
    }
    let mut resolved = PathBuf::from("/");
    let mut rest: VecDeque<PathBuf> = parts(path).into();
    let mut links = 0;
    while let Some(part) = rest.pop_front() {
        match part.components().next() {
            Some(Component::RootDir) => resolved = PathBuf::from("/"),
            Some(Component::ParentDir) => {
                resolved.pop();
            }
            Some(Component::Normal(name)) => {
                let next = resolved.join(name);
                match beneath::readlink(root, &next) {
                    Ok(target) => {
                        links += 1;
                        if links > 40 {
                            return Err(Errno::LOOP.into());
                        }
                        for part in parts(&target).into_iter().rev() {
                            rest.push_front(part);
                        }
                    }
                    Err(error) => match Errno::from_io_error(&error) {
                        Some(Errno::NOENT | Errno::INVAL) => resolved = next,
                        _ => return Err(error),
                    },
                }
            }
            _ => {}
        }
    }
    Ok(resolved)
}
