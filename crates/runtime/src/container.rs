//! Containers: what is asked for ([`Container`]), and how a process cloned by the supervisor becomes one.
//!
//! The order of [`become_container`] is the security argument: root file system and mounts first, with every path
//! resolved inside the new root; then the old root goes; then the privileges; exec last. Everything here runs in a
//! process of its own, single-threaded, in namespaces of its own, so that failing half-way leaves nothing behind. What
//! is *not* here: waiting, signals, sockets (the supervisor's), and other OCI runtimes ([`crate::external`]).

mod attributes;
mod devices;
mod exec;
mod hide;
mod identity;
mod mounts;
mod network;
mod options;
mod reaper;
mod rootfs;
mod staging;
pub(crate) mod syscalls;

pub(crate) use exec::look_up;
pub(crate) use identity::restrict;
pub(crate) use mounts::Bind;
pub(crate) use reaper::serve_as_init;
pub(crate) use rootfs::{Tree, prepare};
pub(crate) use staging::{Staging, tmpfs};

use crate::cgroup::Cgroup;
use crate::error::Context;
use crate::namespace::Mode;
use crate::seccomp::Filter;
use crate::spec::{NamespaceKind, Spec};
use crate::{Error, terminal};
use rustix::io::{Errno, dup};
use rustix::process::{Resource, Rlimit, Signal};
use serde::{Deserialize, Serialize};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// A container to be run.
#[derive(Debug)]
pub struct Container {
    /// Name for external runtimes and messages; letters, digits, `-`, `_` and `.`.
    pub id: String,
    /// What runs and in what surroundings. `spec.root` is ignored: see `rootfs`.
    pub spec: Spec,
    /// The root file system.
    pub rootfs: RootFs,
    /// Who carries it out.
    pub runtime: RuntimeChoice,
    /// Whether to answer the chown family with success and report what was asked ([`crate::Exit`]'s `owners`), for
    /// [`Mode::SingleId`]. Embedded runtime only.
    pub record_owners: bool,
    /// Whether a small init is process 1, which forwards signals and reaps, as Docker's `--init`. Without it the
    /// user's process is process 1, and the kernel spares it every signal it has no handler for, except KILL and STOP.
    pub init: bool,
    /// Sources of bind mounts that are open already.
    pub sources: Vec<Source>,
    /// The cgroup that the container's own is made in, a path from the top of each hierarchy; `None`: near ours. It has
    /// one of its own only where this or a limit (`spec.linux.resources`) asks for it.
    pub cgroup_parent: Option<String>,
}

/// The source of a bind mount, as an open directory and a path resolved inside it: no link in it leads out.
#[derive(Debug)]
pub struct Source {
    /// The `destination` of the mount in the spec; the mount's own `source` is then not looked at.
    pub destination: PathBuf,
    /// The directory that is `/` for `path`: an ordinary one, or a detached mount as [`crate::mount_overlay`] gives.
    pub root: OwnedFd,
    /// Path inside `root`; `/` for all of it.
    pub path: PathBuf,
}

/// What a container's root file system is made of. All paths are on the host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootFs {
    /// Layer directories, topmost first.
    pub lowers: Vec<PathBuf>,
    /// Where changes go, and overlayfs's work directory on the same file system; without, nothing can be changed.
    pub upper: Option<(PathBuf, PathBuf)>,
    /// Whether the container sees it read-only. An `upper` then only takes mount points that the layers lack.
    pub read_only: bool,
}

/// Who runs a container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum RuntimeChoice {
    /// This crate.
    #[default]
    Embedded,
    /// An OCI runtime with runc's command line: a path, or a name searched in `PATH`.
    External(PathBuf),
}

/// Why a container did not start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Failure {
    /// Docker's exit code for it: 127 not found, 126 found but not runnable, 125 everything before that.
    pub code: i32,
    /// In words.
    pub message: String,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure { code: 125, message: error.to_string() }
    }
}

/// The process's three standard streams.
#[derive(Debug)]
pub(crate) enum Streams {
    /// Given; without stdin, it reads as empty.
    Files { stdin: Option<OwnedFd>, stdout: OwnedFd, stderr: OwnedFd },
    /// A new terminal of this size.
    Terminal { columns: u16, rows: u16 },
}

/// Everything a cloned process needs to become the container.
pub(crate) struct Job<'a> {
    pub mode: Mode,
    pub id: &'a str,
    pub spec: &'a Spec,
    pub filter: Option<&'a Filter>,
    pub rootfs: &'a RootFs,
    pub sources: &'a [Source],
    pub init: bool,
    pub record_owners: bool,
    /// The cgroup to enter.
    pub cgroup: Option<&'a Cgroup>,
    /// Where an external runtime that makes the cgroup itself is to make it.
    pub cgroup_parent: Option<&'a str>,
    pub streams: Streams,
    /// The limit of open files that strake was started with; the supervisor's own is higher.
    pub open_files: Rlimit,
    /// Says to the supervisor and the client what they must know before exec.
    pub report: &'a mut dyn Report,
    /// Becomes readable when the supervisor is gone.
    pub supervisor: BorrowedFd<'a>,
}

/// Messages out of a container that is being set up.
pub(crate) trait Report {
    /// Something the user asked for is done in a lesser way.
    fn warning(&mut self, text: String);
    /// The controlling end of the container's terminal.
    fn terminal(&mut self, master: OwnedFd) -> Result<(), Error>;
    /// The descriptor on which the container's chown family asks.
    fn listener(&mut self, listener: OwnedFd) -> Result<(), Error>;
    /// The program runs, though not by an exec of this process, which would have said so.
    fn close(&mut self);
}

/// The `CLONE_NEW*` flags of the namespaces that `spec` wants new.
pub(crate) fn clone_flags(spec: &Spec) -> Result<u64, Error> {
    let mut flags = libc::CLONE_NEWNS;
    for namespace in &spec.linux.namespaces {
        let flag = match namespace.kind {
            NamespaceKind::Mount => libc::CLONE_NEWNS,
            NamespaceKind::Pid => libc::CLONE_NEWPID,
            NamespaceKind::Network => libc::CLONE_NEWNET,
            NamespaceKind::Ipc => libc::CLONE_NEWIPC,
            NamespaceKind::Uts => libc::CLONE_NEWUTS,
            NamespaceKind::Cgroup => libc::CLONE_NEWCGROUP,
            NamespaceKind::User => {
                return Err(Error::Spec("user namespaces are strake's own: leave \"user\" out".into()));
            }
            NamespaceKind::Time => {
                return Err(Error::Spec("time namespaces are not supported".into()));
            }
        };
        match (&namespace.path, namespace.kind) {
            (None, _) => flags |= flag,
            (Some(_), NamespaceKind::Network | NamespaceKind::Ipc | NamespaceKind::Uts) => {}
            (Some(path), kind) => {
                return Err(Error::Spec(format!(
                    "joining the {kind:?} namespace {} is not supported",
                    path.display()
                )));
            }
        }
    }
    if flags & libc::CLONE_NEWPID == 0 {
        return Err(Error::Spec("a container without a pid namespace of its own is not supported".into()));
    }
    Ok(flags as u64)
}

/// Dies with the supervisor. Called first in a clone, and again after each change of ids, which clears it.
pub(crate) fn die_with(supervisor: BorrowedFd<'_>) -> Result<(), Error> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .doing(|| "asking to die with the supervisor")?;
    // It may have died before we asked, and a namespace's process 1 sees no parent pid to compare.
    let mut poll = [rustix::event::PollFd::new(&supervisor, rustix::event::PollFlags::IN)];
    let now = rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 };
    if rustix::event::poll(&mut poll, Some(&now)).doing(|| "looking for the supervisor")? > 0 {
        return Err(Error::Supervisor("it died".into()));
    }
    Ok(())
}

/// Turns this process, fresh from [`crate::sys::clone3`] with [`clone_flags`], into the container's. Returns only on failure.
pub(crate) fn become_container(mut job: Job<'_>) -> Failure {
    match set_up(&mut job) {
        Ok(never) => match never {},
        Err(failure) => failure,
    }
}

fn set_up(job: &mut Job<'_>) -> Result<std::convert::Infallible, Failure> {
    let spec = job.spec;
    die_with(job.supervisor)?;
    let _ = rustix::process::setrlimit(Resource::Nofile, job.open_files);
    let _ = rustix::process::setsid();
    if let Some(cgroup) = job.cgroup {
        cgroup.join().doing(|| "entering the container's cgroup")?;
        // Not before, or the group would be out of its sight.
        if spec.linux.has_namespace(NamespaceKind::Cgroup) {
            crate::sys::unshare(rustix::thread::UnshareFlags::NEWCGROUP)
                .doing(|| "making a cgroup namespace")?;
        }
    }
    syscalls::new_session_keyring();
    // Nodes and directories are made with the modes they are given.
    rustix::process::umask(rustix::fs::Mode::empty());
    join_namespaces(spec)?;
    if spec.linux.namespaces.iter().any(|n| n.kind == NamespaceKind::Network && n.path.is_none()) {
        network::loopback_up()?;
    }

    let tree = prepare(job.mode, spec, job.rootfs, job.sources)?;
    let has_terminal = matches!(job.streams, Streams::Terminal { .. });
    let devices = devices::Devices { mode: job.mode, extra: &spec.linux.devices, console: has_terminal };
    mounts::mount_all(job.mode, &tree, &spec.mounts, &devices, job.report)?;
    set_sysctls(spec)?;
    hide::hide(tree.root.as_fd(), &spec.linux)?;
    exec::make_directory(tree.root.as_fd(), &spec.process.cwd)?;
    let terminal = match job.streams {
        Streams::Terminal { columns, rows } => {
            let pair = terminal::open_in(tree.root.as_fd(), columns, rows)?;
            devices::bind_console(tree.root.as_fd(), pair.slave.as_fd())?;
            job.report.terminal(pair.master)?;
            Some(pair.slave)
        }
        Streams::Files { .. } => None,
    };
    rootfs::enter(&tree, job.rootfs.read_only, spec.linux.rootfs_propagation.as_deref())?;

    if spec.linux.has_namespace(NamespaceKind::Uts) {
        if let Some(name) = &spec.hostname {
            match rustix::system::sethostname(name.as_bytes()) {
                // Docker's and podman's profiles go by their container's capabilities, not by those in namespaces.
                Err(Errno::PERM) => job.report.warning(format!(
                    "the host name stays as it is, not {name}: a seccomp profile around strake forbids sethostname \
                     (in a container: run it with `--security-opt seccomp=unconfined`)"
                )),
                done => done.doing(|| format!("setting host name {name}"))?,
            }
        }
        if let Some(name) = &spec.domainname {
            match rustix::system::setdomainname(name.as_bytes()) {
                Err(Errno::PERM) => job.report.warning(format!("the domain name stays as it is, not {name}")),
                done => done.doing(|| format!("setting domain name {name}"))?,
            }
        }
    }
    identity::limit(&spec.process, job.report)?;
    connect(job, terminal)?;
    // From here on nothing of the host is reachable by a descriptor, also not as a working directory.
    syscalls::close_on_exec_from(3);
    exec::enter_directory(&spec.process.cwd)?;

    let process = &spec.process;
    if process.no_new_privileges {
        rustix::thread::set_no_new_privs(true).doing(|| "setting no_new_privs")?;
    }
    // Loading a filter takes no_new_privs or a capability that is about to go; what follows is allowed by any sane one.
    if job.record_owners {
        match crate::owners::listen() {
            Ok(listener) => job.report.listener(listener)?,
            // Of all filters over a process only one may have a listener.
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) => job.report.warning(
                "owners cannot be recorded, and chown fails: a seccomp filter around strake has a listener already \
                 (as in a container that strake runs with a single id)"
                    .into(),
            ),
            failed => drop(failed.doing(|| "loading the owner-recording seccomp filter")?),
        }
    }
    if let Some(filter) = job.filter {
        filter.load().doing(|| "loading the seccomp filter")?;
    }
    identity::assume(process, job.mode, job.report)?;
    die_with(job.supervisor)?;
    let program = exec::Program::find(process)?;
    if job.init {
        return Err(reaper::run_under_init(has_terminal, || program.exec()));
    }
    Err(program.exec())
}

/// Puts the standard streams in place.
fn connect(job: &mut Job<'_>, terminal: Option<OwnedFd>) -> Result<(), Error> {
    let user = &job.spec.process.user;
    let doing = || "connecting the standard streams";
    let (stdin, stdout, stderr) = match (&job.streams, terminal) {
        (_, Some(slave)) => {
            terminal::make_controlling(slave.as_fd(), user.uid)?;
            let copy = dup(&slave).doing(doing)?;
            (dup(&slave).doing(doing)?, copy, slave)
        }
        (Streams::Files { stdin, stdout, stderr }, None) => {
            let input = match stdin {
                Some(stdin) => dup(stdin).doing(doing)?,
                None => open_null()?,
            };
            (input, dup(stdout).doing(doing)?, dup(stderr).doing(doing)?)
        }
        (Streams::Terminal { .. }, None) => {
            return Err(Error::Container("the terminal is missing".into()));
        }
    };
    for stream in [&stdin, &stdout, &stderr] {
        identity::give_pipe(stream.as_fd(), user.uid);
    }
    rustix::stdio::dup2_stdin(&stdin).doing(doing)?;
    rustix::stdio::dup2_stdout(&stdout).doing(doing)?;
    rustix::stdio::dup2_stderr(&stderr).doing(doing)
}

fn open_null() -> Result<OwnedFd, Error> {
    use rustix::fs::{Mode, OFlags};
    rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW, Mode::empty())
        .doing(|| "opening /dev/null in the container")
}

fn join_namespaces(spec: &Spec) -> Result<(), Error> {
    use rustix::fs::{Mode, OFlags};
    for namespace in &spec.linux.namespaces {
        let Some(path) = &namespace.path else { continue };
        let doing = || format!("joining the namespace {}", path.display());
        let file = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).doing(doing)?;
        rustix::thread::move_into_link_name_space(file.as_fd(), None).doing(doing)?;
    }
    Ok(())
}

/// Writes kernel parameters through our own, not yet hidden /proc: they are those of the namespaces we are in.
fn set_sysctls(spec: &Spec) -> Result<(), Error> {
    for (name, value) in &spec.linux.sysctl {
        let own = |kind| spec.linux.namespaces.iter().any(|n| n.kind == kind && n.path.is_none());
        let namespaced = (name.starts_with("net.") && own(NamespaceKind::Network))
            || (name.starts_with("fs.mqueue.")
                || name.starts_with("kernel.msg")
                || name.starts_with("kernel.sem"))
                && own(NamespaceKind::Ipc)
            || name.starts_with("kernel.shm") && own(NamespaceKind::Ipc)
            || name == "kernel.domainname" && own(NamespaceKind::Uts);
        if !namespaced || name.contains("..") || name.contains('/') {
            return Err(Error::Spec(format!("sysctl \"{name}\" is not of a namespace of the container")));
        }
        let path = Path::new("/proc/sys").join(name.replace('.', "/"));
        std::fs::write(&path, value).doing(|| format!("setting sysctl {name} to \"{value}\""))?;
    }
    Ok(())
}
