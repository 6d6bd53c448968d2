//! Signals to this process, as values: a flag for those that interrupt, a queue for those that are passed on.
//!
//! The handlers do what a handler may: store to an atomic, write a byte to a pipe. They are gone after exec, so
//! nothing started from here inherits them. Each of the two functions is called at most once in a process.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, IntoRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);
static QUEUE: AtomicI32 = AtomicI32::new(-1);

/// A flag that INT, TERM and HUP set from now on, instead of ending the process. A second INT ends it.
pub fn interrupted() -> io::Result<&'static AtomicBool> {
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        handle(signal, interrupt)?;
    }
    Ok(&INTERRUPTED)
}

extern "C" fn interrupt(signal: libc::c_int) {
    if INTERRUPTED.swap(true, Ordering::Relaxed) {
        // SAFETY: _exit is async-signal-safe and takes any status.
        unsafe { libc::_exit(128 + signal) }
    }
}

/// Signals that came, in order.
#[derive(Debug)]
pub struct Signals {
    reader: OwnedFd,
}

impl Signals {
    /// Takes every signal in `signals` (by number) from now on, instead of what it would have done.
    pub fn take(signals: &[i32]) -> io::Result<Signals> {
        use rustix::pipe::{PipeFlags, pipe_with};
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        // The handler may run until the process ends, so its end of the pipe is never closed.
        QUEUE.store(writer.into_raw_fd(), Ordering::Relaxed);
        for signal in signals {
            handle(*signal, enqueue)?;
        }
        Ok(Signals { reader })
    }

    /// The next signal, waiting for one at most `timeout`.
    pub fn next(&self, timeout: Duration) -> Option<i32> {
        let timeout = rustix::time::Timespec {
            tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: timeout.subsec_nanos().into(),
        };
        let mut ready = [PollFd::new(&self.reader, PollFlags::IN)];
        if poll(&mut ready, Some(&timeout)).ok()? == 0 {
            return None;
        }
        let mut byte = [0u8; 1];
        match rustix::io::read(&self.reader, &mut byte) {
            Ok(1) => Some(i32::from(byte[0])),
            _ => None,
        }
    }
}

/// Readable when a signal waits.
impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }
}

extern "C" fn enqueue(signal: libc::c_int) {
    let byte = [signal as u8];
    // SAFETY: write is async-signal-safe; the buffer is one byte of ours; errno is put back, as the code that was
    // interrupted may be about to read it.
    unsafe {
        let errno = *libc::__errno_location();
        libc::write(QUEUE.load(Ordering::Relaxed), byte.as_ptr().cast(), 1);
        *libc::__errno_location() = errno;
    }
}

fn handle(signal: i32, handler: extern "C" fn(libc::c_int)) -> io::Result<()> {
    // SAFETY: a zeroed sigaction is a valid one, and the handler does only what is async-signal-safe.
    let done = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as *const () as usize;
        action.sa_flags = libc::SA_RESTART;
        libc::sigemptyset(&mut action.sa_mask);
        libc::sigaction(signal, &action, std::ptr::null_mut())
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
