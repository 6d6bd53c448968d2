//! A read-only look at a stack of layers as the one tree that a container would see.
//!
//! The kernel merges: the view is a detached overlay mount (of a single layer, just its directory). Paths are bytes,
//! absolute or not, resolved with the image's root as `/`: no link leads out. Owners that a layer could not hold are
//! read from the layers' sidecars.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::OnceLock;

use runtime::beneath;
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, makedev};
use rustix::io::Errno;

use crate::error::{Doing as _, Error};
use crate::owners::{Owners, Record};
use crate::xattrs::{self, Xattrs};
use crate::{Entry, Kind, Mtime, Owner, path};

/// The merged tree of some layers.
pub struct View {
    root: OwnedFd,
    lowers: Vec<PathBuf>,
    /// Sidecars of the layers, and the layers opened, topmost first; read when first asked for.
    sidecars: OnceLock<Vec<(OwnedFd, Owners)>>,
}

/// A name in a directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DirEntry {
    /// The name.
    pub name: Vec<u8>,
    /// Whether it is a directory itself (no link to one).
    pub is_dir: bool,
}

impl View {
    /// Merges `lowers`, layer directories, topmost first. None at all is an empty tree.
    ///
    /// # Errors
    /// What mounting says; it takes the namespaces of [`runtime::enter`].
    pub fn open(lowers: &[PathBuf]) -> Result<View, Error> {
        let root = runtime::mount_overlay(&runtime::Overlay { lowers, upper: None })?;
        Ok(View { root, lowers: lowers.to_vec(), sidecars: OnceLock::new() })
    }

    /// The root, for `openat2`; an `O_PATH` descriptor if the view is of one layer, in which case whiteouts show as
    /// devices 0:0 to whoever uses it.
    pub fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// Whether it is of one layer, seen without overlayfs.
    pub(crate) fn is_single(&self) -> bool {
        self.lowers.len() == 1
    }

    /// What `path` is, links followed; `None` if it is not there.
    ///
    /// # Errors
    /// What the kernel says, with the path in the image.
    pub fn stat(&self, path: &[u8]) -> Result<Option<Stat>, Error> {
        self.stat_with(path, OFlags::PATH)
    }

    /// What `path` itself is, be it a link; links before its last name are followed.
    ///
    /// # Errors
    /// As `stat`.
    pub fn lstat(&self, path: &[u8]) -> Result<Option<Stat>, Error> {
        self.stat_with(path, OFlags::PATH | OFlags::NOFOLLOW)
    }

    fn stat_with(&self, path: &[u8], flags: OFlags) -> Result<Option<Stat>, Error> {
        let Some(fd) =
            found(beneath::open_in_root(self.root(), non_empty(path), flags, Mode::empty()), path)?
        else {
            return Ok(None);
        };
        let mut stat = rustix::fs::fstat(&fd).map_err(|e| failed("looking at", path, e))?;
        if is_whiteout(&stat) {
            return Ok(None);
        }
        if self.has_sidecars()? {
            let resolved = self.resolve_fd(&fd, path)?;
            if let Some(record) = self.record(&resolved)? {
                overlay_record(&mut stat, &record);
            }
        }
        Ok(Some(stat))
    }

    /// The text of the link `path`.
    ///
    /// # Errors
    /// `EINVAL` if it is none, `ENOENT`, and as `stat`.
    pub fn readlink(&self, path: &[u8]) -> Result<Vec<u8>, Error> {
        use std::os::unix::ffi::OsStringExt as _;
        let target = beneath::readlink(self.root(), path).map_err(|e| failed("reading the link", path, e))?;
        Ok(target.into_os_string().into_vec())
    }

    /// The names in the directory `path` (links followed), sorted.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`, and as `stat`.
    pub fn read_dir(&self, path: &[u8]) -> Result<Vec<DirEntry>, Error> {
        let doing = |e| failed("reading the directory", path, e);
        let path = if path.is_empty() { b"." } else { path };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let fd = beneath::open_in_root(self.root(), path, flags, Mode::empty()).map_err(doing)?;
        let mut entries = Vec::new();
        for entry in Dir::read_from(&fd).map_err(|e| doing(e.into()))? {
            let entry = entry.map_err(|e| doing(e.into()))?;
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") {
                continue;
            }
            let mut kind = entry.file_type();
            if matches!(kind, FileType::Unknown | FileType::CharacterDevice) {
                let stat =
                    rustix::fs::statat(&fd, name, AtFlags::SYMLINK_NOFOLLOW).map_err(|e| doing(e.into()))?;
                if is_whiteout(&stat) {
                    continue;
                }
                kind = FileType::from_raw_mode(stat.st_mode);
            }
            entries.push(DirEntry { name: name.to_vec(), is_dir: kind == FileType::Directory });
        }
        entries.sort();
        Ok(entries)
    }

    /// Opens the regular file `path` for reading, links followed; anything else is refused without being opened.
    ///
    /// # Errors
    /// `ENOENT`, `EISDIR`, `EINVAL`, and as `stat`.
    pub fn open_file(&self, path: &[u8]) -> Result<File, Error> {
        let fd = beneath::open_file(self.root(), path).map_err(|e| failed("opening", path, e))?;
        Ok(File::from(fd))
    }

    /// `path` without links, as it would read inside the image: clean, relative to the root. `None` if it is not
    /// there. The last name is followed too.
    ///
    /// # Errors
    /// As `stat`.
    pub fn resolve(&self, path: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        match found(beneath::open_in_root(self.root(), non_empty(path), OFlags::PATH, Mode::empty()), path)? {
            Some(fd) => self.resolve_fd(&fd, path).map(Some),
            None => Ok(None),
        }
    }

    /// All of what `path` is, for putting it into another layer. No part of `path` may be a link but the last, which
    /// is not followed; `None` if it is not there, or something before it is no directory.
    ///
    /// # Errors
    /// As `stat`.
    pub fn entry(&self, path: &[u8]) -> Result<Option<Entry>, Error> {
        let Some((stat, fd)) = self.lookup(path)? else { return Ok(None) };
        let mut kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Kind::File { size: stat.st_size as u64 },
            FileType::Directory => Kind::Directory,
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(&fd, c"", Vec::new());
                Kind::Symlink(target.map_err(|e| failed("reading the link", path, e))?.into_bytes())
            }
            FileType::CharacterDevice => Kind::CharDevice {
                major: rustix::fs::major(stat.st_rdev),
                minor: rustix::fs::minor(stat.st_rdev),
            },
            FileType::BlockDevice => Kind::BlockDevice {
                major: rustix::fs::major(stat.st_rdev),
                minor: rustix::fs::minor(stat.st_rdev),
            },
            FileType::Fifo => Kind::Fifo,
            // A socket is nobody's once its server is gone.
            _ => return Ok(None),
        };
        let xattrs = match kind {
            Kind::File { .. } | Kind::Directory => self.xattrs(&fd, path)?,
            _ => Xattrs::new(),
        };
        let mut owner = Owner { uid: stat.st_uid, gid: stat.st_gid };
        let mut mode = stat.st_mode & 0o7777;
        if let Some(record) = self.record(path)? {
            (owner, mode) = (record.owner, record.mode);
            kind = record.kind_over(kind);
        }
        let mtime = Mtime { sec: stat.st_mtime, nsec: stat.st_mtime_nsec as u32 };
        Ok(Some(Entry { path: path.to_vec(), kind, mode, owner, mtime, xattrs }))
    }

    /// Opens what [`View::entry`] found to be a file.
    pub(crate) fn open_entry(&self, path: &[u8]) -> Result<File, Error> {
        let fd =
            beneath::open_without_links(self.root(), path, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty());
        Ok(File::from(fd.map_err(|e| failed("opening", path, e))?))
    }

    fn lookup(&self, path: &[u8]) -> Result<Option<(Stat, OwnedFd)>, Error> {
        let (directory, name) = path::split(path);
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let directory =
            match beneath::open_without_links(self.root(), non_empty(directory), flags, Mode::empty()) {
                // A link where this layer has a directory, or a file: what is below is nothing of ours.
                Err(e) if e.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => return Ok(None),
                directory => match found(directory, path)? {
                    Some(directory) => directory,
                    None => return Ok(None),
                },
            };
        let flags = OFlags::PATH | OFlags::NOFOLLOW;
        let Some(fd) =
            found(beneath::open_in_root(directory.as_fd(), non_empty(name), flags, Mode::empty()), path)?
        else {
            return Ok(None);
        };
        let stat = rustix::fs::fstat(&fd).map_err(|e| failed("looking at", path, e))?;
        Ok((!is_whiteout(&stat)).then_some((stat, fd)))
    }

    fn xattrs(&self, fd: &OwnedFd, path: &[u8]) -> Result<Xattrs, Error> {
        let read = || {
            let fd = beneath::reopen(fd.as_fd(), OFlags::RDONLY | OFlags::NONBLOCK)?;
            if self.lowers.len() == 1 { xattrs::image_xattrs(fd) } else { xattrs::merged_xattrs(fd) }
        };
        read().map_err(|e| failed("reading the xattrs of", path, e))
    }

    /// What the sidecar of the layer that `path` comes from says of it; `path` is without links.
    ///
    /// # Errors
    /// If a sidecar cannot be read.
    pub fn record(&self, path: &[u8]) -> Result<Option<Record>, Error> {
        for (layer, owners) in self.sidecars()? {
            if let Some(record) = owners.0.get(path) {
                return Ok(Some(*record));
            }
            // The topmost layer that has the path is the one that says, if only by silence.
            let flags = OFlags::PATH | OFlags::NOFOLLOW;
            if beneath::open_in_root(layer.as_fd(), non_empty(path), flags, Mode::empty()).is_ok() {
                return Ok(None);
            }
        }
        Ok(None)
    }

    /// What the sidecars say of the merged tree, as a sidecar of it.
    ///
    /// # Errors
    /// If a sidecar cannot be read.
    pub fn owners(&self) -> Result<Owners, Error> {
        let mut merged = Owners::default();
        for (_, owners) in self.sidecars()? {
            for path in owners.0.keys() {
                if let Some(record) = self.record(path)? {
                    merged.0.insert(path.clone(), record);
                }
            }
        }
        Ok(merged)
    }

    pub(crate) fn has_sidecars(&self) -> Result<bool, Error> {
        Ok(self.sidecars()?.iter().any(|(_, owners)| !owners.0.is_empty()))
    }

    fn sidecars(&self) -> Result<&[(OwnedFd, Owners)], Error> {
        if let Some(read) = self.sidecars.get() {
            return Ok(read);
        }
        let mut owners = Vec::new();
        for lower in &self.lowers {
            owners.push(Owners::of_layer(lower)?);
        }
        // Layers below the last sidecar have nothing to say; most stacks have none at all.
        let useful = owners.iter().rposition(|owners| !owners.0.is_empty()).map_or(0, |last| last + 1);
        let mut read = Vec::new();
        for (lower, owners) in self.lowers.iter().zip(owners).take(useful) {
            read.push((beneath::open_root(lower).doing("opening", lower)?, owners));
        }
        Ok(self.sidecars.get_or_init(|| read))
    }

    /// Where in the image a descriptor of ours leads, by the kernel's word.
    fn resolve_fd(&self, fd: &OwnedFd, path: &[u8]) -> Result<Vec<u8>, Error> {
        use std::os::fd::AsRawFd as _;
        let name_of = |fd: BorrowedFd<'_>| {
            let link = format!("/proc/self/fd/{}", fd.as_raw_fd());
            rustix::fs::readlinkat(CWD, link, Vec::new()).map(|name| name.into_bytes())
        };
        let resolve = || Ok::<_, Errno>((name_of(fd.as_fd())?, name_of(self.root())?));
        let (whole, root) = resolve().map_err(|e| failed("resolving", path, e))?;
        // A detached mount's root reads as "/".
        let root = root.strip_suffix(b"/").unwrap_or(&root);
        let below = whole.strip_prefix(root).unwrap_or(&whole);
        Ok(below.strip_prefix(b"/").unwrap_or(below).to_vec())
    }
}

fn overlay_record(stat: &mut Stat, record: &Record) {
    stat.st_uid = record.owner.uid;
    stat.st_gid = record.owner.gid;
    let kind = match record.kind {
        b'c' => FileType::CharacterDevice,
        b'b' => FileType::BlockDevice,
        _ => FileType::from_raw_mode(stat.st_mode),
    };
    stat.st_mode = kind.as_raw_mode() | record.mode;
    if matches!(record.kind, b'c' | b'b') {
        stat.st_rdev = makedev(record.rdev.0, record.rdev.1);
    }
}

/// Whether this is a deleted name of a layer, looked at without overlayfs.
pub(crate) fn is_whiteout(stat: &Stat) -> bool {
    stat.st_rdev == 0 && FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
}

/// The root itself is opened as `.`.
pub(crate) fn non_empty(path: &[u8]) -> &[u8] {
    if path.is_empty() { b"." } else { path }
}

fn found<T>(result: std::io::Result<T>, path: &[u8]) -> Result<Option<T>, Error> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(e) => match Errno::from_io_error(&e) {
            Some(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            _ => Err(failed("looking at", path, e)),
        },
    }
}

fn failed(doing: &str, path: &[u8], error: impl Into<std::io::Error>) -> Error {
    Error::io(format!("{doing} {} in the image", path::shown(path)), error)
}
