//! System calls of a process that becomes a container: signals, descriptors, exec. More of what `rustix` lacks than
//! [`crate::sys`] has, needed only between clone and exec.

use rustix::process::Pid;
use std::ffi::{CStr, CString};
use std::io;
use std::mem::{MaybeUninit, zeroed};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};

/// Gives every signal its default action and unblocks all: what was ignored would stay so across exec, and in every
/// container (nohup(1) ignores SIGHUP, Rust programs SIGPIPE).
pub(crate) fn default_signals() {
    // A kernel sigaction (at most 32 bytes, of which 8 are the set) that is all zero says SIG_DFL.
    let default = [0_u64; 4];
    for signal in 1..=64 {
        // SAFETY: the action is valid for every signal; those that have none to set, KILL and STOP, answer EINVAL. Not
        // through libc, which keeps two signals to itself.
        unsafe {
            let null = std::ptr::null_mut::<u8>();
            libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), null, 8_usize);
        }
    }
    let _ = set_signal_mask(false);
}

/// Blocks every signal, for [`wait_for_signal`] to take.
pub(crate) fn block_all_signals() -> io::Result<()> {
    set_signal_mask(true)
}

/// Undoes [`block_all_signals`].
pub(crate) fn unblock_all_signals() -> io::Result<()> {
    set_signal_mask(false)
}

fn set_signal_mask(full: bool) -> io::Result<()> {
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigfillset and sigemptyset initialise the set they are given, and sigprocmask reads it.
    let rc = unsafe {
        if full {
            libc::sigfillset(set.as_mut_ptr())
        } else {
            libc::sigemptyset(set.as_mut_ptr())
        };
        libc::sigprocmask(libc::SIG_SETMASK, set.as_ptr(), std::ptr::null_mut())
    };
    if rc == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Takes the next blocked signal, waiting for it.
pub(crate) fn wait_for_signal() -> io::Result<i32> {
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    loop {
        // SAFETY: the set is initialised by sigfillset and then only read; a null info is allowed.
        let signal = unsafe {
            libc::sigfillset(set.as_mut_ptr());
            libc::sigwaitinfo(set.as_ptr(), std::ptr::null_mut())
        };
        if signal > 0 {
            return Ok(signal);
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// Sends `signal`, of any number, to `pid`; one that is gone is no matter.
pub(crate) fn kill(pid: Pid, signal: i32) {
    // SAFETY: no memory is involved.
    unsafe { libc::kill(pid.as_raw_nonzero().get(), signal) };
}

/// Sends `signal`, of any number, to the process behind `pidfd`.
pub(crate) fn pidfd_kill(pidfd: impl AsFd, signal: i32) -> io::Result<()> {
    let fd = pidfd.as_fd().as_raw_fd();
    // SAFETY: a null siginfo is allowed, and stands for what kill(2) would send.
    let rc = unsafe {
        libc::syscall(libc::SYS_pidfd_send_signal, fd, signal, std::ptr::null::<libc::siginfo_t>(), 0)
    };
    if rc == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Closes this process's memory, environment and program to the container that it is in: it is strake's, with what the
/// supervisor knew when it was cloned. An exec undoes it.
pub(crate) fn keep_to_oneself() {
    // SAFETY: numbers only. It cannot fail with this value.
    unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) };
}

/// `fork(2)` of a process that is known to have one thread: `None` in the child.
///
/// # Safety
/// There must be no other thread: the child would lack those that hold its locks.
pub(crate) unsafe fn fork_alone() -> io::Result<Option<Pid>> {
    // SAFETY: the caller's promise.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(None),
        pid => Ok(Pid::from_raw(pid)),
    }
}

/// Closes every descriptor from `first` on. Only for a process that is about to use none of them, nor values that own
/// one, any more.
pub(crate) fn close_from(first: RawFd) {
    close_range(first, 0);
}

/// Marks every descriptor from `first` on to be closed on exec.
pub(crate) fn close_on_exec_from(first: RawFd) {
    close_range(first, libc::CLOSE_RANGE_CLOEXEC);
}

fn close_range(first: RawFd, flags: libc::c_uint) {
    // SAFETY: numbers only; what closing does to owners of descriptors is said above.
    let rc = unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, flags) };
    if rc == 0 {
        return;
    }
    // CLOSE_RANGE_CLOEXEC is Linux 5.11, and a sandbox around us may know neither.
    let Ok(entries) = std::fs::read_dir("/proc/self/fd") else { return };
    let open: Vec<RawFd> = entries.flatten().filter_map(|e| e.file_name().to_str()?.parse().ok()).collect();
    for fd in open.into_iter().filter(|&fd| fd >= first) {
        // SAFETY: as above.
        unsafe {
            if flags == 0 {
                libc::close(fd);
            } else {
                libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC);
            }
        }
    }
}

/// `execve(2)`; returns only the error.
pub(crate) fn exec(path: &CStr, args: &[CString], env: &[CString]) -> io::Error {
    let pointers = |list: &[CString]| -> Vec<*const libc::c_char> {
        list.iter().map(|s| s.as_ptr()).chain([std::ptr::null()]).collect()
    };
    let (args, env) = (pointers(args), pointers(env));
    // SAFETY: both lists are of C strings that are alive, and end in a null pointer.
    unsafe { libc::execve(path.as_ptr(), args.as_ptr(), env.as_ptr()) };
    io::Error::last_os_error()
}

/// Sets `IFF_UP` on the network interface `name` of the namespace that `socket` was made in.
pub(crate) fn interface_up(socket: impl AsFd, name: &CStr) -> io::Result<()> {
    let fd = socket.as_fd().as_raw_fd();
    // SAFETY: all zero is a valid ifreq.
    let mut request: libc::ifreq = unsafe { zeroed() };
    for (to, &from) in request.ifr_name[..libc::IFNAMSIZ - 1].iter_mut().zip(name.to_bytes()) {
        *to = from as libc::c_char;
    }
    // SAFETY: both ioctls take an ifreq; the first fills in the flags, which are then the union's live member.
    unsafe {
        if libc::ioctl(fd, libc::SIOCGIFFLAGS as _, &raw mut request) != 0 {
            return Err(io::Error::last_os_error());
        }
        request.ifr_ifru.ifru_flags |= libc::IFF_UP as libc::c_short;
        if libc::ioctl(fd, libc::SIOCSIFFLAGS as _, &raw const request) != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Leaves the session keyring, with whatever keys the user's login put there, for a new one, as runc does. A kernel
/// without keyrings, or a full quota, is no matter: Docker's seccomp profile keeps containers off them too.
pub(crate) fn new_session_keyring() {
    const JOIN_SESSION_KEYRING: libc::c_int = 1;
    // SAFETY: a null name asks for an anonymous keyring.
    unsafe { libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, std::ptr::null::<libc::c_char>()) };
}

/// Loads a seccomp filter into this thread, with `SECCOMP_FILTER_FLAG_*`.
pub(crate) fn load_filter(program: &[libc::sock_filter], flags: libc::c_ulong) -> io::Result<()> {
    let len = u16::try_from(program.len()).map_err(|_| io::Error::from_raw_os_error(libc::E2BIG))?;
    // The kernel only reads through this pointer, whose type it shares with its writing calls.
    let fprog = libc::sock_fprog { len, filter: program.as_ptr().cast_mut() };
    // SAFETY: `fprog` describes exactly `program`, which outlives the call; the kernel checks its instructions.
    let rc =
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const fprog) };
    if rc == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Whether descriptor `fd` is an open SOCK_SEQPACKET socket; if so, takes it over.
pub(crate) fn adopt_packet_socket(fd: RawFd) -> Option<OwnedFd> {
    let mut kind: libc::c_int = 0;
    let mut length = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes of `kind`, and answers EBADF or ENOTSOCK for what is none.
    let rc = unsafe {
        libc::getsockopt(fd, libc::SOL_SOCKET, libc::SO_TYPE, (&raw mut kind).cast(), &raw mut length)
    };
    // SAFETY: it is open; it was passed to this process at exec, so nothing in it owns it yet.
    (rc == 0 && kind == libc::SOCK_SEQPACKET).then(|| unsafe { OwnedFd::from_raw_fd(fd) })
}
