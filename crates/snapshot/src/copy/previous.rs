//! The layer that the same step made before: where a file is to be the same again, it is linked from there.
//!
//! Nothing ever writes to a layer that is done, so two layers can share a file. Within one layer a file of the
//! earlier one is taken at most once: else files that are two here would become names of one.

use std::collections::HashSet;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use rustix::fs::{AtFlags, Mode, OFlags};

use super::attributes::Xattrs;
use super::digests::Digests;
use super::plan::Meta;
use super::walk::{FileStat, open_dir};
use crate::Owner;
use crate::owners::Owners;
use crate::xattrs as layer_xattrs;

pub(super) struct Previous {
    root: OwnedFd,
    owners: Owners,
    digests: Digests,
    /// Inodes that were taken.
    taken: Mutex<HashSet<u64>>,
}

/// A file of the earlier layer that has the size and metadata that are wanted.
pub(super) struct Candidate {
    pub file: OwnedFd,
}

impl Previous {
    /// The layer directory `path`; `None` where it cannot be used, which is never an error.
    pub fn open(path: &Path) -> Option<Previous> {
        let root = runtime::beneath::open_root(path).ok()?;
        let owners = Owners::of_layer(path).ok()?;
        let digests = Digests::of_layer(path);
        Some(Previous { root, owners, digests, taken: Mutex::new(HashSet::new()) })
    }

    /// Whether its file `path` is known to have this content.
    pub fn is_known(&self, path: &[u8], digest: &[u8; 32]) -> bool {
        self.digests.has(path, digest)
    }

    /// The directory `path` of it.
    pub fn dir(&self, path: &[u8]) -> Option<OwnedFd> {
        open_dir(self.root.as_fd(), path, OFlags::PATH).ok()
    }

    /// The file `name` of the directory `dir`, if all but its content is as wanted.
    pub fn candidate(
        &self,
        dir: BorrowedFd<'_>,
        name: &[u8],
        path: &[u8],
        size: u64,
        meta: &Meta,
        xattrs: &Xattrs,
    ) -> Option<Candidate> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let stat = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        let stat = FileStat::from(&stat);
        let owner = match self.owners.0.get(path) {
            Some(record) => record.owner,
            None => Owner { uid: stat.uid, gid: stat.gid },
        };
        let same = stat.kind() == rustix::fs::FileType::RegularFile
            && stat.size == size
            && stat.mode & 0o7777 == meta.mode
            && stat.mtime == meta.mtime
            && owner == meta.owner;
        if !same {
            return None;
        }
        let file = rustix::fs::openat(dir, name, flags, Mode::empty()).ok()?;
        if layer_xattrs::image_xattrs(&file).ok()? != *xattrs {
            return None;
        }
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.insert(stat.ino).then_some(Candidate { file })
    }
}

impl Candidate {
    /// Whether the bytes of the file from `offset` on are these. `buffer` is for its own use.
    pub fn reads(&self, offset: u64, expected: &[u8], buffer: &mut Vec<u8>) -> io::Result<bool> {
        buffer.clear();
        super::read_at(self.file.as_fd(), buffer, offset, expected.len())?;
        Ok(buffer == expected)
    }
}
