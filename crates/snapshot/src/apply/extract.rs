//! What each entry of an archive means: checked, then put into the tree.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::os::fd::AsFd;
use std::rc::Rc;

use oci::{Digest, Hasher};
use rustix::fs::{AtFlags, FileType, Mode, makedev};
use rustix::io::Errno;

use super::tree::{Dir, Tree, Was, at, create_file, stat_child};
use super::{Limits, metadata};
use crate::error::{Error, Name};
use crate::stream::Source;
use crate::tar_reader::{RawEntry, Segment, TarReader, Type};
use crate::view::is_whiteout;
use crate::{Entry, Kind, Mtime, Owner, path};

/// What an archive is taken for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A layer: `.wh.` names delete.
    Layer,
    /// Files to add: `.wh.` names are names, the archive's own root says nothing of the destination, a directory's
    /// entry goes through a link to a directory. Whose they are, if not who the archive says.
    Files(Option<Owner>),
}

/// What was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub usage: u64,
    pub inodes: u64,
}

/// Puts entries into a tree.
pub(super) struct Extractor<'t, 'a> {
    tree: &'t mut Tree<'a>,
    purpose: Purpose,
    limits: Limits,
    entries: u64,
    bytes: u64,
    totals: Totals,
    /// Digest of each file's content by its inode number, if wanted. A number used again is written again.
    contents: Option<HashMap<u64, Digest>>,
}

impl<'t, 'a> Extractor<'t, 'a> {
    pub fn new(tree: &'t mut Tree<'a>, purpose: Purpose, limits: &Limits) -> Extractor<'t, 'a> {
        Extractor {
            tree,
            purpose,
            limits: *limits,
            entries: 0,
            bytes: 0,
            totals: Totals::default(),
            contents: None,
        }
    }

    /// All entries, and the stream to its end.
    pub fn run<S: Source>(&mut self, tar: &mut TarReader<S>) -> Result<(), Error> {
        while let Some(raw) = tar.next()? {
            self.entry(raw, tar)?;
        }
        tar.drain()
    }

    /// Makes a digest of each file's content.
    pub fn digest_contents(&mut self) {
        self.contents = Some(HashMap::new());
    }

    /// What was made, and the digests.
    pub fn finish(self) -> (Totals, Option<HashMap<u64, Digest>>) {
        (self.totals, self.contents)
    }

    fn entry<S: Source>(&mut self, mut raw: RawEntry, tar: &mut TarReader<S>) -> Result<(), Error> {
        self.check(&raw)?;
        let path = path::clean(&raw.path, &raw.path)?;
        if path::depth(&path) > self.limits.depth {
            return Err(over(&raw.path, "directories above it", self.limits.depth as u64));
        }
        if self.purpose == Purpose::Layer && self.whiteout(&path, &raw)? {
            return Ok(());
        }
        let sparse = raw.sparse.take();
        let entry = self.cleaned(raw, path)?;
        if entry.path.is_empty() {
            return self.root(&entry);
        }
        let (directory, name) = path::split(&entry.path);
        let dir = self.directory(directory, entry.mtime, &entry.path)?;
        match &entry.kind {
            Kind::Directory => {
                if let Purpose::Files(_) = self.purpose
                    && self.is_link(&dir, name)?
                {
                    let dir = self.directory(&entry.path, entry.mtime, &entry.path)?;
                    self.tree.set_late(dir.path.clone(), &entry);
                    return Ok(());
                }
                self.totals.inodes += u64::from(self.tree.put_directory(&dir, name, &entry)?);
                return Ok(());
            }
            Kind::HardLink(target) => return self.hard_link(&dir, name, target, &entry),
            Kind::File { size } => {
                let fd = self.with_room(&dir, name, |dir| create_file(dir, name))?;
                let file = File::from(fd);
                let mut hasher = self.contents.is_some().then(Hasher::new);
                write_content(&file, *size, sparse, tar, hasher.as_mut(), &entry.path)?;
                self.keep_digest(&file, hasher, &entry.path)?;
                self.finish_file(&file, &dir, name, &entry)?;
                self.totals.usage += size;
            }
            Kind::Symlink(target) => self.symlink(&dir, name, target, &entry)?,
            Kind::Fifo => self.node(&dir, name, FileType::Fifo, 0, &entry)?,
            Kind::CharDevice { major, minor } => {
                let device = makedev(*major, *minor);
                if device == 0 {
                    // Overlayfs would take it for one, as it does with Docker.
                    self.with_room(&dir, name, |_| Ok(()))?;
                    return self.tree.whiteout(&dir, name);
                }
                self.device(&dir, name, FileType::CharacterDevice, device, &entry)?;
            }
            Kind::BlockDevice { major, minor } => {
                self.device(&dir, name, FileType::BlockDevice, makedev(*major, *minor), &entry)?;
            }
        }
        self.totals.inodes += 1;
        Ok(())
    }

    fn check(&mut self, raw: &RawEntry) -> Result<(), Error> {
        self.entries += 1;
        if self.entries > self.limits.entries {
            return Err(over(&raw.path, "number of entries", self.limits.entries));
        }
        self.bytes = self.bytes.saturating_add(raw.size);
        if self.bytes > self.limits.bytes {
            return Err(over(&raw.path, "bytes of all files", self.limits.bytes));
        }
        let xattrs: usize = raw.xattrs.iter().map(|(name, value)| name.len() + value.len()).sum();
        if xattrs > self.limits.xattrs {
            return Err(over(&raw.path, "bytes of its xattrs", self.limits.xattrs as u64));
        }
        Ok(())
    }

    /// The entry with everything in range.
    fn cleaned(&self, raw: RawEntry, path: Vec<u8>) -> Result<Entry, Error> {
        let id = |what: &str, id: i64| match u32::try_from(id) {
            // The highest means "leave it as it is" to the kernel.
            Ok(id) if id != u32::MAX => Ok(id),
            _ => Err(Error::archive(raw.path.as_slice(), format!("its {what} {id} is no valid id"))),
        };
        let owner = match self.purpose {
            Purpose::Files(Some(owner)) => owner,
            _ => Owner { uid: id("owner", raw.uid)?, gid: id("group", raw.gid)? },
        };
        let (major, minor) = raw.device;
        let kind = match raw.kind {
            Type::File => Kind::File { size: raw.size },
            Type::Directory => Kind::Directory,
            Type::Symlink if raw.link.is_empty() || raw.link.len() > 4095 => {
                let reason = "a symbolic link to nothing, or to a path longer than 4095 bytes";
                return Err(Error::archive(raw.path, reason));
            }
            Type::Symlink => Kind::Symlink(raw.link),
            Type::HardLink => Kind::HardLink(path::clean(&raw.link, &raw.path)?),
            Type::CharDevice => Kind::CharDevice { major, minor },
            Type::BlockDevice => Kind::BlockDevice { major, minor },
            Type::Fifo => Kind::Fifo,
        };
        Ok(Entry { path, kind, mode: raw.mode, owner, mtime: raw.mtime, xattrs: raw.xattrs })
    }

    /// Deals with `.wh.` names; false: it is an entry like others.
    fn whiteout(&mut self, path: &[u8], raw: &RawEntry) -> Result<bool, Error> {
        // Remains of AUFS: `/.wh..wh.plnk` and its like, with what is in them.
        if path.starts_with(b".wh..wh.") && path != b".wh..wh..opq" {
            return Ok(true);
        }
        let (directory, name) = path::split(path);
        if directory.split(|b| *b == b'/').any(|part| part.starts_with(b".wh.")) {
            return Err(Error::archive(raw.path.as_slice(), "a file below a whiteout"));
        }
        let Some(deleted) = name.strip_prefix(b".wh.") else { return Ok(false) };
        match deleted {
            b".wh..opq" => {
                if let Some(dir) = self.tree.existing_directory(directory)? {
                    self.tree.set_opaque(&dir)?;
                }
            }
            _ if deleted.starts_with(b".wh.") => {}
            b"" | b"." | b".." => return Err(Error::archive(raw.path.as_slice(), "a whiteout of no name")),
            // Where there is no such directory there is nothing to delete: umoci also deletes what was in a directory
            // that it made a file.
            _ => {
                if let Some(dir) = self.tree.existing_directory(directory)? {
                    self.tree.whiteout(&dir, deleted)?;
                }
            }
        }
        Ok(true)
    }

    /// The directory `path` of the entry `of`.
    fn directory(&mut self, path: &[u8], mtime: Mtime, of: &[u8]) -> Result<Rc<Dir>, Error> {
        self.tree.directory(path, mtime).map_err(|error| match error {
            Error::Archive { reason, .. } => Error::archive(of, reason),
            other => other,
        })
    }

    fn root(&mut self, entry: &Entry) -> Result<(), Error> {
        match (self.purpose, &entry.kind) {
            (Purpose::Files(_), Kind::Directory) => Ok(()),
            (Purpose::Layer, Kind::Directory) => {
                self.tree.set_late(Vec::new(), entry);
                Ok(())
            }
            _ => Err(Error::archive("/", "the root must be a directory")),
        }
    }

    fn is_link(&self, dir: &Dir, name: &[u8]) -> Result<bool, Error> {
        match stat_child(dir, name) {
            Ok(stat) => Ok(FileType::from_raw_mode(stat.st_mode) == FileType::Symlink),
            Err(Errno::NOENT) => {
                Ok(self.tree.lower(dir, name)?.is_some_and(|lower| matches!(lower.kind, Kind::Symlink(_))))
            }
            Err(e) => Err(at(&Tree::path_in(dir, name), e)),
        }
    }

    /// Runs `make`; if something has the name already, removes that and runs it again.
    fn with_room<T>(
        &mut self,
        dir: &Dir,
        name: &[u8],
        mut make: impl FnMut(&Dir) -> Result<T, Errno>,
    ) -> Result<T, Error> {
        match make(dir) {
            Err(Errno::EXIST) => {
                let gone = stat_child(dir, name).map_err(|e| at(&Tree::path_in(dir, name), e))?;
                if self.tree.remove(dir, name)? == Was::File && gone.st_nlink == 1 && !is_whiteout(&gone) {
                    self.totals.inodes = self.totals.inodes.saturating_sub(1);
                    if FileType::from_raw_mode(gone.st_mode) == FileType::RegularFile {
                        self.totals.usage = self.totals.usage.saturating_sub(gone.st_size as u64);
                    }
                }
                make(dir)
            }
            done => done,
        }
        .map_err(|e| at(&Tree::path_in(dir, name), e))
    }

    fn keep_digest(&mut self, file: &File, hasher: Option<Hasher>, path: &[u8]) -> Result<(), Error> {
        if let (Some(contents), Some(hasher)) = (&mut self.contents, hasher) {
            let stat = rustix::fs::fstat(file).map_err(|e| at(path, e))?;
            contents.insert(stat.st_ino, hasher.finish());
        }
        Ok(())
    }

    fn finish_file(&mut self, file: &File, dir: &Dir, name: &[u8], entry: &Entry) -> Result<(), Error> {
        let path = Tree::path_in(dir, name);
        self.tree.record(&path, &entry.kind, entry.owner, entry.mode);
        self.tree.chown(file.as_fd(), b"", entry.owner, &path)?;
        if !entry.xattrs.is_empty() {
            metadata::set_xattrs(file, &entry.xattrs, &path, self.tree.ids, &mut self.tree.notes)?;
        }
        metadata::fchmod(file.as_fd(), entry.mode).map_err(|e| at(&path, e))?;
        rustix::fs::futimens(file, &metadata::timestamps(entry.mtime)).map_err(|e| at(&path, e))
    }

    fn symlink(&mut self, dir: &Dir, name: &[u8], target: &[u8], entry: &Entry) -> Result<(), Error> {
        self.with_room(dir, name, |dir| rustix::fs::symlinkat(target, &dir.fd, name))?;
        self.finish_named(dir, name, entry)
    }

    /// Owner, time and record of what has no descriptor to be had: links, pipes and devices.
    fn finish_named(&mut self, dir: &Dir, name: &[u8], entry: &Entry) -> Result<(), Error> {
        let path = Tree::path_in(dir, name);
        self.tree.record(&path, &entry.kind, entry.owner, entry.mode);
        self.tree.chown(dir.fd.as_fd(), name, entry.owner, &path)?;
        // What the kernel allows on them nobody reads back.
        for name in entry.xattrs.keys() {
            metadata::note_xattr(name, &path, &mut self.tree.notes);
        }
        let times = metadata::timestamps(entry.mtime);
        rustix::fs::utimensat(&dir.fd, name, &times, AtFlags::SYMLINK_NOFOLLOW).map_err(|e| at(&path, e))
    }

    fn node(
        &mut self,
        dir: &Dir,
        name: &[u8],
        kind: FileType,
        device: u64,
        entry: &Entry,
    ) -> Result<(), Error> {
        let make = |dir: &Dir| rustix::fs::mknodat(&dir.fd, name, kind, Mode::empty(), device);
        self.with_room(dir, name, make)?;
        self.finish_named(dir, name, entry)?;
        // The node was made just now, so the name is no link that could be followed.
        let mode = Mode::from_raw_mode(entry.mode & 0o7777);
        let chmod = rustix::fs::chmodat(&dir.fd, name, mode, AtFlags::empty());
        chmod.map_err(|e| at(&Tree::path_in(dir, name), e))
    }

    /// A device node, where they can be made; else an empty file, and a record in the sidecar of what it is, so that
    /// the layer's tar can be made again from the directory.
    fn device(
        &mut self,
        dir: &Dir,
        name: &[u8],
        kind: FileType,
        device: u64,
        entry: &Entry,
    ) -> Result<(), Error> {
        if self.tree.ids == runtime::Mode::Root {
            match self.node(dir, name, kind, device, entry) {
                // A container without CAP_MKNOD.
                Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::PermissionDenied => {}
                done => {
                    // Made, so the sidecar need not say it.
                    self.tree.owners.0.remove(&Tree::path_in(dir, name));
                    return done;
                }
            }
        }
        let file = File::from(self.with_room(dir, name, |dir| create_file(dir, name))?);
        self.tree.notes.devices += 1;
        let plain = Entry { xattrs: BTreeMap::new(), ..entry.clone() };
        self.finish_file(&file, dir, name, &plain)
    }

    fn hard_link(&mut self, dir: &Dir, name: &[u8], target: &[u8], entry: &Entry) -> Result<(), Error> {
        let bad = |reason: &str| {
            let reason = format!("its hard link target {} {reason}", Name::from(target));
            Err(Error::archive(entry.path.as_slice(), reason))
        };
        let (directory, target_name) = path::split(target);
        if target_name.is_empty() {
            return bad("is the root");
        }
        let target_dir = self.directory(directory, entry.mtime, &entry.path)?;
        let target_path = Tree::path_in(&target_dir, target_name);
        match stat_child(&target_dir, target_name) {
            Ok(stat) if is_whiteout(&stat) => return bad("is deleted by this layer"),
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => {
                return bad("is a directory");
            }
            Ok(_) => {}
            Err(Errno::NOENT) => match self.tree.lower(&target_dir, target_name)? {
                None => return bad("does not exist"),
                Some(lower) if lower.kind == Kind::Directory => return bad("is a directory"),
                Some(lower) => self.copy_up(&target_dir, target_name, lower)?,
            },
            Err(e) => return Err(at(&target_path, e)),
        }
        let path = Tree::path_in(dir, name);
        if path == target_path {
            return Ok(());
        }
        let (from, to) = (&target_dir.fd, &dir.fd);
        match rustix::fs::linkat(from, target_name, to, name, AtFlags::empty()) {
            Err(Errno::EXIST) => {
                self.tree.remove(dir, name)?;
                rustix::fs::linkat(from, target_name, to, name, AtFlags::empty())
            }
            done => done,
        }
        .map_err(|e| match e {
            // It was inside what had to make room for its own link.
            Errno::NOENT => Error::archive(entry.path.as_slice(), "its hard link target is below it"),
            e => at(&path, e),
        })?;
        // Another name of one file: what the link's entry says beside that is the target's to say.
        if let Some(record) = self.tree.owners.0.get(&target_path).copied() {
            self.tree.owners.0.insert(path, record);
        }
        Ok(())
    }

    /// Brings a file of the lowers into this layer, under its own name, so that it can be linked.
    fn copy_up(&mut self, dir: &Dir, name: &[u8], lower: Entry) -> Result<(), Error> {
        self.totals.inodes += 1;
        match &lower.kind {
            Kind::File { size } => {
                let mut from = self.tree.view()?.open_entry(&lower.path)?;
                let mut file = File::from(create_file(dir, name).map_err(|e| at(&lower.path, e))?);
                std::io::copy(&mut from, &mut file).map_err(|e| at(&lower.path, e))?;
                let mut hasher = self.contents.is_some().then(Hasher::new);
                if let Some(hasher) = &mut hasher {
                    let again =
                        std::io::Seek::rewind(&mut from).and_then(|()| std::io::copy(&mut from, hasher));
                    again.map_err(|e| at(&lower.path, e))?;
                }
                self.keep_digest(&file, hasher, &lower.path)?;
                self.totals.usage += size;
                self.finish_file(&file, dir, name, &lower)
            }
            Kind::Symlink(target) => self.symlink(dir, name, target, &lower),
            Kind::Fifo => self.node(dir, name, FileType::Fifo, 0, &lower),
            Kind::CharDevice { major, minor } => {
                self.device(dir, name, FileType::CharacterDevice, makedev(*major, *minor), &lower)
            }
            Kind::BlockDevice { major, minor } => {
                self.device(dir, name, FileType::BlockDevice, makedev(*major, *minor), &lower)
            }
            Kind::Directory | Kind::HardLink(_) => Ok(()),
        }
    }
}

/// Writes an entry's content: all of it, or the pieces of a sparse file where they belong. `hasher` gets the whole.
fn write_content<S: Source>(
    file: &File,
    size: u64,
    sparse: Option<Vec<Segment>>,
    tar: &mut TarReader<S>,
    mut hasher: Option<&mut Hasher>,
    path: &[u8],
) -> Result<(), Error> {
    let whole = [Segment { offset: 0, len: size }];
    let segments = sparse.as_deref().unwrap_or(&whole);
    let mut end = 0;
    for segment in segments {
        if let Some(hasher) = &mut hasher {
            hash_hole(hasher, segment.offset - end);
        }
        end = segment.offset + segment.len;
        let (mut offset, mut left) = (segment.offset, segment.len);
        while left > 0 {
            let bytes = tar.content()?;
            let most = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            if most == 0 {
                return Err(tar.bad("its content is shorter than its sparse map".into()));
            }
            let n = rustix::io::retry_on_intr(|| rustix::io::pwrite(file, &bytes[..most], offset));
            let n = n.map_err(|e| at(path, e))?;
            if let Some(hasher) = &mut hasher {
                hasher.update(&bytes[..n]);
            }
            tar.consume(n);
            offset += n as u64;
            left -= n as u64;
        }
    }
    if sparse.is_some() {
        if let Some(hasher) = &mut hasher {
            hash_hole(hasher, size - end);
        }
        rustix::fs::ftruncate(file, size).map_err(|e| at(path, e))?;
    }
    Ok(())
}

fn hash_hole(hasher: &mut Hasher, mut len: u64) {
    static ZEROS: [u8; 32 << 10] = [0; 32 << 10];
    while len > 0 {
        let n = ZEROS.len().min(usize::try_from(len).unwrap_or(usize::MAX));
        hasher.update(&ZEROS[..n]);
        len -= n as u64;
    }
}

fn over(entry: &[u8], what: &'static str, limit: u64) -> Error {
    Error::Limit { entry: entry.into(), what, limit }
}
