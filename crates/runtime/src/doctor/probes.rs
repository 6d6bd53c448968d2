//! Trying things, each in a forked process, so that this one stays as it was.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use rustix::thread::UnshareFlags;

use crate::cgroup::Cgroup;
use crate::error::Context;
use crate::filesystem::FileSystem;
use crate::ids::Map;
use crate::namespace::{self, Mode};
use crate::overlay::{Overlay, Upper, mount_overlay};
use crate::owners::{Recorder, decode, listen};
use crate::spec::cgroup_is_v2;
use crate::{Error, beneath, settings, sys};

/// What entering gave.
pub(super) struct Entered {
    pub(super) mode: Mode,
    pub(super) ids: u64,
    /// Why it is one id.
    pub(super) why: String,
}

/// Runs `probe` in a process of its own; the answer is text, as is the error except that its kind is kept.
fn isolated(probe: impl FnOnce() -> Result<String, Error>) -> Result<String, Error> {
    let encode = |kind: &str, parts: &[&str]| {
        let mut bytes = kind.as_bytes().to_vec();
        for part in parts {
            bytes.push(0);
            bytes.extend(part.bytes());
        }
        bytes
    };
    let answer = sys::in_child(|| match probe() {
        Ok(detail) => encode("ok", &[&detail]),
        Err(Error::Unsupported { what, remedy }) => encode("unsupported", &[&what, &remedy]),
        Err(Error::UpperFileSystem { path, kind }) => encode("upper", &[&path.to_string_lossy(), &kind]),
        Err(Error::Io { doing, source }) => {
            let errno = source.raw_os_error().unwrap_or(libc::EIO).to_string();
            encode("io", &[&doing, &errno])
        }
        Err(other) => encode("other", &[&other.to_string()]),
    })
    .doing(|| "starting a process to try this in")?;
    let text = String::from_utf8_lossy(&answer);
    let parts: Vec<&str> = text.split('\0').collect();
    match parts[..] {
        ["ok", detail] => Ok(detail.to_owned()),
        ["unsupported", what, remedy] => {
            Err(Error::Unsupported { what: what.to_owned(), remedy: remedy.to_owned() })
        }
        ["upper", path, kind] => Err(Error::UpperFileSystem { path: path.into(), kind: kind.to_owned() }),
        ["io", doing, errno] => {
            let errno = errno.parse().unwrap_or(libc::EIO);
            Err(Error::io(doing, io::Error::from_raw_os_error(errno)))
        }
        [_, text] => Err(Error::Unexpected(text.to_owned())),
        _ => Err(Error::Unexpected("the probe died".into())),
    }
}

/// A user namespace with a mount in it, as the two can be forbidden apart.
pub(super) fn user_namespace() -> Result<String, Error> {
    isolated(|| {
        let uid = rustix::process::geteuid().as_raw();
        sys::unshare(UnshareFlags::NEWUSER | UnshareFlags::NEWNS)
            .map_err(|error| settings::no_user_namespace(error.raw_os_error()))?;
        let map = "/proc/self/uid_map";
        fs::write(map, Map::single(uid).to_string())
            .map_err(|error| namespace::refused_map(map, error, uid == 0))?;
        detached("tmpfs").map_err(|error| settings::no_mounts(error.raw_os_error()))?;
        Ok("allowed".into())
    })
}

pub(super) fn enter() -> Result<Entered, Error> {
    let answer = isolated(|| {
        let mode = namespace::enter()?;
        let ids = Map::own("/proc/self/uid_map").doing(|| "/proc/self/uid_map")?.len();
        let mode = match mode {
            Mode::Root => "root",
            Mode::Mapped => "mapped",
            Mode::SingleId => "single",
        };
        Ok(format!("{mode}\n{ids}\n{}", namespace::why_single().unwrap_or_default()))
    })?;
    let mut lines = answer.splitn(3, '\n');
    let mode = match lines.next() {
        Some("root") => Mode::Root,
        Some("mapped") => Mode::Mapped,
        _ => Mode::SingleId,
    };
    let ids = lines.next().and_then(|ids| ids.parse().ok()).unwrap_or(1);
    Ok(Entered { mode, ids, why: lines.next().unwrap_or_default().to_owned() })
}

/// The longest part of `path` that exists.
pub(super) fn existing(path: &Path) -> &Path {
    path.ancestors().find(|ancestor| ancestor.exists()).unwrap_or(Path::new("/"))
}

/// Everything a layer needs of overlayfs, where the store is; where that cannot be, or is not ours to write, on a
/// tmpfs. Says where.
pub(super) fn overlay(store: &Path) -> Result<String, Error> {
    isolated(|| {
        namespace::enter()?;
        let place = existing(store);
        let usable = FileSystem::of(place).is_ok_and(FileSystem::can_hold_upper)
            && rustix::fs::access(place, rustix::fs::Access::WRITE_OK).is_ok();
        if !usable {
            let tmpfs = detached("tmpfs").doing(|| "mounting a tmpfs")?;
            let place = PathBuf::from(format!("/proc/self/fd/{}", tmpfs.as_raw_fd()));
            return try_overlay(&place)
                .map(|()| "layers can be stacked, written and removed, on a tmpfs".into());
        }
        let scratch = place.join(format!(".strake-doctor-{}", std::process::id()));
        fs::create_dir(&scratch).doing(|| format!("creating {}", scratch.display()))?;
        let tried = try_overlay(&scratch);
        let parent = beneath::open_root(place).doing(|| place.display().to_string())?;
        let name = Path::new(scratch.file_name().unwrap_or_default());
        beneath::remove_all(parent.as_fd(), name).doing(|| format!("removing {}", scratch.display()))?;
        tried.map(|()| format!("layers can be stacked, written and removed, at {}", place.display()))
    })
}

fn try_overlay(scratch: &Path) -> Result<(), Error> {
    let directory = |name: &str| -> Result<PathBuf, Error> {
        let path = scratch.join(name);
        fs::create_dir_all(&path).doing(|| format!("creating {}", path.display()))?;
        Ok(path)
    };
    let lowers = [directory("a")?, directory("b")?];
    let (upper, work) = (directory("fs")?, directory("work")?);
    directory("b/dir/sub")?;
    fs::write(lowers[1].join("file"), "").doing(|| "writing a file")?;
    let overlay = Overlay { lowers: &lowers, upper: Some(Upper { fs: &upper, work: &work }) };
    // Twice, as containers are started again.
    for _ in 0..2 {
        let mount = mount_overlay(&overlay)?;
        let inside = |name: &str| PathBuf::from(format!("/proc/self/fd/{}/{name}", mount.as_raw_fd()));
        let change = || {
            if inside("file").exists() {
                fs::remove_file(inside("file"))?;
            }
            fs::remove_dir_all(inside("dir"))?;
            fs::create_dir(inside("dir"))
        };
        change().doing(|| "removing and making files on overlayfs")?;
    }
    let whiteout = fs::symlink_metadata(upper.join("file")).doing(|| "looking for a whiteout")?;
    let mut mark = [0; 1];
    let opaque = rustix::fs::lgetxattr(upper.join("dir"), "user.overlay.opaque", &mut mark);
    if !whiteout.file_type().is_char_device() || whiteout.rdev() != 0 || opaque != Ok(1) {
        return Err(Error::Unexpected(
            "overlayfs writes no whiteouts or opaque marks that can be read".into(),
        ));
    }
    Ok(())
}

/// The namespaces of a container; whether host names can be set in one.
pub(super) fn namespaces() -> Result<bool, Error> {
    isolated(|| {
        namespace::enter()?;
        for (flag, name) in [
            (UnshareFlags::NEWIPC, "ipc"),
            (UnshareFlags::NEWUTS, "uts"),
            (UnshareFlags::NEWNET, "network"),
            (UnshareFlags::NEWPID, "pid"),
        ] {
            sys::unshare(flag).doing(|| format!("making a namespace ({name})"))?;
        }
        let named = rustix::system::sethostname(b"strake");
        Ok(if named.is_ok() { "named" } else { "" }.to_owned())
    })
    .map(|answer| answer == "named")
}

pub(super) fn proc() -> Result<(), Error> {
    isolated(|| {
        namespace::enter()?;
        sys::unshare(UnshareFlags::NEWPID).doing(|| "making a pid namespace")?;
        // Only children are in it.
        let answer = sys::in_child(|| match detached("proc") {
            Ok(_) => vec![],
            Err(error) => error.raw_os_error().unwrap_or(libc::EIO).to_le_bytes().to_vec(),
        })
        .doing(|| "starting a process in a pid namespace")?;
        match answer.try_into() {
            Ok(errno) => Err(Error::io("mounting", io::Error::from_raw_os_error(i32::from_le_bytes(errno)))),
            Err(_) => Ok(String::new()),
        }
    })
    .map(|_| ())
}

pub(super) fn sysfs() -> Result<(), Error> {
    isolated(|| {
        namespace::enter()?;
        sys::unshare(UnshareFlags::NEWNET).doing(|| "making a network namespace")?;
        detached("sysfs").doing(|| "mounting").map(|_| String::new())
    })
    .map(|_| ())
}

pub(super) fn seccomp() -> Result<(), Error> {
    isolated(|| {
        rustix::thread::set_no_new_privs(true).doing(|| "setting no_new_privs")?;
        // Any filter will do; nothing that it holds is called here.
        match listen() {
            // There is a listener already, so filters do work.
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {}
            done => drop(done.doing(|| "loading")?),
        }
        Ok(String::new())
    })
    .map(|_| ())
}

/// A chown that only a recorder can make succeed.
pub(super) fn user_notification() -> Result<(), Error> {
    isolated(|| {
        namespace::enter()?;
        let (mut numbers, mut number) = io::pipe().doing(|| "creating a pipe")?;
        let Some(child) = sys::fork().doing(|| "starting a process")? else {
            sys::exit_now(i32::from(ask_for_ids(&mut number).is_err()))
        };
        drop(number);
        let recorder =
            take_listener(child, &mut numbers).and_then(|listener| Recorder::start(listener, child, None));
        let ended = sys::wait(child).doing(|| "waiting for a process")?;
        decode(recorder?.finish()?)?;
        match ended {
            0 => Ok(String::new()),
            _ => Err(Error::Unexpected("system calls cannot be answered".into())),
        }
    })
    .map(|_| ())
}

fn ask_for_ids(number: &mut io::PipeWriter) -> io::Result<()> {
    use io::Write;
    rustix::thread::set_no_new_privs(true)?;
    let listener = match listen() {
        Ok(listener) => listener,
        Err(error) => {
            // The parent tells why.
            return number.write_all(&(-error.raw_os_error().unwrap_or(libc::EIO)).to_le_bytes());
        }
    };
    number.write_all(&listener.as_raw_fd().to_le_bytes())?;
    // Held until the recorder is there; the path has to be read from this process.
    match std::os::unix::fs::chown("/no such file", Some(1), Some(1)) {
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        Err(error) => Err(error),
        Ok(()) => Err(io::ErrorKind::AlreadyExists.into()),
    }
}

fn take_listener(child: Pid, numbers: &mut io::PipeReader) -> Result<OwnedFd, Error> {
    use io::Read;
    let mut number = [0; 4];
    let doing = || "loading a filter with a listener";
    numbers.read_exact(&mut number).doing(doing)?;
    let number = i32::from_le_bytes(number);
    if number < 0 {
        return Err(io::Error::from_raw_os_error(-number)).doing(doing);
    }
    let pidfd = pidfd_open(child, PidfdFlags::empty()).doing(|| "opening a process")?;
    pidfd_getfd(pidfd, number, PidfdGetfdFlags::empty()).doing(|| "taking a listener")
}

fn detached(kind: &str) -> io::Result<OwnedFd> {
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(&context)?;
    Ok(fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?)
}

/// The kind of the control groups that are mounted.
pub(super) fn cgroup_version() -> &'static str {
    let base = Path::new("/sys/fs/cgroup");
    if cgroup_is_v2() {
        return "v2";
    }
    match (base.join("unified").exists(), base.join("memory").exists()) {
        (true, _) => "v1 with v2 beside it (hybrid)",
        (false, true) => "v1",
        (false, false) => "none",
    }
}

/// Makes the group of a container and enters it; says below what it was, or why it cannot be.
pub(super) fn cgroups() -> Result<PathBuf, String> {
    let group = Cgroup::try_out(&format!("doctor-{}", std::process::id()))?;
    let entered = isolated(|| group.join().doing(|| "entering a cgroup").map(|()| String::new()));
    entered.map_err(|error| error.to_string())?;
    Ok(group.place().parent().unwrap_or(Path::new("/sys/fs/cgroup")).to_owned())
}
