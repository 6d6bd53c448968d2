//! A layer as it is to be: a tree in memory, put together by the actions of one step before anything is written.
//!
//! Looking a path up sees first what earlier actions planned, then the tree underneath, as the finished image would
//! show it. A directory of the tree underneath enters the plan, with the metadata that it has there, when something
//! is put below it: that is what overlayfs does too. Writing it all down is `write`'s.

use std::collections::BTreeMap;
use std::sync::Arc;

use rustix::fs::FileType;

use super::attributes::Xattrs;
use super::path::{self, Lost, Step};
use super::walk::FileStat;
use super::{Error, Source};
use crate::owners::Record;
use crate::{Mtime, Owner};

/// A planned layer.
#[derive(Debug)]
pub struct Plan<'a> {
    /// The tree underneath, if there is one.
    pub(super) base: Option<Source<'a>>,
    /// The trees that files come from, by [`From`]'s number.
    pub(super) sources: Vec<Source<'a>>,
    pub(super) root: Dir,
    /// Time of what is made and not copied.
    pub(super) now: Mtime,
    /// Nothing may be younger, in seconds since 1970.
    epoch: Option<i64>,
    groups: u32,
}

/// Owner, permissions and times of a planned file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta {
    /// Permission bits, `0o7777`.
    pub mode: u32,
    /// User and group.
    pub owner: Owner,
    /// Last modification.
    pub mtime: Mtime,
    /// Extended attributes.
    pub xattrs: Xattrs,
}

/// A planned directory.
#[derive(Debug)]
pub(super) struct Dir {
    pub meta: Meta,
    /// Whether the tree underneath has a directory here that shows through.
    pub in_base: bool,
    /// Whether it has to hide what is underneath.
    pub opaque: bool,
    pub children: BTreeMap<Box<[u8]>, Node>,
}

/// A planned name.
#[derive(Debug)]
pub(super) enum Node {
    Dir(Dir),
    Leaf(Leaf),
}

/// A planned file that is no directory.
#[derive(Debug)]
pub(super) struct Leaf {
    pub meta: Meta,
    pub kind: LeafKind,
    /// Leaves of the same group are names of one file.
    pub group: Option<u32>,
}

#[derive(Debug)]
pub(super) enum LeafKind {
    /// A regular file's content is copied. Its xattrs are read when it is.
    Copied(Box<From>),
    /// A regular file with this content.
    Made(Arc<[u8]>),
    Symlink(Vec<u8>),
    Fifo,
    CharDevice(u32, u32),
    BlockDevice(u32, u32),
    /// Written already.
    Written {
        /// What the layer's sidecar says of it.
        record: Option<Record>,
        /// What it holds, if it is a link.
        target: Option<Vec<u8>>,
    },
}

/// Where a regular file's content comes from.
#[derive(Clone, Debug)]
pub struct From {
    /// Number of the source.
    pub source: u16,
    /// Path in it.
    pub path: Box<[u8]>,
    /// What it was when it was listed.
    pub stat: FileStat,
    /// SHA-256 of its content and whether it has xattrs, where they are known for this very status.
    pub known: Option<([u8; 32], bool)>,
}

/// What is at a path, planned or underneath.
#[derive(Debug)]
pub(super) enum Seen {
    Missing,
    Directory,
    Symlink(Vec<u8>),
    File,
}

impl<'a> Plan<'a> {
    /// A plan with nothing in it, over the tree `base`. Made files are of `now`, and nothing is younger than `epoch`.
    pub fn new(base: Option<Source<'a>>, now: Mtime, epoch: Option<i64>) -> Result<Plan<'a>, Error> {
        let now = clamped(now, epoch);
        let mut meta = Meta { mode: 0o755, owner: Owner::ROOT, mtime: now, xattrs: Xattrs::new() };
        if let Some(base) = &base
            && let Some(stat) = base.lstat(b"")?
        {
            meta.mode = stat.mode & 0o7777;
            meta.owner = base.owner(&stat);
            meta.mtime = clamped(stat.mtime, epoch);
        }
        let root = Dir { in_base: base.is_some(), ..Dir::new(meta) };
        Ok(Plan { base, sources: Vec::new(), root, now, epoch, groups: 0 })
    }

    /// Adds a tree that files may come from; its number.
    pub fn add_source(&mut self, source: Source<'a>) -> u16 {
        self.sources.push(source);
        u16::try_from(self.sources.len() - 1).expect("because a step has few inputs")
    }

    /// Whether nothing is planned.
    pub fn is_empty(&self) -> bool {
        self.root.children.is_empty()
    }

    /// Where `path` leads in the image, all links followed; what is not there yet is kept as it is.
    pub fn resolve(&self, path: &[u8]) -> Result<Vec<u8>, Error> {
        let found = path::resolve(path, true, |at| {
            Ok(match self.look(at)? {
                Seen::Missing => Step::Missing,
                Seen::Directory => Step::Directory,
                Seen::Symlink(target) => Step::Link(target),
                Seen::File => Step::File,
            })
        });
        found.map_err(|lost| match lost {
            Lost::Links => Error::Links(path.into()),
            Lost::NotADirectory(at) => Error::NotADirectory { doing: "mkdir", path: at.into() },
            Lost::Tree(error) => error.into(),
        })
    }

    /// Whether `path`, which leads through no links, is a directory; `None` where nothing is.
    pub fn is_dir(&self, path: &[u8]) -> Result<Option<bool>, Error> {
        Ok(match self.look(path)? {
            Seen::Missing => None,
            Seen::Directory => Some(true),
            Seen::Symlink(_) | Seen::File => Some(false),
        })
    }

    /// What is at `path`, which leads through no links.
    pub(super) fn look(&self, path: &[u8]) -> Result<Seen, crate::Error> {
        let mut dir = &self.root;
        for name in path::names(path) {
            match dir.children.get(name) {
                Some(Node::Dir(below)) => dir = below,
                Some(Node::Leaf(leaf)) => {
                    return Ok(match &leaf.kind {
                        LeafKind::Symlink(target) | LeafKind::Written { target: Some(target), .. } => {
                            Seen::Symlink(target.clone())
                        }
                        _ => Seen::File,
                    });
                }
                None if dir.in_base => return self.look_underneath(path),
                None => return Ok(Seen::Missing),
            }
        }
        Ok(Seen::Directory)
    }

    pub(super) fn look_underneath(&self, path: &[u8]) -> Result<Seen, crate::Error> {
        let Some(base) = &self.base else { return Ok(Seen::Missing) };
        Ok(match base.lstat(path)?.map(|stat| stat.kind()) {
            None => Seen::Missing,
            Some(FileType::Directory) => Seen::Directory,
            Some(FileType::Symlink) => Seen::Symlink(base.read_link(path)?),
            Some(_) => Seen::File,
        })
    }

    /// The directory `path`, which leads through no links, entered into the plan.
    pub(super) fn enter(&mut self, path: &[u8]) -> Result<&mut Dir, Error> {
        self.make_dirs(path, None)
    }

    /// Makes the directory `path` and those above it that are missing, each with `mode` and `owner`. Nothing is
    /// changed of what is there.
    pub fn make_dir(&mut self, path: &[u8], mode: u32, owner: Owner) -> Result<(), Error> {
        // What is there all the way is no part of the layer.
        if self.is_dir(path)? == Some(true) {
            return Ok(());
        }
        let meta = Meta { mode, owner, mtime: self.now, xattrs: Xattrs::new() };
        self.make_dirs(path, Some(&meta)).map(drop)
    }

    fn make_dirs(&mut self, path: &[u8], made: Option<&Meta>) -> Result<&mut Dir, Error> {
        let mut reached = Vec::new();
        let mut dir = &mut self.root;
        for name in path::names(path) {
            reached = path::join(&reached, name);
            if !dir.children.contains_key(name) {
                let underneath = match (&self.base, dir.in_base) {
                    (Some(base), true) => base.lstat(&reached)?.map(|stat| (base, stat)),
                    _ => None,
                };
                let new = match (underneath, made) {
                    (Some((base, stat)), _) if stat.is_dir() => {
                        let meta = Meta {
                            mode: stat.mode & 0o7777,
                            owner: base.owner(&stat),
                            mtime: clamped(stat.mtime, self.epoch),
                            xattrs: base.dir_xattrs(&reached)?,
                        };
                        Dir { meta, in_base: true, opaque: false, children: BTreeMap::new() }
                    }
                    (Some(_), _) => {
                        return Err(Error::NotADirectory { doing: "mkdir", path: reached.into() });
                    }
                    (None, Some(meta)) => {
                        Dir { meta: meta.clone(), in_base: false, opaque: false, children: BTreeMap::new() }
                    }
                    (None, None) => return Err(Error::Missing(reached.into())),
                };
                dir.children.insert(name.into(), Node::Dir(new));
            }
            dir = match dir.children.get_mut(name) {
                Some(Node::Dir(below)) => below,
                _ => return Err(Error::NotADirectory { doing: "mkdir", path: reached.into() }),
            };
        }
        Ok(dir)
    }

    /// Makes a file with this content at `path`, whose directory is there. A file that is there is replaced; links
    /// are not followed.
    pub fn make_file(&mut self, path: &[u8], data: Arc<[u8]>, mode: u32, owner: Owner) -> Result<(), Error> {
        let meta = Meta { mode, owner, mtime: self.now, xattrs: Xattrs::new() };
        self.put(path, Leaf { meta, kind: LeafKind::Made(data), group: None })
    }

    /// Puts `leaf` at `path`, in place of what is there and no directory.
    pub(super) fn put(&mut self, path: &[u8], leaf: Leaf) -> Result<(), Error> {
        check_name(path)?;
        let (dir, name) = path::split(path);
        if let Seen::Directory = self.look(path)? {
            return Err(Error::IsADirectory(path.into()));
        }
        self.enter(dir)?.children.insert(name.into(), Node::Leaf(leaf));
        Ok(())
    }

    /// What nothing may be younger than, in seconds since 1970.
    pub(super) fn epoch(&self) -> Option<i64> {
        self.epoch
    }

    /// A new group of names of one file.
    pub(super) fn new_group(&mut self) -> u32 {
        self.groups += 1;
        self.groups
    }

    /// `mtime`, no younger than asked for.
    pub(super) fn clamp(&self, mtime: Mtime) -> Mtime {
        clamped(mtime, self.epoch)
    }
}

pub(super) fn clamped(mtime: Mtime, epoch: Option<i64>) -> Mtime {
    match epoch {
        Some(sec) => mtime.min(Mtime { sec, nsec: 0 }),
        None => mtime,
    }
}

/// Refuses names that mean something else in a layer.
pub(super) fn check_name(path: &[u8]) -> Result<(), Error> {
    match path::base(path).starts_with(b".wh.") {
        true => Err(Error::Reserved(path.into())),
        false => Ok(()),
    }
}

impl Dir {
    /// A directory that nothing is in.
    pub(super) fn new(meta: Meta) -> Dir {
        Dir { meta, in_base: false, opaque: false, children: BTreeMap::new() }
    }
}
