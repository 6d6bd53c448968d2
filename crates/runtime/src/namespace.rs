//! Entering the namespaces in which strake may mount: a mount namespace, and a user namespace around it unless we are
//! root already.
//!
//! This happens to the process as it is, without a new executable, and therefore only before it has threads. What is
//! not here: the namespaces of a container, which are made anew for each.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use rustix::mount::{MountPropagationFlags, mount_change};
use rustix::process::{Pid, getegid, geteuid, getgid, getuid};
use rustix::thread::{CapabilitySet, UnshareFlags};

use crate::error::Context;
use crate::ids::{self, Map};
use crate::{Error, settings, sys};

/// The inode of /proc/self/ns/user in the first user namespace (`PROC_USER_INIT_INO`, fixed).
const INITIAL_USER_NAMESPACE: u64 = 0xEFFF_FFFD;

/// How the ids of files and processes map to the host's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Root of the machine: every id is itself, devices can be made.
    Root,
    /// A user namespace with many ids: id 0 is the user, the others are subordinate ids. No devices.
    Mapped,
    /// A user namespace in which id 0, the user, is the only one. Files cannot be given away: owners are to be kept
    /// beside them.
    SingleId,
}

static MODE: OnceLock<Mode> = OnceLock::new();
static WHY_SINGLE: OnceLock<String> = OnceLock::new();

/// The mode this process entered; `None` before [`enter`].
pub fn mode() -> Option<Mode> {
    MODE.get().copied()
}

/// After [`enter`] ended in [`Mode::SingleId`]: why there was no range of ids, and what gives one.
pub fn why_single() -> Option<&'static str> {
    WHY_SINGLE.get().map(String::as_str)
}

/// Tells a process that was started inside the namespaces by one that had entered them (the supervisor).
pub(crate) fn assume_entered() -> Result<Mode, Error> {
    let mode = present_mode()?;
    Ok(*MODE.get_or_init(|| mode))
}

/// Puts this process, which must be single-threaded, where it may mount.
///
/// With CAP_SYS_ADMIN (root, or root of a user namespace someone else made) that is a new mount namespace. Without,
/// it is a new user namespace too: with the ids that /etc/subuid and /etc/subgid give the user, where newuidmap(1) and
/// newgidmap(1) are there to map them (as root lacking CAP_SYS_ADMIN, in a container: with all ids there are), else
/// with one. Mounts that the host makes or removes later are still seen; ours are seen by no one.
///
/// `STRAKE_USERNS=single` in the environment asks for a user namespace with one id whoever we are. A second call does
/// nothing.
///
/// # Errors
/// [`Error::Unsupported`] names the kernel's or container's setting that forbids it; [`Error::IdMap`] where the files
/// of ranges contradict each other.
pub fn enter() -> Result<Mode, Error> {
    if let Some(mode) = mode() {
        return Ok(mode);
    }
    settings::require_kernel()?;
    let single = std::env::var_os("STRAKE_USERNS").is_some_and(|value| value == "single");
    let mode = if !single && geteuid().is_root() && settings::has(CapabilitySet::SYS_ADMIN) {
        sys::unshare(UnshareFlags::NEWNS).map_err(|error| settings::no_mounts(error.raw_os_error()))?;
        present_mode()?
    } else {
        let plan = if single { Plan::Single("STRAKE_USERNS asks for it".into()) } else { Plan::make()? };
        plan.carry_out()?
    };
    entered(mode)
}

/// As [`enter`], but into the user namespace of the process `pid`, a container's, where that is not ours already. Only
/// there can the files that it sees be reached, by `/proc/PID/root`. It takes the user who made that namespace.
///
/// # Errors
/// As [`enter`]; [`Error::Io`] for a process that is gone or someone else's.
pub fn join(pid: i32) -> Result<Mode, Error> {
    use std::os::unix::fs::MetadataExt;
    if let Some(mode) = mode() {
        return Ok(mode);
    }
    let path = format!("/proc/{pid}/ns/user");
    let theirs = fs::File::open(&path).doing(|| path.clone())?;
    let inode = theirs.metadata().doing(|| path.clone())?.ino();
    if fs::metadata("/proc/self/ns/user").doing(|| "/proc/self/ns/user")?.ino() == inode {
        return enter();
    }
    rustix::thread::move_into_link_name_space(theirs.as_fd(), None)
        .doing(|| format!("joining the user namespace of process {pid}"))?;
    sys::unshare(UnshareFlags::NEWNS).map_err(|error| settings::no_mounts(error.raw_os_error()))?;
    entered(present_mode()?)
}

fn entered(mode: Mode) -> Result<Mode, Error> {
    // Not private: a disk that the host unmounts must not stay busy because of us.
    let downstream = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    mount_change("/", downstream).map_err(|errno| settings::no_mounts(Some(errno.raw_os_error())))?;
    Ok(*MODE.get_or_init(|| mode))
}

/// What the id maps of the namespace we are in amount to.
fn present_mode() -> Result<Mode, Error> {
    use std::os::unix::fs::MetadataExt;
    let user = fs::metadata("/proc/self/ns/user").doing(|| "/proc/self/ns/user")?;
    if user.ino() == INITIAL_USER_NAMESPACE {
        return Ok(Mode::Root);
    }
    let uids = Map::own("/proc/self/uid_map").doing(|| "/proc/self/uid_map")?;
    let gids = Map::own("/proc/self/gid_map").doing(|| "/proc/self/gid_map")?;
    if uids.len() > 1 && gids.len() > 1 {
        return Ok(Mode::Mapped);
    }
    let _ = WHY_SINGLE.set("the user namespace that strake was started in has only one id".into());
    Ok(Mode::SingleId)
}

/// How a new user namespace gets its ids.
enum Plan {
    /// The setuid helpers map a range.
    Helpers { helpers: [PathBuf; 2], uids: Map, gids: Map },
    /// We are root with CAP_SETUID and CAP_SETGID, if no more, and write any map.
    Direct { uids: Map, gids: Map },
    /// No range, for the reason given.
    Single(String),
}

impl Plan {
    fn make() -> Result<Plan, Error> {
        if geteuid().is_root() {
            if !settings::has(CapabilitySet::SETUID | CapabilitySet::SETGID) {
                return Ok(Plan::Single("root lacks CAP_SETUID and CAP_SETGID here".into()));
            }
            let uids = Map::own("/proc/self/uid_map").doing(|| "/proc/self/uid_map")?;
            let gids = Map::own("/proc/self/gid_map").doing(|| "/proc/self/gid_map")?;
            return Ok(Plan::Direct { uids: uids.identity(), gids: gids.identity() });
        }
        let uid = getuid().as_raw();
        let name = sys::user_name(uid);
        let who = name.clone().unwrap_or_else(|| uid.to_string());
        let mut maps = Vec::new();
        for (file, own) in [("/etc/subuid", uid), ("/etc/subgid", getgid().as_raw())] {
            // Both files are keyed by the user, never by the group.
            let ranges = ids::ranges(Path::new(file), uid, name.as_deref()).doing(|| file)?;
            if ranges.is_empty() {
                return Ok(Plan::Single(format!(
                    "{file} has no range for {who}; `usermod --add-subuids 100000-165535 --add-subgids \
                     100000-165535 {who}` (as root) adds one"
                )));
            }
            maps.push(Map::with_ranges(own, &ranges));
        }
        let mut helpers = Vec::new();
        for name in ["newuidmap", "newgidmap"] {
            match find_helper(name) {
                Some(path) => helpers.push(path),
                None => {
                    return Ok(Plan::Single(format!("{name} is not installed (Debian's package uidmap)")));
                }
            }
        }
        let (Ok(helpers), Ok([uids, gids])) = (<[PathBuf; 2]>::try_from(helpers), <[Map; 2]>::try_from(maps))
        else {
            return Err(Error::IdMap("two maps need two helpers".into()));
        };
        Ok(Plan::Helpers { helpers, uids, gids })
    }

    fn carry_out(self) -> Result<Mode, Error> {
        let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
        if let Plan::Single(why) = &self {
            unshare_user()?;
            return map_single(uid, gid, why);
        }
        // Maps with more than one's own id are written from outside: by a child that stays behind. It waits on one
        // pipe until we are in the namespace, and answers on the other.
        let (mut go, mut start) = io::pipe().doing(|| "creating a pipe")?;
        let (mut answer, mut reply) = io::pipe().doing(|| "creating a pipe")?;
        let target = rustix::process::getpid();
        let Some(child) = sys::fork().map_err(not_single_threaded)? else {
            drop(start);
            drop(answer);
            if go.read_exact(&mut [0]).is_ok() {
                let outcome = self.map_from_outside(target);
                let _ = reply.write_all(&outcome.encode());
            }
            sys::exit_now(0)
        };
        drop(go);
        drop(reply);
        let unshared = unshare_user();
        if unshared.is_ok() {
            let _ = start.write_all(&[1]);
        }
        drop(start);
        let mut outcome = Vec::new();
        let read = answer.read_to_end(&mut outcome);
        sys::wait(child).doing(|| "waiting for the process that maps ids")?;
        unshared?;
        read.doing(|| "waiting for the process that maps ids")?;
        match Outcome::decode(&outcome) {
            Outcome::Mapped => present_mode(),
            Outcome::Untouched(why) => map_single(uid, gid, &why),
            Outcome::Half(why) => Err(Error::IdMap(why)),
        }
    }

    /// In the child that stayed in the old namespace.
    fn map_from_outside(&self, target: Pid) -> Outcome {
        let target = target.as_raw_nonzero().to_string();
        match self {
            Plan::Helpers { helpers: [newuidmap, newgidmap], uids, gids } => {
                // Both at once: half of their time is spent on being started.
                let running = [spawn(newuidmap, &target, uids), spawn(newgidmap, &target, gids)];
                match running.map(finish) {
                    [Ok(()), Ok(())] => Outcome::Mapped,
                    [Err(uid), Err(_)] => Outcome::Untouched(uid),
                    [Err(one), Ok(())] | [Ok(()), Err(one)] => Outcome::Half(one),
                }
            }
            Plan::Direct { uids, gids } => {
                let write = |name: &str, map: &Map| {
                    let path = format!("/proc/{target}/{name}");
                    fs::write(&path, map.to_string()).map_err(|error| refused_map(&path, error, true))
                };
                match (write("uid_map", uids), write("gid_map", gids)) {
                    (Ok(()), Ok(())) => Outcome::Mapped,
                    (Err(one), Err(_)) => Outcome::Untouched(one.to_string()),
                    (Err(one), Ok(())) | (Ok(()), Err(one)) => Outcome::Half(one.to_string()),
                }
            }
            Plan::Single(why) => Outcome::Untouched(why.clone()),
        }
    }
}

/// What became of the maps.
enum Outcome {
    Mapped,
    /// Neither is written, and why: one id is still possible.
    Untouched(String),
    /// One is, one is not: nothing else is possible.
    Half(String),
}

impl Outcome {
    fn encode(&self) -> Vec<u8> {
        match self {
            Outcome::Mapped => b"m".to_vec(),
            Outcome::Untouched(why) => [b"u", why.as_bytes()].concat(),
            Outcome::Half(why) => [b"h", why.as_bytes()].concat(),
        }
    }

    fn decode(bytes: &[u8]) -> Outcome {
        let text = |rest: &[u8]| String::from_utf8_lossy(rest).into_owned();
        match bytes.split_first() {
            Some((b'm', [])) => Outcome::Mapped,
            Some((b'u', why)) => Outcome::Untouched(text(why)),
            Some((b'h', why)) => Outcome::Half(text(why)),
            _ => Outcome::Half("the process that maps ids died".into()),
        }
    }
}

fn unshare_user() -> Result<(), Error> {
    sys::unshare(UnshareFlags::NEWUSER | UnshareFlags::NEWNS)
        .map_err(|error| settings::no_user_namespace(error.raw_os_error()))
}

fn not_single_threaded(error: io::Error) -> Error {
    match error.raw_os_error() {
        Some(libc::EDEADLK) => {
            Error::IdMap("this process already has threads; enter before starting any".into())
        }
        _ => Error::io("starting the process that maps ids", error),
    }
}

fn map_single(uid: u32, gid: u32, why: &str) -> Result<Mode, Error> {
    // Without subordinate gids the kernel wants setgroups(2) given up first, as dropping a group can grant access.
    for (path, content) in [
        ("/proc/self/setgroups", "deny".to_owned()),
        ("/proc/self/uid_map", Map::single(uid).to_string()),
        ("/proc/self/gid_map", Map::single(gid).to_string()),
    ] {
        // One write(2) each, or the kernel refuses it.
        fs::write(path, content).map_err(|error| refused_map(path, error, uid == 0))?;
    }
    let _ = WHY_SINGLE.set(why.to_owned());
    Ok(Mode::SingleId)
}

/// Why a map was refused: `root` is who we were before.
pub(crate) fn refused_map(path: &str, error: io::Error, root: bool) -> Error {
    if matches!(error.raw_os_error(), Some(libc::EPERM | libc::EACCES)) {
        if settings::sysctl("kernel.apparmor_restrict_unprivileged_userns") == Some(1) {
            return settings::no_user_namespace(error.raw_os_error());
        }
        // Mapping the parent namespace's root takes CAP_SETFCAP since Linux 5.12.
        if root {
            return Error::Unsupported {
                what: format!("writing {path} was refused to root"),
                remedy:
                    "give the container CAP_SETFCAP (`--cap-add SETFCAP`), or run as another user than root"
                        .into(),
            };
        }
    }
    Error::IdMap(format!("{path}: {error}"))
}

fn find_helper(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/bin", "/bin", "/usr/sbin"].map(OsStr::new);
    path.as_bytes()
        .split(|byte| *byte == b':')
        .filter(|directory| directory.starts_with(b"/"))
        .map(OsStr::from_bytes)
        .chain(usual)
        .map(|directory| Path::new(directory).join(name))
        .find(|path| path.is_file())
}

type Started = io::Result<std::process::Child>;

fn spawn(helper: &Path, target: &str, map: &Map) -> (PathBuf, Started) {
    let started = Command::new(helper)
        .arg(target)
        .args(map.arguments())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn();
    (helper.to_owned(), started)
}

fn finish((helper, started): (PathBuf, Started)) -> Result<(), String> {
    let output = started.and_then(std::process::Child::wait_with_output);
    let output = output.map_err(|error| format!("{}: {error}", helper.display()))?;
    if output.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    let hint = if settings::no_new_privileges() {
        " (it cannot gain privileges: no_new_privs is set, in a container by `no-new-privileges` or \
         `allowPrivilegeEscalation: false`)"
    } else {
        ""
    };
    Err(format!("{} failed: {}{hint}", helper.display(), words.trim()))
}
