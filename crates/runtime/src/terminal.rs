//! Pseudoterminals for containers.
//!
//! The pair is made in a given devpts, the container's own, so that the slave has a name there (`tty` prints it) and
//! the host's terminals are out of its reach. What a user's terminal does meanwhile (raw mode, reading keys) is the
//! command line's matter.

use crate::error::Context;
use crate::{Error, beneath};
use rustix::fs::{Gid, Mode, OFlags, Uid};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Both ends of a terminal.
#[derive(Debug)]
pub(crate) struct Pair {
    /// Ours: what the container writes is read here.
    pub master: OwnedFd,
    /// The container's.
    pub slave: OwnedFd,
}

/// Makes a terminal in the devpts at /dev/pts of `root`.
pub(crate) fn open_in(root: BorrowedFd<'_>, columns: u16, rows: u16) -> Result<Pair, Error> {
    let master = beneath::open_in_root(root, c"dev/pts/ptmx", OFlags::RDWR | OFlags::NOCTTY, Mode::empty())
        .doing(|| "opening /dev/pts/ptmx for a terminal")?;
    pair(master, columns, rows)
}

fn pair(master: OwnedFd, columns: u16, rows: u16) -> Result<Pair, Error> {
    let doing = || "making a terminal";
    unlockpt(&master).doing(doing)?;
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let slave = ioctl_tiocgptpeer(&master, flags).doing(doing)?;
    resize(master.as_fd(), columns, rows).doing(doing)?;
    Ok(Pair { master, slave })
}

/// Sets the size that programs see; those in the foreground are told by SIGWINCH.
pub(crate) fn resize(terminal: BorrowedFd<'_>, columns: u16, rows: u16) -> std::io::Result<()> {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    Ok(tcsetwinsize(terminal, size)?)
}

/// Makes `slave` the controlling terminal of our session, and its owner `uid`.
pub(crate) fn make_controlling(slave: BorrowedFd<'_>, uid: u32) -> Result<(), Error> {
    rustix::process::ioctl_tiocsctty(slave).doing(|| "taking the terminal")?;
    // The group stays: devpts sets it to tty.
    let _ = rustix::fs::fchown(slave, Some(Uid::from_raw(uid)), None::<Gid>);
    Ok(())
}
