//! A tree that files are read from: a build context on the host, or the tree of an image or stage.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use runtime::beneath;
use rustix::fs::{FileType, Mode, OFlags};

use super::attributes::Xattrs;
use super::walk::{FileStat, open_dir};
use crate::view::{View, non_empty};
use crate::{Error, Name, Owner, path, xattrs};

/// A tree that files are read from. Nothing outside of its root is ever reached.
///
/// Paths are relative to the root and must lead through no links: those that a walk found, or that were resolved.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    root: BorrowedFd<'a>,
    label: &'a str,
    view: Option<&'a View>,
}

impl<'a> Source<'a> {
    /// Files of the host below the directory `root`: whoever owns them there, in an image they are root's.
    ///
    /// `label` is how errors call the tree: "the build context /home/me/app".
    pub fn host(root: BorrowedFd<'a>, label: &'a str) -> Source<'a> {
        Source { root, label, view: None }
    }

    /// The tree of an image or a stage; `label` is how errors call it: "stage build".
    pub fn image(view: &'a View, label: &'a str) -> Source<'a> {
        Source { root: view.root(), label, view: Some(view) }
    }

    /// How errors call it.
    pub fn label(&self) -> &'a str {
        self.label
    }

    /// The root, opened.
    pub(super) fn root(&self) -> BorrowedFd<'a> {
        self.root
    }

    /// The owner that a file with this status has in an image that it is copied to.
    pub(super) fn owner(&self, stat: &FileStat) -> Owner {
        match self.view {
            None => Owner::ROOT,
            Some(_) => Owner { uid: stat.uid, gid: stat.gid },
        }
    }

    /// Puts what a layer's sidecar says of `path` into its status.
    pub(super) fn amend(&self, path: &[u8], stat: &mut FileStat) -> Result<(), Error> {
        let Some(view) = self.view.filter(|_| self.has_sidecars().unwrap_or(true)) else { return Ok(()) };
        let Some(record) = view.record(path)? else { return Ok(()) };
        (stat.uid, stat.gid) = (record.owner.uid, record.owner.gid);
        let kind = match record.kind {
            b'c' => FileType::CharacterDevice,
            b'b' => FileType::BlockDevice,
            _ => stat.kind(),
        };
        stat.mode = kind.as_raw_mode() | (record.mode & 0o7777);
        stat.rdev = record.rdev;
        Ok(())
    }

    fn has_sidecars(&self) -> Result<bool, Error> {
        self.view.map_or(Ok(false), View::has_sidecars)
    }

    /// Whether the file is no file of the tree, but the mark of a deleted one, which a view of a single layer shows.
    pub(super) fn is_whiteout(&self, stat: &FileStat) -> bool {
        self.is_layer() && stat.kind() == FileType::CharacterDevice && stat.rdev == (0, 0)
    }

    fn is_layer(&self) -> bool {
        self.view.is_some_and(View::is_single)
    }

    /// The status of `path` itself; `None` where nothing is.
    pub fn lstat(&self, path: &[u8]) -> Result<Option<FileStat>, Error> {
        let Some(handle) = self.handle(path)? else { return Ok(None) };
        let stat = rustix::fs::fstat(&handle).map_err(|e| self.failed("reading the status of", path, e))?;
        let mut stat = FileStat::from(&stat);
        if self.is_whiteout(&stat) {
            return Ok(None);
        }
        self.amend(path, &mut stat)?;
        Ok(Some(stat))
    }

    /// The text of the link `path`.
    pub fn read_link(&self, path: &[u8]) -> Result<Vec<u8>, Error> {
        let failed = |e: io::Error| self.failed("reading link", path, e);
        let handle = self.handle(path)?.ok_or_else(|| failed(rustix::io::Errno::NOENT.into()))?;
        let text = rustix::fs::readlinkat(&handle, c"", Vec::new()).map_err(|e| failed(e.into()))?;
        Ok(text.into_bytes())
    }

    /// The xattrs that an image keeps of the directory `path`.
    pub fn dir_xattrs(&self, path: &[u8]) -> Result<Xattrs, Error> {
        let failed = |e: io::Error| self.failed("reading xattrs of", path, e);
        let dir = open_dir(self.root, path, OFlags::RDONLY).map_err(failed)?;
        self.xattrs(&dir).map_err(failed)
    }

    /// The xattrs that an image keeps of the regular file `path`.
    pub fn file_xattrs(&self, path: &[u8]) -> Result<Xattrs, Error> {
        let file = self.open_file(path)?;
        self.xattrs(&file).map_err(|e| self.failed("reading xattrs of", path, e))
    }

    /// The xattrs that an image keeps of an open file or directory.
    pub(super) fn xattrs(&self, file: &OwnedFd) -> io::Result<Xattrs> {
        match self.is_layer() {
            true => xattrs::image_xattrs(file),
            false => xattrs::merged_xattrs(file),
        }
    }

    /// Opens the regular file `path` for reading.
    pub fn open_file(&self, path: &[u8]) -> Result<OwnedFd, Error> {
        let failed = |e: io::Error| self.failed("opening", path, e);
        let (dir, name) = path::split(path);
        let dir = open_dir(self.root, dir, OFlags::PATH).map_err(failed)?;
        let file = open_listed(&dir, name).map_err(failed)?;
        let stat = rustix::fs::fstat(&file).map_err(|e| failed(e.into()))?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Ok(file),
            _ => Err(failed(rustix::io::Errno::INVAL.into())),
        }
    }

    fn handle(&self, path: &[u8]) -> Result<Option<OwnedFd>, Error> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW;
        match beneath::open_without_links(self.root, non_empty(path), flags, Mode::empty()) {
            Ok(handle) => Ok(Some(handle)),
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
            Err(e) => Err(self.failed("looking up", path, e)),
        }
    }

    /// The error of a system call on `path`.
    pub fn failed(&self, doing: &str, path: &[u8], source: impl Into<io::Error>) -> Error {
        Error::io(format!("{doing} {} in {}", path::shown(path), self.label), source)
    }
}

impl std::fmt::Debug for Source<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Source").field(&Name::from(self.label)).finish()
    }
}

/// Opens a file that was listed as a regular one, which is to be checked once more. Were it a pipe by now, nobody would
/// wait for anybody.
pub(super) fn open_listed(dir: &impl std::os::fd::AsFd, name: &[u8]) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(dir, name, flags, Mode::empty())?)
}
