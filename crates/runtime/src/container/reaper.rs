//! A small process 1: forwards signals to one child, reaps everybody's, ends with the child's exit code.
//!
//! For `--init`, and as the root of the pid namespace in which an external runtime runs.

use super::Failure;
use super::syscalls;
use crate::sys::exit_now;
use rustix::process::{Pid, WaitOptions};

/// Runs `exec` in a child (it returns only on failure) and serves as its init until it ends. Returns the failure, if
/// the child could not be made.
pub(crate) fn run_under_init(foreground: bool, exec: impl FnOnce() -> Failure) -> Failure {
    // Before there is anybody to look; the child's exec undoes it.
    syscalls::keep_to_oneself();
    // Blocked, so that each is taken by `wait_for_signal` and none is missed.
    if let Err(error) = syscalls::block_all_signals() {
        return Failure { code: 125, message: format!("starting init: {error}") };
    }
    // SAFETY: this process came out of clone3 with one thread and has started none.
    let child = match unsafe { syscalls::fork_alone() } {
        Ok(Some(child)) => child,
        Ok(None) => {
            let _ = rustix::process::setpgid(None, None);
            if foreground {
                // From a background group this would stop us: the signal is still blocked.
                let _ = rustix::termios::tcsetpgrp(rustix::stdio::stdin(), rustix::process::getpid());
            }
            if syscalls::unblock_all_signals().is_err() {
                exit_now(125);
            }
            return exec();
        }
        Err(error) => return Failure { code: 125, message: format!("starting init: {error}") },
    };
    serve_as_init(child)
}

/// Serves as init of this pid namespace until `child` ends.
pub(crate) fn serve_as_init(child: Pid) -> ! {
    syscalls::keep_to_oneself();
    // The descriptor whose end tells the supervisor of the exec, and whatever else, must not stay open here.
    syscalls::close_from(3);
    // Else its name is that of the descriptor it was run from.
    let _ = rustix::thread::set_name(c"strake-init");
    if syscalls::block_all_signals().is_err() {
        exit_now(125);
    }
    loop {
        // Before the first wait too: it may have ended before signals were blocked.
        if let Some(code) = reap(child) {
            exit_now(code);
        }
        match syscalls::wait_for_signal() {
            Ok(libc::SIGCHLD) => {}
            Ok(signal) => syscalls::kill(child, signal),
            Err(_) => exit_now(125),
        }
    }
}

/// Reaps all who ended; the exit code of `child` if it is among them.
fn reap(child: Pid) -> Option<i32> {
    let mut code = None;
    while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
        if pid == child {
            code = status.exit_status().or_else(|| status.terminating_signal().map(|s| 128 + s));
        }
    }
    code
}
