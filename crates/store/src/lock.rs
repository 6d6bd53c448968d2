//! Files that are locked by whoever uses what they lie beside.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::{Error, Result};

/// Opens a lock file: a `new` one, or one that is there or in a directory that lost it.
pub(crate) fn open_lock(path: &Path, new: bool) -> Result<File> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .create_new(new)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(|e| Error::io("cannot open", path, e))
}

/// Opens a lock file; `None` where what it lies beside is gone.
pub(crate) fn open_existing(path: &Path) -> Result<Option<File>> {
    match open_lock(path, false) {
        Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    }
}
