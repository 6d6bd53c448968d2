//! Overlayfs as a detached mount.

use crate::Error;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// A stack of directories.
#[derive(Clone, Copy, Debug)]
pub struct Overlay<'a> {
    /// Lower directories, topmost first.
    pub lowers: &'a [PathBuf],
    /// The writable layer, if any.
    pub upper: Option<Upper<'a>>,
}

/// A writable layer.
#[derive(Clone, Copy, Debug)]
pub struct Upper<'a> {
    /// Where changes are written.
    pub fs: &'a Path,
    /// Overlayfs's work directory, on the same file system as `fs`.
    pub work: &'a Path,
}

/// Mounts `o`, detached.
pub fn mount_overlay(_o: &Overlay) -> Result<OwnedFd, Error> {
    Err(Error::Unsupported {
        what: "not built yet".into(),
        remedy: "wait".into(),
    })
}
