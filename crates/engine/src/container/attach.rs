//! What connects a running container with whoever started it: its output, its input, signals, sizes.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, PoisonError};

use runtime::Running;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{FileType, fstat};

use super::log::Log;
use crate::{Error, Result};

/// Which of the streams a container printed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// Standard output, and everything of a terminal.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Output {
    /// Its name in a log.
    pub(super) fn name(self) -> &'static str {
        match self {
            Output::Stdout => "stdout",
            Output::Stderr => "stderr",
        }
    }
}

/// What a container reads.
#[derive(Debug)]
pub enum Input {
    /// Nothing: its end comes at once.
    Empty,
    /// Nothing ever comes, and no end either: for a container in the background with `-i`.
    Silent,
    /// What is read from this, to its end.
    From(OwnedFd),
}

/// The caller's end of a running container.
pub struct RunIo<'a> {
    /// What it reads.
    pub stdin: Input,
    /// Gets what the container prints, as it comes; from two threads, one for each stream. Once it fails, the
    /// container's stream is closed, as a pipe's is whose reader went away.
    pub output: &'a (dyn Fn(Output, &[u8]) -> io::Result<()> + Sync),
    /// Whether what it prints is kept, if the container has a log at all. One that is watched and then removed needs
    /// none: nobody will read it, and it would cost the disk what flows through a pipe.
    pub log: bool,
    /// Size of the terminal, if it has one: columns and rows.
    pub size: (u16, u16),
    /// Where signals and sizes come from, if anywhere.
    pub controls: Option<&'a dyn Controls>,
    /// Called once the container's program runs.
    pub started: &'a dyn Fn(),
}

/// A source of things to be done to a running container. Asked in a thread of its own.
pub trait Controls: Sync {
    /// Readable when there is something.
    fn ready(&self) -> BorrowedFd<'_>;
    /// The next thing, if there is one now; does not wait.
    fn next(&self) -> Option<Control>;
}

/// Something to be done to a running container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    /// A signal for its first process, by number.
    Signal(i32),
    /// A new size of its terminal: columns and rows.
    Resize(u16, u16),
}

/// Copies what the container prints to the caller and the log, to the end of the stream. `Ok(false)`: to the end of
/// the caller's patience, who took no more.
pub(super) fn pump(
    from: OwnedFd,
    stream: Output,
    log: Option<&Mutex<Log>>,
    output: &(dyn Fn(Output, &[u8]) -> io::Result<()> + Sync),
) -> io::Result<bool> {
    let mut from = File::from(from);
    let mut buffer = vec![0u8; 64 << 10];
    let locked = |log: &Mutex<Log>, bytes: &[u8]| {
        log.lock().unwrap_or_else(PoisonError::into_inner).write(stream, bytes);
    };
    let outcome = loop {
        let read = match from.read(&mut buffer) {
            Ok(0) => break Ok(true),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            // The other end of a terminal that nobody holds open any more.
            Err(error) if error.raw_os_error() == Some(5) => break Ok(true),
            Err(error) => break Err(error),
        };
        if let Some(log) = log {
            locked(log, &buffer[..read]);
        }
        if output(stream, &buffer[..read]).is_err() {
            break Ok(false);
        }
    };
    if let Some(log) = log {
        log.lock().unwrap_or_else(PoisonError::into_inner).end(stream);
    }
    outcome
}

/// Whether a container may be given this as its standard input itself. A pipe is what it would get anyhow; a file or a
/// terminal of the host it could open anew, to write.
pub(super) fn may_be_given(input: &OwnedFd) -> bool {
    fstat(input)
        .is_ok_and(|stat| matches!(FileType::from_raw_mode(stat.st_mode), FileType::Fifo | FileType::Socket))
}

/// What [`feed`] copies to.
pub(super) enum FeedTo {
    /// A terminal, on which the end of input is a character.
    Terminal(OwnedFd),
    /// A pipe, which is closed at the end.
    Pipe(OwnedFd),
}

/// Copies input to a terminal or a pipe until either ends. Runs in a detached thread: it may wait for a key for ever.
pub(super) fn feed(input: OwnedFd, to: FeedTo) {
    let mut input = File::from(input);
    let (mut output, end): (File, &[u8]) = match to {
        FeedTo::Terminal(terminal) => (File::from(terminal), &[4]),
        FeedTo::Pipe(pipe) => (File::from(pipe), &[]),
    };
    let mut buffer = vec![0u8; 64 << 10];
    loop {
        match input.read(&mut buffer) {
            Ok(0) => {
                let _ = output.write_all(end);
                return;
            }
            Ok(read) => {
                if output.write_all(&buffer[..read]).is_err() {
                    return;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // Somebody made it non-blocking: it is shared with whoever started us.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let mut fds = [rustix::event::PollFd::new(&input, rustix::event::PollFlags::IN)];
                let _ = rustix::event::poll(&mut fds, None);
            }
            Err(_) => return,
        }
    }
}

/// Tells a terminal its new size; the kernel tells its programs.
pub(super) fn resize(window: Option<&OwnedFd>, columns: u16, rows: u16) {
    let size = rustix::termios::Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    if let Some(window) = window {
        // A terminal that is gone has no size.
        let _ = rustix::termios::tcsetwinsize(window.as_fd(), size);
    }
}

/// Serves what runs on a terminal of its own, to its end.
pub(crate) fn on_terminal(mut running: Running, mut io: RunIo<'_>) -> Result<runtime::Exit> {
    let input = std::mem::replace(&mut io.stdin, Input::Empty);
    let Some(master) = running.terminal() else { return Ok(running.wait()?) };
    let copy = || master.try_clone().map_err(|e| Error::io("copy a terminal", &e));
    if let Input::From(input) = input {
        let terminal = copy()?;
        std::thread::spawn(move || feed(input, FeedTo::Terminal(terminal)));
    }
    let window = copy()?;
    let (over, end) = io::pipe().map_err(|e| Error::io("open a pipe", &e))?;
    let handle = &running.signaller();
    let (output, controls) = (io.output, io.controls);
    std::thread::scope(|scope| {
        scope.spawn(move || pump(master, Output::Stdout, None, output));
        scope.spawn(move || {
            let Some(controls) = controls else { return };
            loop {
                let mut fds = [
                    PollFd::new(&over, PollFlags::IN),
                    PollFd::from_borrowed_fd(controls.ready(), PollFlags::IN),
                ];
                while poll(&mut fds, None).is_err() {}
                if !fds[0].revents().is_empty() {
                    return;
                }
                while let Some(control) = controls.next() {
                    match control {
                        Control::Signal(signal) => handle.signal(signal),
                        Control::Resize(columns, rows) => resize(Some(&window), columns, rows),
                    }
                }
            }
        });
        let exit = running.wait();
        // The thread waits for this.
        drop(end);
        Ok(exit?)
    })
}
