//! This terminal, and these signals, connected with a container in the foreground.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use engine::container::{Control, Controls, Input, Output, RunIo};
use runtime::signals::Signals;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr};

use crate::cli::CliError;

/// Signals that are the container's to handle while it runs in the foreground: HUP, INT, QUIT, USR1, USR2, ALRM,
/// TERM.
const FORWARDED: &[i32] = &[1, 2, 3, 10, 12, 14, 15];
/// The window changed.
const SIGWINCH: i32 = 28;
const SIGINT: i32 = 2;
const SIGTERM: i32 = 15;
const SIGKILL: i32 = 9;
/// The so-manieth INT or TERM is meant for whoever does not listen.
const ENOUGH: u8 = 3;

/// What of this process is the container's.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    /// It has a terminal.
    pub tty: bool,
    /// It reads what we read.
    pub stdin: bool,
    /// What it prints, we print.
    pub stdout: bool,
    /// The same of its other stream.
    pub stderr: bool,
    /// What it prints is kept, too.
    pub log: bool,
    /// Signals to us are for it.
    pub signals: bool,
}

/// The terminal and the signals of this process, until dropped.
pub(crate) struct Attached {
    wanted: Wanted,
    stdin: Option<OwnedFd>,
    /// The terminal's modes as they were.
    saved: Option<Termios>,
    signals: Signals,
    /// INT and TERM that came.
    asked: AtomicU8,
}

impl Attached {
    /// Takes the signals; with a terminal and input, puts ours in raw mode.
    pub(crate) fn new(wanted: Wanted) -> Result<Attached, CliError> {
        let input = io::stdin();
        if wanted.tty && wanted.stdin && !isatty(&input) {
            return Err(CliError::plain("the input device is not a TTY", 1));
        }
        let mut taken = FORWARDED.to_vec();
        if wanted.tty {
            taken.push(SIGWINCH);
        }
        let signals =
            Signals::take(&taken).map_err(|e| CliError::new(format!("cannot take signals: {e}")))?;
        let copy = || input.as_fd().try_clone_to_owned();
        let stdin = wanted.stdin.then(copy).transpose();
        let stdin = stdin.map_err(|e| CliError::new(format!("no standard input: {e}")))?;
        let saved = match wanted.tty && stdin.is_some() {
            true => tcgetattr(&input).ok(),
            false => None,
        };
        if let Some(saved) = &saved {
            let mut raw = saved.clone();
            raw.make_raw();
            tcsetattr(&input, OptionalActions::Now, &raw)
                .map_err(|e| CliError::new(format!("cannot set the terminal's mode: {e}")))?;
        }
        Ok(Attached { wanted, stdin, saved, signals, asked: AtomicU8::new(0) })
    }

    /// The caller's end for the engine.
    pub(crate) fn io(&self) -> RunIo<'_> {
        RunIo {
            stdin: match self.stdin.as_ref().and_then(|fd| fd.try_clone().ok()) {
                Some(input) => Input::From(input),
                None => Input::Empty,
            },
            output: match (self.wanted.stdout, self.wanted.stderr) {
                (true, true) => &print,
                (true, false) => &|stream, bytes| only(Output::Stdout, stream, bytes),
                (false, true) => &|stream, bytes| only(Output::Stderr, stream, bytes),
                (false, false) => &|_, _| Ok(()),
            },
            log: self.wanted.log,
            size: size(),
            controls: Some(self),
            started: &|| (),
        }
    }
}

impl Controls for Attached {
    fn ready(&self) -> BorrowedFd<'_> {
        self.signals.as_fd()
    }

    fn next(&self) -> Option<Control> {
        let signal = self.signals.next(Duration::ZERO)?;
        if signal == SIGWINCH && self.wanted.tty {
            let (columns, rows) = size();
            return Some(Control::Resize(columns, rows));
        }
        if !self.wanted.signals {
            // Without a daemon that would go on with it, the container ends with us.
            return Some(Control::Signal(SIGKILL));
        }
        if matches!(signal, SIGINT | SIGTERM) && self.asked.fetch_add(1, Ordering::Relaxed) + 1 >= ENOUGH {
            crate::cli::output::say(&format!(
                "\rstrake: got {ENOUGH} SIGTERM/SIGINTs, killing the container"
            ));
            return Some(Control::Signal(SIGKILL));
        }
        Some(Control::Signal(signal))
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        if let Some(saved) = &self.saved {
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, saved);
        }
    }
}

fn only(wanted: Output, stream: Output, bytes: &[u8]) -> io::Result<()> {
    if wanted == stream { print(stream, bytes) } else { Ok(()) }
}

/// Past the buffers of the standard library: what comes in pieces is to be seen in pieces.
fn print(stream: Output, bytes: &[u8]) -> io::Result<()> {
    match stream {
        Output::Stdout => write_all(io::stdout().as_fd(), bytes),
        Output::Stderr => write_all(io::stderr().as_fd(), bytes),
    }
}

fn write_all(to: BorrowedFd<'_>, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(to, bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => bytes = &bytes[written..],
            Err(Errno::INTR) => {}
            // Somebody who shares it made it non-blocking.
            Err(Errno::AGAIN) => {
                let _ = poll(&mut [PollFd::from_borrowed_fd(to, PollFlags::OUT)], None);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Columns and rows of the terminal; 80 by 24 where there is none.
fn size() -> (u16, u16) {
    let sizes = [tcgetwinsize(io::stdout()), tcgetwinsize(io::stdin())];
    let size = sizes.into_iter().flatten().find(|size| size.ws_col > 0);
    size.map_or((80, 24), |size| (size.ws_col, size.ws_row))
}
