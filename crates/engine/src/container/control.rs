//! The way for other strake processes to reach a container that runs: a FIFO beside it, for signals, and a file that
//! says how it ended, also to those who still hold it open when the container has been removed.
//!
//! The process that runs the container reads the FIFO; nobody else can reach a process in another user's, or even
//! another command's, user namespace. One that is not being read means that the container does not run.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat};
use rustix::io::Errno;

use super::attach::Control;
use crate::{Error, Result};

fn fifo(dir: &Path) -> PathBuf {
    dir.join("control")
}

fn exit_file(dir: &Path) -> PathBuf {
    dir.join("exit")
}

/// The reading end, held by the process that runs the container.
pub(super) struct Receiver {
    fifo: OwnedFd,
    exit: File,
}

impl Receiver {
    /// Opens it for the container in `dir` (on the host), whose lock the caller holds.
    pub fn open(dir: &Path) -> Result<Receiver> {
        let path = fifo(dir);
        let failed = |e: Errno| Error::io(format!("make {}", path.display()), &e.into());
        match mknodat(CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o600), 0) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(failed(error)),
        }
        // Opened for writing too: so it never comes to an end.
        let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fifo = rustix::fs::openat(CWD, &path, flags, Mode::empty()).map_err(failed)?;
        let path = exit_file(dir);
        let exit = File::create(&path).map_err(|e| Error::io(format!("make {}", path.display()), &e))?;
        Ok(Receiver { fifo, exit })
    }

    /// Readable when something came.
    pub fn ready(&self) -> BorrowedFd<'_> {
        self.fifo.as_fd()
    }

    /// What came.
    pub fn take(&self) -> Vec<Control> {
        // Each message is written at once, and shorter than what is kept whole.
        let mut buffer = [0u8; 4096];
        match rustix::io::read(&self.fifo, &mut buffer) {
            Ok(read) => String::from_utf8_lossy(&buffer[..read])
                .lines()
                .filter_map(|line| line.parse().ok().map(Control::Signal))
                .collect(),
            Err(_) => Vec::new(),
        }
    }

    /// Tells how the container ended.
    pub fn ended(&mut self, code: i32) {
        // Where the disk is full, the record says it too.
        let _ = write!(self.exit, "{code}");
    }
}

/// Sends a signal to the process 1 of the container in `dir` (on the host). `false`: it does not run.
pub(crate) fn send_signal(dir: &Path, signal: i32) -> Result<bool> {
    let path = fifo(dir);
    let flags = i32::try_from((OFlags::NONBLOCK | OFlags::NOFOLLOW).bits()).unwrap_or(0);
    let sent = OpenOptions::new()
        .write(true)
        .custom_flags(flags)
        .open(&path)
        .and_then(|mut fifo| fifo.write_all(format!("{signal}\n").as_bytes()));
    match sent {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) if error.raw_os_error() == Some(Errno::NXIO.raw_os_error()) => Ok(false),
        Err(error) => Err(Error::io(format!("write to {}", path.display()), &error)),
    }
}

/// Says how a container ended, once it has.
pub(crate) struct ExitFile(Option<File>);

impl ExitFile {
    /// For the container in `dir` (on the host), while it runs.
    pub fn open(dir: &Path) -> ExitFile {
        ExitFile(File::open(exit_file(dir)).ok())
    }

    /// The exit code; `None` where nobody was left to write it.
    pub fn code(mut self) -> Option<i32> {
        let mut text = String::new();
        self.0.as_mut()?.read_to_string(&mut text).ok()?;
        text.trim().parse().ok()
    }
}

/// Drops what another run left, so that nobody takes it for this one's.
pub(super) fn forget(dir: &Path) {
    let _ = fs::remove_file(exit_file(dir));
}
