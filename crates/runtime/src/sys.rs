//! System calls that `rustix` lacks, each behind a function that cannot be misused from safe code, or says in what it
//! can. No policy here: what to mount, map or filter is decided by the callers.

use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};

use rustix::process::Pid;

/// A child made by [`clone3`].
#[derive(Debug)]
pub(crate) struct Child {
    /// Its process id, as seen here.
    pub(crate) pid: Pid,
    /// Refers to the child and no other, even after its pid is reused.
    pub(crate) pidfd: OwnedFd,
}

/// `struct clone_args` as of Linux 5.7; later fields are left to their zero.
#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// `clone3(2)` without a stack of its own, as `fork` is: `None` in the child, its ids in the parent. `CLONE_PIDFD` is
/// added to `flags`.
///
/// # Safety
/// The child is a copy of the calling thread alone. In a process with other threads it may do nothing but
/// async-signal-safe things (no allocation, no locks) until it execs or exits. `flags` must not hold `CLONE_VM`,
/// `CLONE_SETTLS` or the `*_SETTID` ones.
pub(crate) unsafe fn clone3(flags: u64) -> io::Result<Option<Child>> {
    let mut pidfd: RawFd = -1;
    let args = CloneArgs {
        flags: flags | libc::CLONE_PIDFD as u64,
        pidfd: &raw mut pidfd as u64,
        exit_signal: libc::SIGCHLD as u64,
        ..CloneArgs::default()
    };
    // SAFETY: `args` is a valid clone_args of the size given, and `pidfd` outlives the call; the child's restrictions
    // are the caller's promise.
    let mut rc = unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of::<CloneArgs>()) };
    if rc == -1 && io::Error::last_os_error().raw_os_error() == Some(libc::ENOSYS) {
        // Docker's and podman's seccomp profiles have no clone3, as a filter cannot see its flags.
        let flags = args.flags | args.exit_signal;
        // SAFETY: as above; clone(2) puts the pidfd where its third argument points, and the rest is unused.
        rc = unsafe { libc::syscall(libc::SYS_clone, flags, 0, &raw mut pidfd, 0, 0) };
    }
    match rc {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(None),
        pid => {
            let pid = Pid::from_raw(pid as i32).expect("because a clone's pid is positive");
            // SAFETY: CLONE_PIDFD made the kernel store a new descriptor, ours alone, there.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            Ok(Some(Child { pid, pidfd }))
        }
    }
}

/// Ends this process at once: no destructors, no `atexit`, no flushing. The way out of a forked child.
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: _exit takes any status and does not return.
    unsafe { libc::_exit(code) }
}

/// Runs `f` in a forked child and returns the bytes it made; what it did to its namespaces or ids dies with it.
///
/// Only for a single-threaded process: `f` allocates. A child that died without an answer is an error.
pub(crate) fn in_child(f: impl FnOnce() -> Vec<u8>) -> io::Result<Vec<u8>> {
    use std::io::{Read, Write};

    let (mut reader, mut writer) = io::pipe()?;
    let Some(pid) = fork()? else {
        drop(reader);
        let answer = std::panic::catch_unwind(std::panic::AssertUnwindSafe(f));
        let ok = answer.is_ok_and(|bytes| writer.write_all(&bytes).is_ok());
        exit_now(if ok { 0 } else { 1 })
    };
    drop(writer);
    let mut answer = Vec::new();
    let read = reader.read_to_end(&mut answer);
    let status = wait(pid)?;
    read?;
    match status {
        0 => Ok(answer),
        code => Err(io::Error::other(format!("the probe process ended with status {code}"))),
    }
}

/// Waits for the child `pid` to end: its exit code, or 128 and the signal that ended it.
pub(crate) fn wait(pid: Pid) -> io::Result<i32> {
    loop {
        match rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty()) {
            Ok(Some((_, status))) => {
                return Ok(status
                    .exit_status()
                    .or_else(|| status.terminating_signal().map(|signal| 128 + signal))
                    .unwrap_or(255));
            }
            Ok(None) => return Ok(255),
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// `struct mount_attr` of `mount_setattr(2)`: the `MOUNT_ATTR_*` bits to set and to clear, and a propagation type.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct MountAttr {
    /// `MOUNT_ATTR_*` bits to set.
    pub(crate) set: u64,
    /// `MOUNT_ATTR_*` bits to clear.
    pub(crate) clear: u64,
    /// `MS_PRIVATE`, `MS_SLAVE`… or 0 to leave it.
    pub(crate) propagation: u64,
    /// For id-mapped mounts, which we do not make.
    pub(crate) userns_fd: u64,
}

impl MountAttr {
    /// Sets these attributes.
    pub(crate) fn set(bits: u64) -> MountAttr {
        MountAttr { set: bits, ..MountAttr::default() }
    }
}

/// `mount_setattr(2)` on the mount that `fd` is in, with everything below it if `recursive`. Linux 5.12 (`ENOSYS`
/// before).
pub(crate) fn mount_setattr(fd: impl AsFd, recursive: bool, attr: &MountAttr) -> io::Result<()> {
    let mut flags = libc::AT_EMPTY_PATH;
    if recursive {
        flags |= libc::AT_RECURSIVE;
    }
    // SAFETY: the path is a C string, `attr` a mount_attr of the size given; the kernel reads both and keeps neither.
    let rc = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            fd.as_fd().as_raw_fd(),
            c"".as_ptr(),
            flags,
            std::ptr::from_ref(attr),
            size_of::<MountAttr>(),
        )
    };
    if rc == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Adds a seccomp filter to this thread, and returns the descriptor on which its `SECCOMP_RET_USER_NOTIF` questions
/// arrive. Needs `no_new_privs` or CAP_SYS_ADMIN in the user namespace; `EBUSY` if a filter before has a listener.
pub(crate) fn seccomp_listener(program: &[libc::sock_filter]) -> io::Result<OwnedFd> {
    let len = u16::try_from(program.len())
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "seccomp program too long"))?;
    // The kernel only reads through this pointer, whose type it shares with its writing calls.
    let fprog = libc::sock_fprog { len, filter: program.as_ptr().cast_mut() };
    let load = |flags: libc::c_ulong| {
        // SAFETY: `fprog` describes exactly `program`, which outlives the call, and the kernel checks its instructions.
        match unsafe {
            libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const fprog)
        } {
            -1 => Err(io::Error::last_os_error()),
            // SAFETY: with NEW_LISTENER, success is a new descriptor, ours alone.
            fd => Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) }),
        }
    };
    // Lets only a fatal signal take back a question being answered, where it would else be asked again (Linux 5.19).
    let listener = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
    match load(listener | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => load(listener),
        done => done,
    }
}

/// Takes the next question from a seccomp listener. `ENOENT`: the asking thread was killed meanwhile.
pub(crate) fn notification(listener: impl AsFd) -> io::Result<libc::seccomp_notif> {
    // SAFETY: all zero is a valid seccomp_notif, and what the kernel demands to be given.
    let mut question: libc::seccomp_notif = unsafe { zeroed() };
    // SAFETY: the ioctl writes one seccomp_notif.
    let rc = unsafe {
        libc::ioctl(listener.as_fd().as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_RECV, &raw mut question)
    };
    if rc == 0 { Ok(question) } else { Err(io::Error::last_os_error()) }
}

/// Whether the thread that asked `id` still waits for its answer: until then its pid is its own.
pub(crate) fn notification_is_valid(listener: impl AsFd, id: u64) -> bool {
    // SAFETY: the ioctl reads one u64.
    unsafe {
        libc::ioctl(listener.as_fd().as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_ID_VALID, &raw const id) == 0
    }
}

/// Answers the question `id`: the call returns `result`, or goes on to the kernel as it was made.
pub(crate) fn notification_answer(listener: impl AsFd, id: u64, answer: Answer) -> io::Result<()> {
    let response = libc::seccomp_notif_resp {
        id,
        val: match answer {
            Answer::Return(value) => value,
            Answer::Fail(_) | Answer::Continue => 0,
        },
        error: match answer {
            Answer::Fail(errno) => -errno.raw_os_error(),
            Answer::Return(_) | Answer::Continue => 0,
        },
        flags: match answer {
            Answer::Continue => libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32,
            Answer::Return(_) | Answer::Fail(_) => 0,
        },
    };
    // SAFETY: the ioctl reads one seccomp_notif_resp.
    let rc = unsafe {
        libc::ioctl(listener.as_fd().as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND, &raw const response)
    };
    if rc == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// What a call that was held by a seccomp listener comes back with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Success, with this value.
    Return(i64),
    /// Failure.
    Fail(rustix::io::Errno),
    /// The kernel carries it out after all.
    Continue,
}

/// Reads another process's memory at `address`; returns how many bytes there were.
pub(crate) fn read_memory(pid: u32, address: u64, buffer: &mut [u8]) -> io::Result<usize> {
    let local = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    let remote = libc::iovec { iov_base: address as *mut libc::c_void, iov_len: buffer.len() };
    // SAFETY: the local side is `buffer` exactly; the remote address is checked by the kernel against that process.
    let n =
        unsafe { libc::process_vm_readv(pid as libc::pid_t, &raw const local, 1, &raw const remote, 1, 0) };
    if n < 0 { Err(io::Error::last_os_error()) } else { Ok(n as usize) }
}

/// Leaves the namespaces in `flags` (`CLONE_NEWUSER`, `CLONE_NEWNS`…) for new ones.
pub(crate) fn unshare(flags: rustix::thread::UnshareFlags) -> io::Result<()> {
    if flags.contains(rustix::thread::UnshareFlags::FILES) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: it is unsafe for CLONE_FILES alone, which is ruled out.
    Ok(unsafe { rustix::thread::unshare_unsafe(flags) }?)
}

/// The name of the user `uid`, from whatever the system asks for names.
pub(crate) fn user_name(uid: u32) -> Option<String> {
    // A line of passwd(5) is short; a directory service's answer can be longer.
    let mut buffer = vec![0; 16 * 1024];
    // SAFETY: all zero is a valid passwd (null pointers).
    let mut entry: libc::passwd = unsafe { zeroed() };
    let mut found = std::ptr::null_mut();
    // SAFETY: every pointer is to a live object, and the buffer's length is its own.
    let rc =
        unsafe { libc::getpwuid_r(uid, &raw mut entry, buffer.as_mut_ptr(), buffer.len(), &raw mut found) };
    if rc != 0 || found.is_null() || entry.pw_name.is_null() {
        return None;
    }
    // SAFETY: on success pw_name is a C string in `buffer`, which is alive.
    let name = unsafe { std::ffi::CStr::from_ptr(entry.pw_name) };
    name.to_str().ok().map(str::to_owned)
}

/// Whether this process has one thread. Where that cannot be told (no /proc), it has not.
pub(crate) fn is_single_threaded() -> bool {
    std::fs::read_dir("/proc/self/task").is_ok_and(|tasks| tasks.count() == 1)
}

/// `fork(2)`: the child's pid in the parent, `None` in the child. Only for a single-threaded process, where the child
/// is a whole copy; with more threads it fails with `EDEADLK`.
pub(crate) fn fork() -> io::Result<Option<Pid>> {
    if !is_single_threaded() {
        return Err(io::Error::from_raw_os_error(libc::EDEADLK));
    }
    // SAFETY: there is no other thread, so no lock can be held by one that the child lacks.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(None),
        pid => Ok(Some(Pid::from_raw(pid).expect("because fork returned a positive pid"))),
    }
}

/// Closes every descriptor of this process but these.
///
/// # Safety
/// Whatever else owns a descriptor must never be used or dropped again: for a forked child that ends in
/// [`exit_now`].
pub(crate) unsafe fn close_all_but(mut kept: Vec<RawFd>) -> io::Result<()> {
    kept.sort_unstable();
    let mut first: libc::c_uint = 0;
    let close = |first: libc::c_uint, last: libc::c_uint| {
        // SAFETY: closing is the caller's promise to be right.
        let rc = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
        if rc == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    };
    for fd in kept {
        let fd = fd.unsigned_abs();
        if fd > first {
            close(first, fd - 1)?;
        }
        first = fd + 1;
    }
    close(first, libc::c_uint::MAX)
}
