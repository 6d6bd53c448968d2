//! A layer directory's files in the order of a canonical tar: sorted by the bytes of the whole path.
//!
//! That is not the order of a plain walk (`a`, `a.b`, `a/c`: a dot is less than a slash), so a directory's own entry
//! and what is below it are two items in the sorted list of its parent. Memory is that of the lists on the way down.

use std::collections::HashMap;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use runtime::beneath;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, major, minor, openat, statat};

use crate::error::{Doing as _, Error};
use crate::owners::Owners;
use crate::view::{is_whiteout, non_empty};
use crate::xattrs::{self, OPAQUE, WHITEOUT, Xattrs};
use crate::{Entry, Kind, Mtime, Owner, path};

/// A file of the layer, and the descriptor to read it by if it is a regular one with content.
pub(crate) struct Found {
    pub entry: Entry,
    pub content: Option<OwnedFd>,
}

/// Directories of the way down that are kept open: deeper trees are no reason to run out of descriptors.
const MOST_OPEN: usize = 64;

/// How directories are opened.
const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// The walk.
pub(crate) struct Walk<'a> {
    layer: &'a Path,
    root: OwnedFd,
    owners: &'a Owners,
    stack: Vec<Level>,
    /// First path of each file with several names.
    links: HashMap<(u64, u64), Vec<u8>>,
}

/// A directory being walked.
struct Level {
    /// Closed while the walk is far below.
    fd: Option<OwnedFd>,
    path: Vec<u8>,
    items: std::vec::IntoIter<Item>,
}

/// What is at one place of the order, sorted by the key, the rest of its tar path.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Item {
    key: Vec<u8>,
    what: What,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    /// The entry of the file called `key`.
    Entry,
    /// What is below the directory `key`, which ends in a slash.
    Content,
    /// A `.wh.` name.
    Whiteout,
}

impl<'a> Walk<'a> {
    /// Starts at the layer directory. Its own entry is not given: a layer's root is nobody's to say.
    pub fn new(layer: &'a Path, owners: &'a Owners) -> Result<Walk<'a>, Error> {
        let root = beneath::open_root(layer).doing("opening", layer)?;
        let mut walk = Walk { layer, root, owners, stack: Vec::new(), links: HashMap::new() };
        let top = walk.open(b"")?;
        walk.enter(Vec::new(), top)?;
        Ok(walk)
    }

    /// The next file.
    pub fn next(&mut self) -> Result<Option<Found>, Error> {
        while let Some(level) = self.stack.last_mut() {
            let Some(item) = level.items.next() else {
                self.stack.pop();
                continue;
            };
            match item.what {
                What::Whiteout => {
                    let entry = Entry::new(path::join(&level.path, &item.key), Kind::File { size: 0 }, 0);
                    return Ok(Some(Found { entry, content: None }));
                }
                What::Content => {
                    let name = &item.key[..item.key.len() - 1];
                    let path = path::join(&level.path, name);
                    let fd = openat(self.top()?, name, DIRECTORY, Mode::empty());
                    let fd = fd.map_err(|e| reading(&self.host(&path), e))?;
                    self.enter(path, fd)?;
                }
                What::Entry => {
                    if let Some(found) = self.entry(&item.key)? {
                        return Ok(Some(found));
                    }
                }
            }
        }
        Ok(None)
    }

    fn host(&self, path: &[u8]) -> PathBuf {
        use std::os::unix::ffi::OsStrExt as _;
        self.layer.join(std::ffi::OsStr::from_bytes(path))
    }

    fn open(&self, path: &[u8]) -> Result<OwnedFd, Error> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let fd = beneath::open_without_links(self.root.as_fd(), non_empty(path), flags, Mode::empty());
        fd.map_err(|e| reading(&self.host(path), e))
    }

    /// The directory that the walk is in, opened again if it was closed.
    fn top(&mut self) -> Result<&OwnedFd, Error> {
        let level = self.stack.last().expect("because only a directory being walked has items");
        let reopened = if level.fd.is_none() { Some(self.open(&level.path)?) } else { None };
        let level = self.stack.last_mut().expect("because it was there a moment ago");
        if reopened.is_some() {
            level.fd = reopened;
        }
        Ok(level.fd.as_ref().expect("because it was opened if it was not"))
    }

    /// Lists a directory.
    fn enter(&mut self, path: Vec<u8>, fd: OwnedFd) -> Result<(), Error> {
        let host = || self.host(&path);
        let opaque = xattrs::get(&fd, OPAQUE.as_bytes()).map_err(|e| reading(&host(), e))?;
        let mut items = Vec::new();
        if opaque.as_deref() == Some(b"y") && !path.is_empty() {
            items.push(Item { key: b".wh..wh..opq".to_vec(), what: What::Whiteout });
        }
        for entry in Dir::read_from(&fd).map_err(|e| reading(&host(), e))? {
            let entry = entry.map_err(|e| reading(&host(), e))?;
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") {
                continue;
            }
            let mut kind = entry.file_type();
            if matches!(kind, FileType::Unknown | FileType::CharacterDevice) {
                let stat = statat(&fd, name, AtFlags::SYMLINK_NOFOLLOW).map_err(|e| reading(&host(), e))?;
                if is_whiteout(&stat) {
                    items.push(Item { key: [b".wh.", name].concat(), what: What::Whiteout });
                    continue;
                }
                kind = FileType::from_raw_mode(stat.st_mode);
            }
            match kind {
                FileType::Directory => {
                    items.push(Item { key: name.to_vec(), what: What::Entry });
                    items.push(Item { key: [name, b"/"].concat(), what: What::Content });
                }
                // Nobody listens on it any more; Docker leaves them out, too.
                FileType::Socket => {}
                FileType::RegularFile
                    if opaque.as_deref() == Some(b"x")
                        && is_whiteout_file(&fd, name).map_err(|e| reading(&host(), e))? =>
                {
                    items.push(Item { key: [b".wh.", name].concat(), what: What::Whiteout });
                }
                _ => items.push(Item { key: name.to_vec(), what: What::Entry }),
            }
        }
        items.sort_unstable();
        self.stack.push(Level { fd: Some(fd), path, items: items.into_iter() });
        if let Some(far) = self.stack.len().checked_sub(MOST_OPEN + 1) {
            self.stack[far].fd = None;
        }
        Ok(())
    }

    fn entry(&mut self, name: &[u8]) -> Result<Option<Found>, Error> {
        self.top()?;
        let Some(Level { fd: Some(parent), path: directory, .. }) = self.stack.last() else {
            return Ok(None);
        };
        let path = path::join(directory, name);
        let host = {
            use std::os::unix::ffi::OsStrExt as _;
            let (layer, path) = (self.layer, &path);
            move || layer.join(std::ffi::OsStr::from_bytes(path))
        };
        let failed = |e: rustix::io::Errno| reading(&host(), e);
        let mut stat = statat(parent, name, AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?;
        let mut xattrs = Xattrs::new();
        let mut content = None;
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => match first_name(&mut self.links, &stat, &path) {
                Some(first) => Kind::HardLink(first),
                None => {
                    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
                    let fd = openat(parent, name, flags, Mode::empty()).map_err(failed)?;
                    xattrs = xattrs::image_xattrs(&fd).map_err(|e| reading(&host(), e))?;
                    let size = stat.st_size as u64;
                    content = (size > 0).then_some(fd);
                    Kind::File { size }
                }
            },
            FileType::Directory => {
                let fd = openat(parent, name, DIRECTORY, Mode::empty()).map_err(failed)?;
                xattrs = xattrs::image_xattrs(&fd).map_err(|e| reading(&host(), e))?;
                Kind::Directory
            }
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(parent, name, Vec::new()).map_err(failed)?;
                match first_name(&mut self.links, &stat, &path) {
                    Some(first) => Kind::HardLink(first),
                    None => Kind::Symlink(target.into_bytes()),
                }
            }
            FileType::CharacterDevice | FileType::BlockDevice | FileType::Fifo => {
                match first_name(&mut self.links, &stat, &path) {
                    Some(first) => Kind::HardLink(first),
                    None => node(&stat),
                }
            }
            _ => return Ok(None),
        };
        let kind = match self.owners.0.get(&path) {
            Some(record) => {
                (stat.st_uid, stat.st_gid) = (record.owner.uid, record.owner.gid);
                if !matches!(kind, Kind::Symlink(_)) {
                    stat.st_mode = record.mode;
                }
                match kind {
                    Kind::HardLink(_) => kind,
                    kind => record.kind_over(kind),
                }
            }
            None => kind,
        };
        if !matches!(kind, Kind::File { .. }) {
            content = None;
        }
        let entry = Entry {
            path,
            kind,
            mode: stat.st_mode & 0o7777,
            owner: Owner { uid: stat.st_uid, gid: stat.st_gid },
            mtime: Mtime { sec: stat.st_mtime, nsec: stat.st_mtime_nsec as u32 },
            xattrs,
        };
        Ok(Some(Found { entry, content }))
    }
}

/// The path at which this file was met first, if that was another; else this one is remembered.
fn first_name(links: &mut HashMap<(u64, u64), Vec<u8>>, stat: &Stat, path: &[u8]) -> Option<Vec<u8>> {
    if stat.st_nlink < 2 {
        return None;
    }
    // Names outside of this layer do not count: only what is met here is linked.
    let key = (stat.st_dev, stat.st_ino);
    if let Some(first) = links.get(&key) {
        return Some(first.clone());
    }
    links.insert(key, path.to_vec());
    None
}

fn node(stat: &Stat) -> Kind {
    let (major, minor) = (major(stat.st_rdev), minor(stat.st_rdev));
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::CharacterDevice => Kind::CharDevice { major, minor },
        FileType::BlockDevice => Kind::BlockDevice { major, minor },
        _ => Kind::Fifo,
    }
}

fn is_whiteout_file(directory: &OwnedFd, name: &[u8]) -> std::io::Result<bool> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let fd = openat(directory, name, flags, Mode::empty())?;
    Ok(rustix::fs::fstat(&fd)?.st_size == 0 && xattrs::get(fd, WHITEOUT.as_bytes())?.is_some())
}

fn reading(host: &Path, error: impl Into<std::io::Error>) -> Error {
    Error::io(format!("reading {}", host.display()), error)
}
