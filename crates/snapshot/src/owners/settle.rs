//! Whose the files of a finished step are, where the step itself could not have been told.
//!
//! Two things are known: what owners its processes asked for, by the identity of the file in the upper directory; and
//! whose files of the lowers were. A file that overlayfs copied up is still whose it was, one that the step made is
//! root's, and either is whose it was last asked to be.
//!
//! Copied up or made? Overlayfs marks what it copies up, but in a user namespace does not say from where: a file that
//! was also renamed is found by its time and size. It marks no links and pipes, nor files with several names: those
//! are taken for copies if they have the kind, the time and the target of the lowers' file of that name.

use std::collections::HashMap;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use runtime::beneath;
use runtime::owners::{FileId, OwnerRecord};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, major, minor, openat, statat};

use super::{Owners, Record};
use crate::error::{Doing as _, Error};
use crate::view::{View, is_whiteout, non_empty};
use crate::xattrs::{self, OPAQUE, ORIGIN};
use crate::{Kind, Owner, path};

/// Writes the sidecar of the upper directory `upper` of a step that ran over `lowers` (topmost first) and asked for
/// the owners `asked`; also returns it. To be called before [`crate::normalize`], which removes the notes of origin.
/// A sidecar that is there, of an earlier run of the same container, is carried on by its paths.
///
/// # Errors
/// [`Error::Io`] with the path, and what mounting the lowers says.
pub fn settle(upper: &Path, lowers: &[PathBuf], asked: &[OwnerRecord]) -> Result<Owners, Error> {
    let view = View::open(lowers)?;
    let mut settled = Owners::default();
    let earlier = Owners::of_layer(upper)?;
    if !asked.is_empty() || !earlier.0.is_empty() || view.has_sidecars()? {
        let asked = asked.iter().map(|record| (record.file, record)).collect();
        let step = Step { upper, view: &view, asked, earlier: &earlier, by_time: view.records_by_time()? };
        step.settle(&mut settled)?;
    }
    settled.save(upper)?;
    Ok(settled)
}

/// What a file keeps when it is copied up and renamed.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct TimeAndSize {
    time: (i64, u64),
    size: i64,
}

impl TimeAndSize {
    pub(crate) fn of(stat: &Stat) -> TimeAndSize {
        TimeAndSize { time: (stat.st_mtime, stat.st_mtime_nsec), size: stat.st_size }
    }
}

struct Step<'a> {
    upper: &'a Path,
    view: &'a View,
    asked: HashMap<FileId, &'a OwnerRecord>,
    earlier: &'a Owners,
    /// What the lowers' sidecars say of regular files, by time and size; `None` where they differ.
    by_time: HashMap<TimeAndSize, Option<Record>>,
}

impl Step<'_> {
    fn settle(&self, settled: &mut Owners) -> Result<(), Error> {
        let root = beneath::open_root(self.upper).doing("opening", self.upper)?;
        let mut todo = vec![Vec::new()];
        let mut linked: HashMap<u64, Vec<Vec<u8>>> = HashMap::new();
        while let Some(at) = todo.pop() {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY;
            let directory = beneath::open_without_links(root.as_fd(), non_empty(&at), flags, Mode::empty());
            let directory = directory.map_err(|e| self.failed(&at, e))?;
            let listing = Dir::read_from(&directory).map_err(|e| self.failed(&at, e))?;
            for entry in listing {
                let entry = entry.map_err(|e| self.failed(&at, e))?;
                let name = entry.file_name().to_bytes();
                if matches!(name, b"." | b"..") {
                    continue;
                }
                let below = path::join(&at, name);
                let failed = |e: rustix::io::Errno| self.failed(&below, e);
                let stat = statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?;
                if is_whiteout(&stat) {
                    continue;
                }
                let kind = FileType::from_raw_mode(stat.st_mode);
                let fd = match kind {
                    FileType::Directory | FileType::RegularFile => {
                        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
                        Some(openat(&directory, name, flags, Mode::empty()).map_err(failed)?)
                    }
                    _ => None,
                };
                if let Some(record) = self.record(&directory, name, &below, &stat, fd.as_ref())? {
                    settled.0.insert(below.clone(), record);
                }
                if stat.st_nlink > 1 && kind != FileType::Directory {
                    linked.entry(stat.st_ino).or_default().push(below.clone());
                }
                if kind == FileType::Directory {
                    todo.push(below);
                }
            }
        }
        // What is known of one name of a file is true of all.
        for names in linked.into_values() {
            if let Some(record) = names.iter().find_map(|name| settled.0.get(name).copied()) {
                settled.0.extend(names.into_iter().map(|name| (name, record)));
            }
        }
        Ok(())
    }

    /// What is to be said of a file of the upper directory; `None`: nothing, it is root's and what it looks like.
    fn record(
        &self,
        directory: &OwnedFd,
        name: &[u8],
        at: &[u8],
        stat: &Stat,
        fd: Option<&OwnedFd>,
    ) -> Result<Option<Record>, Error> {
        let inherited = match self.earlier.0.get(at) {
            Some(earlier) => Some(*earlier),
            None => self.inherited(directory, name, at, stat, fd)?,
        };
        let id = FileId::of(directory, name).map_err(|e| self.failed(at, e))?;
        let asked = self.asked.get(&id);
        let was = inherited.map_or(Owner::ROOT, |record| record.owner);
        let owner = Owner {
            uid: asked.and_then(|record| record.uid).unwrap_or(was.uid),
            gid: asked.and_then(|record| record.gid).unwrap_or(was.gid),
        };
        let mode = stat.st_mode & 0o7777;
        let is_empty_file =
            FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile && stat.st_size == 0;
        let device = if is_empty_file { self.device(asked.copied(), inherited) } else { None };
        if owner == Owner::ROOT && device.is_none() {
            return Ok(None);
        }
        let kind = device.unwrap_or_else(|| match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => Kind::Directory,
            FileType::Symlink => Kind::Symlink(Vec::new()),
            FileType::Fifo => Kind::Fifo,
            _ => Kind::File { size: 0 },
        });
        Ok(Record::of(&kind, owner, mode))
    }

    /// The device that an empty file stands for.
    fn device(&self, asked: Option<&OwnerRecord>, inherited: Option<Record>) -> Option<Kind> {
        if let Some(device) = asked.and_then(|record| record.device) {
            let (major, minor) = (major(device.rdev), minor(device.rdev));
            return Some(match FileType::from_raw_mode(device.mode) {
                FileType::BlockDevice => Kind::BlockDevice { major, minor },
                _ => Kind::CharDevice { major, minor },
            });
        }
        match inherited?.kind_over(Kind::Fifo) {
            Kind::Fifo => None,
            device => Some(device),
        }
    }

    /// What the lowers say of the file that this one was copied up from, if it was.
    fn inherited(
        &self,
        directory: &OwnedFd,
        name: &[u8],
        at: &[u8],
        stat: &Stat,
        fd: Option<&OwnedFd>,
    ) -> Result<Option<Record>, Error> {
        let mark = |name: &str| match fd {
            Some(fd) => xattrs::get(fd, name.as_bytes()).map_err(|e| self.failed(at, e)),
            None => Ok(None),
        };
        if mark(ORIGIN)?.is_some() {
            return Ok(match self.view.lstat(at)? {
                Some(_) => self.view.record(at)?,
                None => self.by_time.get(&TimeAndSize::of(stat)).copied().flatten(),
            });
        }
        let is_copy = match self.view.lstat(at)? {
            None => false,
            Some(lower) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => {
                // One that the step made hides what was there.
                FileType::from_raw_mode(lower.st_mode) == FileType::Directory
                    && mark(OPAQUE)?.as_deref() != Some(b"y")
            }
            Some(lower) => {
                let same_time = (lower.st_mtime, lower.st_mtime_nsec) == (stat.st_mtime, stat.st_mtime_nsec);
                let is_link = FileType::from_raw_mode(stat.st_mode) == FileType::Symlink;
                let same_kind =
                    (lower.st_mode ^ stat.st_mode) & 0o170_000 == 0 && lower.st_size == stat.st_size;
                same_time && same_kind && (!is_link || self.same_target(directory, name, at)?)
            }
        };
        if is_copy { self.view.record(at) } else { Ok(None) }
    }

    fn same_target(&self, directory: &OwnedFd, name: &[u8], at: &[u8]) -> Result<bool, Error> {
        let ours = rustix::fs::readlinkat(directory, name, Vec::new()).map_err(|e| self.failed(at, e))?;
        Ok(self.view.readlink(at)? == ours.as_bytes())
    }

    fn failed(&self, at: &[u8], error: impl Into<std::io::Error>) -> Error {
        use std::os::unix::ffi::OsStrExt as _;
        let path = self.upper.join(std::ffi::OsStr::from_bytes(at));
        Error::io(format!("looking at {}", path.display()), error)
    }
}
