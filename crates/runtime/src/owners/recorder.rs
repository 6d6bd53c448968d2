//! The process that answers one container's chown family, and its filter.
//!
//! It runs outside the container's pid namespace (inside it would die with the container's first process, before the
//! others), and ends by itself when the last process that the filter is on is gone. It has nothing open but the
//! listener, /proc, the upper directory and the memory file that it leaves its records in.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{AtFlags, FileType, Gid, MemfdFlags, Mode, OFlags, Uid, chownat, memfd_create};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open};

use super::calls::{self, Call, Object, Place};
use super::process::{Asker, Opened, Processes};
use super::{Device, FileId, OwnerRecord, encode};
use crate::error::Context;
use crate::sys::{self, Answer};
use crate::{Error, beneath};

/// Installs the filter, in the container's first process: as late as may be, as its own `setuid` and `chown` would be
/// answered too, and before the normal filter, which may forbid seccomp(2). Takes CAP_SYS_ADMIN in the user namespace
/// or no_new_privs; `EBUSY` if another filter has a listener. The descriptor goes to the supervisor, for [`Recorder::start`]; held calls wait for that.
pub fn listen() -> io::Result<OwnedFd> {
    sys::seccomp_listener(&calls::filter())
}

/// A process that answers one container's calls, and records whom its files are given to, until the last of the
/// container's processes is gone.
#[derive(Debug)]
pub struct Recorder {
    pid: Pid,
    pidfd: OwnedFd,
    records: OwnedFd,
}

impl Recorder {
    /// Starts it, from a single-threaded process. `init` is the container's first process, as seen from here, and
    /// `upper` the directory behind its root (without one, nothing is recorded).
    pub fn start(listener: OwnedFd, init: Pid, upper: Option<&Path>) -> Result<Recorder, Error> {
        let doing = || "starting the process that records owners";
        let records = memfd_create("strake-owners", MemfdFlags::CLOEXEC).doing(doing)?;
        let upper = match upper {
            Some(path) => Some(beneath::open_root(path).doing(|| path.display().to_string())?),
            None => None,
        };
        let proc = beneath::open_root(Path::new("/proc")).doing(|| "/proc")?;
        let parent = rustix::process::getpid();
        let Some(pid) = sys::fork().doing(doing)? else {
            let mut kept = vec![records.as_raw_fd(), listener.as_raw_fd(), proc.as_raw_fd()];
            kept.extend(upper.as_ref().map(AsRawFd::as_raw_fd));
            // SAFETY: this process exits below without returning to anyone who has another descriptor.
            let alone = unsafe { sys::close_all_but(kept) };
            let ended = alone.and_then(|()| die_with(parent)).and_then(|()| {
                let mut recording = Recording::new(listener, proc, init, upper);
                recording.run()?;
                write_all(records.as_fd(), &recording.encoded())
            });
            sys::exit_now(if ended.is_ok() { 0 } else { 1 })
        };
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).doing(doing)?;
        Ok(Recorder { pid, pidfd, records })
    }

    /// Readable when it has ended, which is soon after the container has; then [`Recorder::finish`] does not wait.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Waits for its end and reaps it. Returns a memory file with the records, for [`super::decode`], here or in
    /// another process.
    pub fn finish(self) -> Result<OwnedFd, Error> {
        match sys::wait(self.pid) {
            Ok(_) => {}
            // Someone who waits for any child was first. Whether it came to its end, the records tell.
            Err(error) if error.raw_os_error() == Some(libc::ECHILD) => {}
            Err(error) => return Err(Error::io("waiting for the process that records owners", error)),
        }
        Ok(self.records)
    }
}

fn die_with(parent: Pid) -> io::Result<()> {
    // A Ctrl-C is for the supervisor: while it stops the container, calls go on to be answered.
    crate::container::syscalls::block_all_signals()?;
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    if rustix::process::getppid() != Some(parent) {
        return Err(io::Error::other("the supervisor is gone"));
    }
    rustix::process::umask(Mode::empty());
    Ok(())
}

fn write_all(file: BorrowedFd<'_>, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let n = rustix::io::write(file, bytes)?;
        bytes = &bytes[n..];
    }
    Ok(())
}

/// The state of a recorder's process.
struct Recording {
    listener: OwnedFd,
    upper: Option<OwnedFd>,
    /// Until the first question these are not looked at: the container's first process may still be on its way to its
    /// root.
    container: Result<Processes, (OwnedFd, Pid)>,
    records: HashMap<FileId, OwnerRecord>,
}

impl Recording {
    fn new(listener: OwnedFd, proc: OwnedFd, init: Pid, upper: Option<OwnedFd>) -> Recording {
        let container = Err((proc, init));
        Recording { listener, upper, container, records: HashMap::new() }
    }

    /// Answers until no process has the filter any more.
    fn run(&mut self) -> io::Result<()> {
        loop {
            let mut ready = [PollFd::new(&self.listener, PollFlags::IN)];
            match poll(&mut ready, None) {
                Ok(_) => {}
                Err(Errno::INTR) => continue,
                Err(errno) => return Err(errno.into()),
            }
            let events = ready[0].revents();
            if !events.contains(PollFlags::IN) {
                // Hung up.
                return Ok(());
            }
            let question = match sys::notification(&self.listener) {
                Ok(question) => question,
                // The thread that asked was killed, or the kernel was.
                Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::EINTR)) => continue,
                Err(error) => return Err(error),
            };
            let answer = self.answer(&question).unwrap_or_else(|error| {
                Answer::Fail(error.raw_os_error().map_or(Errno::IO, Errno::from_raw_os_error))
            });
            match sys::notification_answer(&self.listener, question.id, answer) {
                Err(error) if error.raw_os_error() != Some(libc::ENOENT) => return Err(error),
                _ => {}
            }
        }
    }

    fn answer(&mut self, question: &libc::seccomp_notif) -> io::Result<Answer> {
        let Some(call) = calls::read(&question.data) else { return Ok(Answer::Continue) };
        match call {
            Call::Identity => return Ok(Answer::Return(0)),
            Call::Mknod { mode, device, .. } if !is_device(mode, device) => return Ok(Answer::Continue),
            Call::Chown { .. } | Call::Mknod { .. } => {}
        }
        if let Err((proc, init)) = &self.container {
            let proc = proc.try_clone()?;
            self.container = Ok(Processes::new(proc, init.as_raw_nonzero().get().unsigned_abs())?);
        }
        // Its own descriptor, as the rest of `self` changes while it is in use.
        let listener = self.listener.try_clone()?;
        let asker = Asker { pid: question.pid, question: question.id, listener: listener.as_fd() };
        match call {
            Call::Chown { object, uid, gid } => self.chown(&asker, object, uid, gid),
            Call::Mknod { at, mode, device } => self.mknod(&asker, at, mode, device),
            Call::Identity => Ok(Answer::Return(0)),
        }
    }

    fn processes(&mut self) -> io::Result<&mut Processes> {
        self.container.as_mut().map_err(|_| io::Error::other("the container's root is not known yet"))
    }

    fn chown(
        &mut self,
        asker: &Asker<'_>,
        object: Object,
        uid: Option<u32>,
        gid: Option<u32>,
    ) -> io::Result<Answer> {
        let processes = self.processes()?;
        let file = processes.open_object(asker, object)?;
        let in_root = processes.is_in_root(&file);
        // What it was not asked to change, busybox passes on as stat showed it: 0, which is no one's wish.
        let (uid, gid) = match (uid, gid) {
            (Some(0), Some(1..)) if processes.is_busybox(asker) => (None, gid),
            (Some(1..), Some(0)) if processes.is_busybox(asker) => (uid, None),
            both => both,
        };
        let given =
            chownat(&file.handle, c"", uid.map(|_| Uid::ROOT), gid.map(|_| Gid::ROOT), AtFlags::EMPTY_PATH);
        match given {
            Ok(()) => {}
            // A file of the host that is shown in the container, of an owner who is not mapped.
            Err(Errno::PERM | Errno::INVAL | Errno::OVERFLOW) if !in_root => {}
            Err(errno) => return Err(errno.into()),
        }
        if in_root && (uid.is_some() || gid.is_some()) {
            self.record(&file, |record| {
                record.uid = uid.or(record.uid);
                record.gid = gid.or(record.gid);
            })?;
        }
        Ok(Answer::Return(0))
    }

    fn mknod(&mut self, asker: &Asker<'_>, at: Place, mode: u32, device: u32) -> io::Result<Answer> {
        let processes = self.processes()?;
        let (file, permissions) = processes.create(asker, at, mode)?;
        if processes.is_in_root(&file) {
            let mode = mode & libc::S_IFMT | permissions;
            self.record(&file, |record| record.device = Some(Device { mode, rdev: u64::from(device) }))?;
        }
        Ok(Answer::Return(0))
    }

    /// Changes the record of a file in the container's root, if it is in the upper directory: where it still has a
    /// name, it is, as it was just changed.
    fn record(&mut self, file: &Opened, change: impl FnOnce(&mut OwnerRecord)) -> io::Result<()> {
        let (Some(upper), Ok(processes)) = (&self.upper, &self.container) else { return Ok(()) };
        // Overlayfs does not tell which file of the upper directory a file of its own is, so it is found by its path,
        // while another process may be renaming it.
        for _ in 0..16 {
            let path = processes.path_of(file)?;
            let found = find(upper.as_fd(), &path, file);
            if processes.path_of(file)? != path {
                continue;
            }
            let Some(id) = found? else { return Ok(()) };
            let path = PathBuf::from(OsString::from_vec(path));
            let record = match self.records.entry(id) {
                Entry::Occupied(known) => {
                    let record = known.into_mut();
                    record.path = path;
                    record
                }
                Entry::Vacant(new) => {
                    new.insert(OwnerRecord { path, file: id, uid: None, gid: None, device: None })
                }
            };
            change(record);
            return Ok(());
        }
        Ok(())
    }

    fn encoded(&self) -> Vec<u8> {
        let mut records: Vec<&OwnerRecord> = self.records.values().collect();
        records.sort_by(|a, b| (&a.path, a.file).cmp(&(&b.path, b.file)));
        encode(records.into_iter())
    }
}

/// Whether this is a node that only real root may make. A character device 0:0 is an overlayfs whiteout.
fn is_device(mode: u32, device: u32) -> bool {
    match mode & libc::S_IFMT {
        libc::S_IFBLK => true,
        libc::S_IFCHR => device != 0,
        _ => false,
    }
}

/// The file of the upper directory at a path of the container; `None` if there is none, or it is another.
fn find(upper: BorrowedFd<'_>, path: &[u8], file: &Opened) -> io::Result<Option<FileId>> {
    let path = path.strip_prefix(b"/").unwrap_or(path);
    let path: &[u8] = if path.is_empty() { b"." } else { path };
    // What leads to a file of the upper directory are directories of it, so a link is none of ours.
    let flags = OFlags::PATH | OFlags::NOFOLLOW;
    let handle = match beneath::open_without_links(upper, path, flags, Mode::empty()) {
        Ok(handle) => handle,
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR | libc::ELOOP)) => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let mask = FileId::MASK | rustix::fs::StatxFlags::TYPE;
    let status = rustix::fs::statx(&handle, c"", AtFlags::EMPTY_PATH, mask)?;
    let kind = |mode: u16| FileType::from_raw_mode(u32::from(mode));
    let same = kind(status.stx_mode) == kind(file.status.stx_mode);
    Ok(same.then(|| FileId::from_statx(&status)))
}
