//! What connects a running container with whoever started it: its output, its input, signals, sizes.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::sync::Mutex;

use super::log::Log;

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
    fn name(self) -> &'static str {
        match self {
            Output::Stdout => "stdout",
            Output::Stderr => "stderr",
        }
    }
}

/// The caller's end of a container that runs in the foreground.
pub struct RunIo<'a> {
    /// What the container's standard input is: for a terminal, what is copied to it. `None`: nothing.
    pub stdin: Option<OwnedFd>,
    /// Gets what the container prints, as it comes; from two threads, one for each stream.
    pub output: &'a (dyn Fn(Output, &[u8]) -> io::Result<()> + Sync),
    /// Size of the terminal, if it has one: columns and rows.
    pub size: (u16, u16),
    /// Waits for the next thing to do to the container; `None` ends it. Runs in a thread of its own,
    /// and has to return soon after `ended` is true.
    pub control: Box<dyn Fn(&(dyn Fn() -> bool + Sync)) -> Option<Control> + Send + Sync + 'a>,
}

/// Something to be done to a running container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    /// A signal for its first process, by number.
    Signal(i32),
    /// A new size of its terminal: columns and rows.
    Resize(u16, u16),
}

/// Copies what the container prints to the caller and the log, to the end of the stream.
pub(super) fn pump(
    from: OwnedFd,
    stream: Output,
    log: &Mutex<Log>,
    output: &(dyn Fn(Output, &[u8]) -> io::Result<()> + Sync),
) -> io::Result<()> {
    let mut from = File::from(from);
    let mut buffer = vec![0u8; 64 << 10];
    let mut gone = false;
    loop {
        let read = match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            // The other end of a terminal that nobody holds open any more.
            Err(error) if error.raw_os_error() == Some(5) => return Ok(()),
            Err(error) => return Err(error),
        };
        let bytes = &buffer[..read];
        log.lock().unwrap_or_else(std::sync::PoisonError::into_inner).write(stream.name(), bytes)?;
        // A reader that went away stops the copy to it, not the container.
        gone = gone || output(stream, bytes).is_err();
    }
}

/// Copies input to a terminal until either ends. Runs in a detached thread: it may wait for a key for
/// ever.
pub(super) fn feed(input: OwnedFd, terminal: OwnedFd) {
    let (mut input, mut terminal) = (File::from(input), File::from(terminal));
    let mut buffer = [0u8; 4096];
    loop {
        match input.read(&mut buffer) {
            Ok(0) => {
                // End of input is a character on a terminal.
                let _ = terminal.write_all(&[4]);
                return;
            }
            Ok(read) => {
                if terminal.write_all(&buffer[..read]).is_err() {
                    return;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}
