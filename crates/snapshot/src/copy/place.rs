//! Puts found files into a plan, as BuildKit's copier merges what is copied with what is there.
//!
//! Below the directory that is copied *to*, a directory that is there takes the copied one's metadata; that directory
//! itself keeps its own, but for its time. Files and links replace files and links. A directory never replaces a file,
//! nor a file a directory.

use std::collections::{BTreeSet, HashMap};

use rustix::fs::{FileType, OFlags};

use super::attributes::Xattrs;
use super::plan::{Dir, From, Leaf, LeafKind, Meta, Node, Plan, Seen, check_name};
use super::walk::{FileStat, Found, Listings, open_dir};
use super::{Error, Source, path};
use crate::{Mtime, Owner};

/// Names of the tree underneath are read at once where more than so many are asked for.
const FEW: usize = 8;

/// Answers with the SHA-256 of a file's content and whether it has xattrs, where they are known for this path and status.
pub type Known<'k> = dyn Fn(&[u8], &FileStat) -> Option<([u8; 32], bool)> + 'k;

/// How files are placed.
#[derive(Clone, Copy)]
pub struct Placing<'p> {
    /// Number of the source.
    pub source: u16,
    /// In place of the owner that the source says.
    pub owner: Option<Owner>,
    /// Permission bits from a file's own (`0o7777`) and whether it is a directory.
    pub mode: Option<&'p dyn Fn(u32, bool) -> u32>,
    /// What is known of files' contents.
    pub digest: &'p Known<'p>,
}

impl Plan<'_> {
    /// Copies the content of a listed directory to the directory `to`, which is there and leads through no links.
    /// `top` is the status of the listed directory itself.
    pub fn place_content(
        &mut self,
        listings: &Listings,
        top: &FileStat,
        to: &[u8],
        how: &Placing<'_>,
    ) -> Result<(), Error> {
        if !matches!(self.look(to)?, Seen::Directory) {
            return Err(Error::Occupied(to.into()));
        }
        let mtime = self.clamp(top.mtime);
        let mut merge = Merge { how, listings, groups: HashMap::new() };
        merge.content(self, 0, to)?;
        // It exists, so it keeps what it has; but what was put into it must not show in its time.
        if to.is_empty() {
            return Ok(());
        }
        self.enter(to)?.meta.mtime = mtime;
        Ok(())
    }

    /// Copies one file, which is no directory, to `to`, whose directory is there.
    pub fn place_file(
        &mut self,
        from: &[u8],
        stat: &FileStat,
        to: &[u8],
        how: &Placing<'_>,
    ) -> Result<(), Error> {
        match self.leaf(from, stat, to, how)? {
            Some(leaf) => self.put(to, leaf),
            None => Ok(()),
        }
    }

    /// What a found file is to be; `None` for what no image holds.
    fn leaf(
        &self,
        from: &[u8],
        stat: &FileStat,
        to: &[u8],
        how: &Placing<'_>,
    ) -> Result<Option<Leaf>, Error> {
        let source = &self.sources[usize::from(how.source)];
        let kind = match stat.kind() {
            FileType::RegularFile => LeafKind::Copied(Box::new(From {
                source: how.source,
                path: from.into(),
                stat: *stat,
                known: (how.digest)(from, stat),
            })),
            FileType::Symlink => LeafKind::Symlink(source.read_link(from)?),
            FileType::Fifo => LeafKind::Fifo,
            FileType::CharacterDevice if stat.rdev == (0, 0) => return Err(Error::Whiteout(to.into())),
            FileType::CharacterDevice => LeafKind::CharDevice(stat.rdev.0, stat.rdev.1),
            FileType::BlockDevice => LeafKind::BlockDevice(stat.rdev.0, stat.rdev.1),
            // A socket is a process's, not a file's; a tar cannot say it either.
            _ => return Ok(None),
        };
        Ok(Some(Leaf { meta: self.meta(source, stat, how), kind, group: None }))
    }

    fn meta(&self, source: &Source<'_>, stat: &FileStat, how: &Placing<'_>) -> Meta {
        let own = stat.mode & 0o7777;
        let mode = match (stat.kind(), how.mode) {
            (FileType::Symlink, _) => 0o777,
            (kind, Some(asked)) => asked(own, kind == FileType::Directory),
            (_, None) => own,
        };
        let owner = how.owner.unwrap_or_else(|| source.owner(stat));
        Meta { mode, owner, mtime: self.clamp(stat.mtime), xattrs: Xattrs::new() }
    }
}

struct Merge<'m> {
    how: &'m Placing<'m>,
    listings: &'m Listings,
    /// Groups of the files with several names, by file system and inode.
    groups: HashMap<(u64, u64), u32>,
}

impl Merge<'_> {
    fn content(&mut self, plan: &mut Plan<'_>, at: usize, to: &[u8]) -> Result<(), Error> {
        let listing = &self.listings.0[at];
        if listing.entries.is_empty() {
            return Ok(());
        }
        // Taken out for as long as its content is put in, so that each name costs one look-up in one directory.
        let mut dir = std::mem::replace(plan.enter(to)?, Dir::new(empty_meta()));
        let done = self.fill(plan, &mut dir, at, to);
        *plan.enter(to)? = dir;
        done
    }

    fn fill(&mut self, plan: &mut Plan<'_>, dir: &mut Dir, at: usize, to: &[u8]) -> Result<(), Error> {
        let listings = self.listings;
        let listing = &listings.0[at];
        let underneath = Underneath::of(plan, dir, to, listing.entries.len())?;
        for found in &listing.entries {
            let from = listing.path_of(&found.name);
            let target = path::join(to, &found.name);
            check_name(&target)?;
            if found.stat.is_dir() {
                let below = self.directory(plan, dir, &underneath, found, &from, &target)?;
                if let Some(child) = found.listing {
                    self.fill(plan, below, child as usize, &target)?;
                }
                continue;
            }
            let Some(mut leaf) = plan.leaf(&from, &found.stat, &target, self.how)? else { continue };
            if found.stat.links > 1 && found.stat.kind() == FileType::RegularFile {
                let id = (found.stat.dev, found.stat.ino);
                leaf.group = Some(*self.groups.entry(id).or_insert_with(|| plan.new_group()));
            }
            let occupied = match dir.children.get(&found.name) {
                Some(Node::Dir(_)) => true,
                Some(Node::Leaf(_)) => false,
                None => matches!(underneath.look(plan, &found.name, &target)?, Seen::Directory),
            };
            if occupied {
                return Err(Error::IsADirectory(target.into()));
            }
            dir.children.insert(found.name.clone(), Node::Leaf(leaf));
        }
        Ok(())
    }

    /// The directory that a found one becomes: made, or the one that is there with the found one's metadata.
    fn directory<'d>(
        &self,
        plan: &Plan<'_>,
        dir: &'d mut Dir,
        underneath: &Underneath,
        found: &Found,
        from: &[u8],
        target: &[u8],
    ) -> Result<&'d mut Dir, Error> {
        let source = &plan.sources[usize::from(self.how.source)];
        let mut meta = plan.meta(source, &found.stat, self.how);
        if !dir.children.contains_key(&found.name) {
            let new = match underneath.look(plan, &found.name, target)? {
                Seen::Missing => {
                    meta.xattrs = source.dir_xattrs(from)?;
                    let new = dir.children.entry(found.name.clone()).or_insert(Node::Dir(Dir::new(meta)));
                    return dir_of(new, target);
                }
                Seen::Directory => plan.underneath(target)?,
                Seen::Symlink(_) | Seen::File => return Err(Error::Occupied(target.into())),
            };
            dir.children.insert(found.name.clone(), Node::Dir(new));
        }
        let node = dir.children.get_mut(&found.name).expect("because it was put there if it was not");
        let below = dir_of(node, target)?;
        if found.kept {
            // BuildKit sets the found one's xattrs and removes none.
            meta.xattrs = std::mem::take(&mut below.meta.xattrs);
            meta.xattrs.extend(source.dir_xattrs(from)?);
            below.meta = meta;
        } else {
            // On the way to what was asked for: BuildKit changes nothing but its permissions.
            below.meta.mode = found.stat.mode & 0o7777;
        }
        Ok(below)
    }
}

impl Plan<'_> {
    /// The directory `path` of the tree underneath, as it enters the plan.
    fn underneath(&self, path: &[u8]) -> Result<Dir, Error> {
        let base = self.base.as_ref().ok_or_else(|| Error::Missing(path.into()))?;
        let stat = base.lstat(path)?.ok_or_else(|| Error::Missing(path.into()))?;
        let meta = Meta {
            mode: stat.mode & 0o7777,
            owner: base.owner(&stat),
            mtime: self.clamp(stat.mtime),
            xattrs: base.dir_xattrs(path)?,
        };
        Ok(Dir { in_base: true, ..Dir::new(meta) })
    }
}

/// What the tree underneath has in one directory.
enum Underneath {
    /// Nothing shows through.
    Nothing,
    /// To be asked name by name.
    Ask,
    /// These names, to be asked what they are.
    Names(BTreeSet<Box<[u8]>>),
}

impl Underneath {
    fn of(plan: &Plan<'_>, dir: &Dir, path: &[u8], wanted: usize) -> Result<Underneath, Error> {
        let Some(base) = plan.base.as_ref().filter(|_| dir.in_base) else { return Ok(Underneath::Nothing) };
        if wanted <= FEW {
            return Ok(Underneath::Ask);
        }
        let failed = |e: std::io::Error| base.failed("reading directory", path, e);
        let open = open_dir(base.root(), path, OFlags::RDONLY).map_err(failed)?;
        let mut names = BTreeSet::new();
        for entry in rustix::fs::Dir::read_from(&open).map_err(|e| failed(e.into()))? {
            let entry = entry.map_err(|e| failed(e.into()))?;
            names.insert(entry.file_name().to_bytes().into());
        }
        Ok(Underneath::Names(names))
    }

    fn look(&self, plan: &Plan<'_>, name: &[u8], path: &[u8]) -> Result<Seen, Error> {
        match self {
            Underneath::Nothing => Ok(Seen::Missing),
            Underneath::Names(names) if !names.contains(name) => Ok(Seen::Missing),
            Underneath::Ask | Underneath::Names(_) => Ok(plan.look_underneath(path)?),
        }
    }
}

fn dir_of<'d>(node: &'d mut Node, path: &[u8]) -> Result<&'d mut Dir, Error> {
    match node {
        Node::Dir(dir) => Ok(dir),
        Node::Leaf(_) => Err(Error::Occupied(path.into())),
    }
}

fn empty_meta() -> Meta {
    Meta { mode: 0, owner: Owner::ROOT, mtime: Mtime::default(), xattrs: Xattrs::new() }
}
