//! Entering the namespaces in which strake may mount.

use crate::Error;

/// How the ids of files and processes map to the host's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Real root: every id is itself.
    Root,
    /// A user namespace with a range of subordinate ids.
    Mapped,
    /// A user namespace in which only id 0 exists, our own.
    SingleId,
}

/// Puts this (single-threaded) process where it may mount.
pub fn enter() -> Result<Mode, Error> {
    Err(Error::Unsupported {
        what: "not built yet".into(),
        remedy: "wait".into(),
    })
}

/// The mode this process entered, if it did.
pub fn mode() -> Option<Mode> {
    None
}
