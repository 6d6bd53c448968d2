//! The supervisor, as seen by the process that runs containers.
//!
//! One process per strake process, started on first need by re-executing this program: it is small and has one thread,
//! so that cloning it is cheap and safe, which cannot be said of a process that builds. It inherits the namespaces that
//! [`crate::enter`] made. It and every container end when this process does, however it does: their socket closes.

mod protocol;
mod serve;
mod wire;

pub(crate) use serve::serve;
pub(crate) use wire::receive_descriptor;

use crate::container::{Container, RuntimeChoice};
use crate::error::Context;
use crate::init::SUPERVISOR;
use crate::owners::{self, OwnerRecord};
use crate::spec::Seccomp;
use crate::sys::{MountAttr, mount_setattr};
use crate::{Error, terminal};
use protocol::{Control, Event, Request, Streams};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::io::Errno;
use rustix::mount::{OpenTreeFlags, open_tree};
use rustix::net::Shutdown;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The process that containers are children of. Any number of threads may use it at once.
#[derive(Debug)]
pub struct Supervisor {
    requests: Mutex<Requests>,
    process: Child,
}

#[derive(Debug)]
struct Requests {
    /// `None` only while dropping.
    socket: Option<OwnedFd>,
    /// The seccomp sections that the supervisor has.
    filters: Vec<Arc<Seccomp>>,
}

/// What of the environment the supervisor gets: to find other runtimes by, and what they may want to know of the host.
/// Not the rest: with `--init` a process of it is in the container, and what people have in their environment is nobody
/// else's.
const PASSED_ON: [&str; 5] = ["PATH", "HOME", "TMPDIR", "LANG", "STRAKE_OVERLAY_MOUNT"];

/// What a container's standard streams are connected to.
#[derive(Debug)]
pub enum Stdio {
    /// Files or pipes. Without stdin, it reads as empty. A pipe is given to the container's user, so that it can be
    /// opened as /dev/stdout. Whoever reads such a pipe should do so to its end: only then has all output arrived.
    Pipes {
        /// Standard input.
        stdin: Option<OwnedFd>,
        /// Standard output.
        stdout: OwnedFd,
        /// Standard error.
        stderr: OwnedFd,
    },
    /// A new terminal for all three; see [`Running::terminal`].
    Terminal {
        /// Columns at the start.
        columns: u16,
        /// Rows at the start.
        rows: u16,
    },
}

/// A container that was started, or is about to be. Dropping it kills the container.
#[derive(Debug)]
pub struct Running {
    socket: Arc<OwnedFd>,
    terminal: Option<OwnedFd>,
    resizable: Option<OwnedFd>,
    started: bool,
    pid: i32,
    exit: Option<Exit>,
}

/// How a container ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exit {
    /// The exit code of its process 1, or 128 and the number of the signal that killed it. Where it did not start:
    /// 127 if the command was not found, 126 if it cannot be executed, 125 for anything else, as Docker has it.
    pub code: i32,
    /// Why it did not start.
    pub error: Option<String>,
    /// What was done in a lesser way than asked, in words for the user.
    pub warnings: Vec<String>,
    /// With [`Container::record_owners`]: the owners that its processes gave files.
    pub owners: Vec<OwnerRecord>,
    /// Whether a process of it was killed because it reached its limit of memory.
    pub out_of_memory: bool,
}

/// Sends signals to a container from another thread than the one that waits for it.
#[derive(Clone, Debug)]
pub struct Signaller(Arc<OwnedFd>);

impl Supervisor {
    /// Starts the process. It costs some milliseconds, most of which pass while this process goes on.
    ///
    /// # Errors
    /// When [`crate::enter`] was not called, or the process cannot be started.
    pub fn start() -> Result<Supervisor, Error> {
        if crate::mode().is_none() {
            return Err(Error::Supervisor("the namespaces were not entered before starting it".into()));
        }
        let (ours, theirs) = wire::pair().doing(|| "making a socket")?;
        let program = protected_executable();
        let process = Command::new(format!("/proc/self/fd/{}", program.as_raw_fd()))
            .arg0(SUPERVISOR)
            .env_clear()
            .envs(PASSED_ON.into_iter().filter_map(|name| Some((name, std::env::var_os(name)?))))
            .stdin(theirs)
            .stdout(std::process::Stdio::null())
            .spawn()
            .doing(|| "starting the container supervisor")?;
        let requests = Mutex::new(Requests { socket: Some(ours), filters: Vec::new() });
        Ok(Supervisor { requests, process })
    }

    /// Starts a container. What goes wrong with it, also while starting, comes as its [`Exit`].
    ///
    /// # Errors
    /// When the supervisor is gone.
    pub fn run(&self, container: &Container, stdio: Stdio) -> Result<Running, Error> {
        let (ours, theirs) = wire::pair().doing(|| "making a socket")?;
        let sources: Vec<Cow<'_>> = container.sources.iter().map(|s| detached(s.root.as_fd())).collect();
        let mut descriptors = vec![theirs.as_fd()];
        descriptors.extend(sources.iter().map(Cow::as_fd));
        let streams = match &stdio {
            Stdio::Pipes { stdin, stdout, stderr } => {
                descriptors.extend(stdin.as_ref().map(|f| f.as_fd()));
                descriptors.extend([stdout.as_fd(), stderr.as_fd()]);
                Streams::Files { stdin: stdin.is_some() }
            }
            &Stdio::Terminal { columns, rows } => Streams::Terminal { columns, rows },
        };
        let mut spec = container.spec.clone();
        let seccomp = spec.linux.seccomp.take();
        let external = match &container.runtime {
            RuntimeChoice::Embedded => None,
            RuntimeChoice::External(path) => Some(path.clone()),
        };
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        let (filter, new_filter) = match &seccomp {
            None => (None, None),
            Some(seccomp) => {
                match requests.filters.iter().position(|f| Arc::ptr_eq(f, seccomp) || f == seccomp) {
                    Some(place) => (Some(place), None),
                    None => {
                        requests.filters.push(Arc::clone(seccomp));
                        (Some(requests.filters.len() - 1), Some(Seccomp::clone(seccomp)))
                    }
                }
            }
        };
        let request = Request {
            id: container.id.clone(),
            spec,
            filter,
            new_filter,
            rootfs: container.rootfs.clone(),
            external,
            record_owners: container.record_owners,
            init: container.init,
            sources: container.sources.iter().map(|s| (s.destination.clone(), s.path.clone())).collect(),
            cgroup_parent: container.cgroup_parent.clone(),
            streams,
        };
        let sent = match &requests.socket {
            Some(socket) => wire::send(socket, &request, &descriptors),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        };
        if let Err(error) = sent {
            if request.new_filter.is_some() {
                requests.filters.pop();
            }
            return Err(gone(error));
        }
        Ok(Running {
            socket: Arc::new(ours),
            terminal: None,
            resizable: None,
            started: false,
            pid: 0,
            exit: None,
        })
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        // Closed, the socket tells it to kill what runs and to end; once it has, no container is left.
        self.requests.get_mut().unwrap_or_else(PoisonError::into_inner).socket = None;
        let _ = self.process.wait();
    }
}

impl Running {
    /// Waits for the end of the container. Asked again, it says the same.
    ///
    /// # Errors
    /// When the supervisor died.
    pub fn wait(&mut self) -> Result<Exit, Error> {
        loop {
            if let Some(exit) = &self.exit {
                return Ok(exit.clone());
            }
            self.next_event()?;
        }
    }

    /// As [`Running::wait`], but for no longer than `time`: `None` if the container runs on.
    ///
    /// # Errors
    /// When the supervisor died.
    pub fn wait_for(&mut self, time: Duration) -> Result<Option<Exit>, Error> {
        let until = Instant::now() + time;
        while self.exit.is_none() {
            let left = until.saturating_duration_since(Instant::now());
            let left = Timespec::try_from(left).expect("because it is at most what was asked for");
            let mut polled = [PollFd::new(&*self.socket, PollFlags::IN)];
            match poll(&mut polled, Some(&left)) {
                Ok(0) => return Ok(None),
                Ok(_) => {}
                Err(Errno::INTR) => continue,
                Err(errno) => return Err(Error::io("waiting for a container", errno)),
            }
            self.next_event()?;
        }
        Ok(self.exit.clone())
    }

    /// Waits until the program runs: `false` if it came to an end before, or never started ([`Running::wait`] knows).
    ///
    /// # Errors
    /// When the supervisor died.
    pub fn wait_started(&mut self) -> Result<bool, Error> {
        while !self.started && self.exit.is_none() {
            self.next_event()?;
        }
        Ok(self.started)
    }

    /// The container's process 1 as this process sees it, once it runs; `None` before, or where it is not known.
    pub fn pid(&self) -> Option<i32> {
        Some(self.pid).filter(|pid| *pid > 0)
    }

    /// The controlling end of the container's terminal, once: what the container writes is read here, until EIO says
    /// that it is over. `None` without a terminal, or if the container failed before it had one.
    pub fn terminal(&mut self) -> Option<OwnedFd> {
        while self.terminal.is_none() && !self.started && self.exit.is_none() {
            self.next_event().ok()?;
        }
        self.terminal.take()
    }

    /// Tells the terminal's programs of a new window size.
    pub fn resize(&self, columns: u16, rows: u16) -> io::Result<()> {
        match &self.resizable {
            Some(master) => terminal::resize(master.as_fd(), columns, rows),
            None => Ok(()),
        }
    }

    /// Sends a signal to the container's process 1; nothing happens if it has ended. Without a handler in that process
    /// the kernel drops every signal but SIGKILL and SIGSTOP.
    pub fn signal(&self, signal: i32) {
        Signaller(Arc::clone(&self.socket)).signal(signal);
    }

    /// A handle to send signals while another thread is in [`Running::wait`].
    pub fn signaller(&self) -> Signaller {
        Signaller(Arc::clone(&self.socket))
    }

    fn next_event(&mut self) -> Result<(), Error> {
        let (event, mut descriptors) = wire::receive::<Event>(&self.socket)
            .map_err(gone)?
            .ok_or_else(|| Error::Supervisor("it died".into()))?;
        match event {
            Event::Terminal => {
                self.terminal = descriptors.pop();
                self.resizable = self.terminal.as_ref().and_then(|master| master.try_clone().ok());
            }
            Event::Started { pid } => (self.started, self.pid) = (true, pid),
            Event::Exited { code, error, warnings, owners, out_of_memory } => {
                let owners = match descriptors.pop() {
                    Some(records) if owners => owners::decode(records)?,
                    _ => Vec::new(),
                };
                self.exit = Some(Exit { code, error, warnings, owners, out_of_memory });
            }
        }
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Not just closed: a signaller may hold the socket too.
        let _ = rustix::net::shutdown(&self.socket, Shutdown::Both);
    }
}

impl Signaller {
    /// As [`Running::signal`].
    pub fn signal(&self, signal: i32) {
        let _ = wire::send(&self.0, &Control::Signal(signal), &[]);
    }
}

/// A descriptor that is ours or someone else's.
enum Cow<'a> {
    Own(OwnedFd),
    Borrowed(BorrowedFd<'a>),
}

impl Cow<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Cow::Own(fd) => fd.as_fd(),
            Cow::Borrowed(fd) => *fd,
        }
    }
}

/// A source's root as a detached mount, which is all that another mount namespace can use. Before Linux 6.15 one that
/// is detached already cannot be copied; given as it is, it serves one container.
fn detached(root: BorrowedFd<'_>) -> Cow<'_> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH
        | OpenTreeFlags::AT_RECURSIVE;
    open_tree(root, c"", flags).map_or(Cow::Borrowed(root), Cow::Own)
}

fn gone(error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => Error::Supervisor("it died".into()),
        _ => Error::io("talking to the container supervisor", error),
    }
}

/// This program, opened in a way that nobody can write through. Until its exec a container's process runs it, and its
/// /proc/self/exe must not be a door to the file on the host (CVE-2019-5736).
fn protected_executable() -> OwnedFd {
    read_only_mount().or_else(|_| sealed_copy()).unwrap_or_else(|_| {
        // Neither is possible: as it is, then. It takes a directory that the container's ids may write to.
        let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::CLOEXEC;
        rustix::fs::open("/proc/self/exe", flags, rustix::fs::Mode::empty())
            .expect("because a running program can open itself")
    })
}

fn read_only_mount() -> io::Result<OwnedFd> {
    // By its path: /proc/self/exe itself is in the mount namespace that we came from.
    let path = std::fs::read_link("/proc/self/exe")?;
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let mount = open_tree(CWD, path, flags)?;
    let (there, here) = (rustix::fs::fstat(&mount)?, rustix::fs::stat("/proc/self/exe")?);
    if (there.st_dev, there.st_ino) != (here.st_dev, here.st_ino) {
        return Err(io::ErrorKind::NotFound.into());
    }
    mount_setattr(&mount, false, &MountAttr::set(libc::MOUNT_ATTR_RDONLY))?;
    Ok(mount)
}

/// For a program whose file was replaced or deleted since it started.
fn sealed_copy() -> io::Result<OwnedFd> {
    let copy = memfd_create("strake", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    let mut copy = std::fs::File::from(copy);
    io::copy(&mut std::fs::File::open("/proc/self/exe")?, &mut copy)?;
    fcntl_add_seals(&copy, SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE)?;
    Ok(copy.into())
}
