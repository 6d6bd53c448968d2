//! This terminal, and these signals, connected with a container in the foreground.

use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use engine::container::{Control, Output, RunIo};
use runtime::signals::Signals;
use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr};

use crate::cli::CliError;

/// Signals that are the container's to handle while it runs in the foreground.
const FORWARDED: &[i32] = &[1, 2, 3, 10, 12, 15];
/// The window changed.
const SIGWINCH: i32 = 28;

/// The terminal and the signals of this process, until dropped.
pub(crate) struct Attached {
    tty: bool,
    stdin: Option<OwnedFd>,
    /// The terminal's modes as they were.
    saved: Option<Termios>,
    signals: Signals,
}

impl Attached {
    /// Takes the signals; with `tty`, puts the terminal in raw mode.
    pub(crate) fn new(tty: bool, stdin: bool) -> Result<Attached, CliError> {
        let input = io::stdin();
        if tty && stdin && !isatty(&input) {
            return Err(CliError::new("the input device is not a TTY"));
        }
        let mut taken = FORWARDED.to_vec();
        if tty {
            taken.push(SIGWINCH);
        }
        let signals =
            Signals::take(&taken).map_err(|e| CliError::new(format!("cannot take signals: {e}")))?;
        let copy = || input.as_fd().try_clone_to_owned();
        let stdin =
            stdin.then(copy).transpose().map_err(|e| CliError::new(format!("no standard input: {e}")))?;
        let saved = match tty && stdin.is_some() {
            true => tcgetattr(&input).ok(),
            false => None,
        };
        if let Some(saved) = &saved {
            let mut raw = saved.clone();
            raw.make_raw();
            tcsetattr(&input, OptionalActions::Now, &raw)
                .map_err(|e| CliError::new(format!("cannot set the terminal's mode: {e}")))?;
        }
        Ok(Attached { tty, stdin, saved, signals })
    }

    /// The caller's end for the engine.
    pub(crate) fn io(&self) -> RunIo<'_> {
        RunIo {
            stdin: self.stdin.as_ref().and_then(|fd| fd.try_clone().ok()),
            output: &print,
            size: size(),
            control: Box::new(|ended| self.next(ended)),
        }
    }

    fn next(&self, ended: &(dyn Fn() -> bool + Sync)) -> Option<Control> {
        while !ended() {
            match self.signals.next(Duration::from_millis(50)) {
                Some(SIGWINCH) if self.tty => {
                    let (columns, rows) = size();
                    return Some(Control::Resize(columns, rows));
                }
                Some(signal) => return Some(Control::Signal(signal)),
                None => {}
            }
        }
        None
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        if let Some(saved) = &self.saved {
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, saved);
        }
    }
}

fn print(stream: Output, bytes: &[u8]) -> io::Result<()> {
    let write = |out: &mut dyn Write| out.write_all(bytes).and_then(|()| out.flush());
    match stream {
        Output::Stdout => write(&mut io::stdout().lock()),
        Output::Stderr => write(&mut io::stderr().lock()),
    }
}

/// Columns and rows of the terminal; 80 by 24 where there is none.
fn size() -> (u16, u16) {
    let sizes = [tcgetwinsize(io::stdout()), tcgetwinsize(io::stdin())];
    let size = sizes.into_iter().flatten().find(|size| size.ws_col > 0);
    size.map_or((80, 24), |size| (size.ws_col, size.ws_row))
}
