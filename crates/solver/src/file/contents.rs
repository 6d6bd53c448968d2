//! What is in the files that a step takes: digests that are known, and the digest of it all.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use oci::Hasher;
use rustix::fs::FileType;
use snapshot::Owner;
use snapshot::content::{ContentHasher, Described, File};
use snapshot::copy::{self, FileStat, Listings, Read, Source, Xattrs, path};

use super::Error;
use super::select::{Selected, Tree};

/// Bytes read at once for a digest.
const CHUNK: usize = 256 * 1024;

/// What is known of files' contents of one tree.
#[derive(Default)]
pub(super) struct Contents {
    by_path: HashMap<Box<[u8]>, FileContent>,
    /// Of files with several names, by file system and inode: which of the names is read is not certain.
    by_inode: HashMap<(u64, u64), FileContent>,
}

/// What is known of one file's content.
#[derive(Clone)]
struct FileContent {
    stat: FileStat,
    digest: [u8; 32],
    xattrs: Xattrs,
}

/// A file whose content is not known.
struct Unknown<'s> {
    path: Vec<u8>,
    stat: &'s FileStat,
}

impl Contents {
    /// Takes in files that were read.
    pub fn learn(&mut self, read: impl Iterator<Item = Read>) {
        for Read { path, stat, digest, xattrs, .. } in read {
            let known = FileContent { stat, digest, xattrs };
            if stat.links > 1 {
                self.by_inode.insert((stat.dev, stat.ino), known.clone());
            }
            self.by_path.insert(path, known);
        }
    }

    /// The digest of a file and whether it has xattrs, where they are known for this status.
    pub fn digest(&self, tree: &Tree<'_>, path: &[u8], stat: &FileStat) -> Option<([u8; 32], bool)> {
        match (self.get(path, stat), tree) {
            (Some(known), _) => known.stat.is_same(stat).then_some((known.digest, !known.xattrs.is_empty())),
            (None, Tree::Context(context)) => context.known(path, stat),
            (None, Tree::Image { .. }) => None,
        }
    }

    /// What was read of a file. It may have changed since it was listed: what was read is what was copied.
    fn get(&self, path: &[u8], stat: &FileStat) -> Option<&FileContent> {
        self.by_path.get(path).or_else(|| self.by_inode.get(&(stat.dev, stat.ino)).filter(|_| stat.links > 1))
    }

    fn is_known(&self, tree: &Tree<'_>, path: &[u8], stat: &FileStat) -> bool {
        self.get(path, stat).is_some() || self.digest(tree, path, stat).is_some()
    }

    /// Reads what is not known of the files selected. `false` where a file changed while it was read, so that nothing
    /// is certain.
    pub fn complete(
        &mut self,
        tree: &Tree<'_>,
        selected: &[&Selected],
        started: SystemTime,
        stop: &[&AtomicBool],
    ) -> Result<bool, Error> {
        let mut unknown = Vec::new();
        for one in selected {
            let mut links = HashSet::new();
            each_file(one, |path, stat| {
                let again = stat.links > 1 && !links.insert((stat.dev, stat.ino));
                if !again && !self.is_known(tree, path, stat) {
                    unknown.push(Unknown { path: path.to_vec(), stat });
                }
            });
        }
        if unknown.is_empty() {
            return Ok(true);
        }
        let (read, certain) = read_all(&tree.source(), &unknown, stop)?;
        if let Tree::Context(context) = tree {
            context.learn(read.iter(), started);
            context.save();
        }
        self.learn(read.into_iter());
        Ok(certain)
    }

    /// Adds what is selected to a digest; all contents must be known.
    pub fn add_to(
        &self,
        content: &mut ContentHasher,
        tree: &Tree<'_>,
        one: &Selected,
        keep_owner: bool,
    ) -> Result<(), Error> {
        let source = tree.source();
        content.source(&one.name);
        let mut adding = Adding { all: self, content, tree, source, keep_owner, links: HashMap::new() };
        match &one.listings {
            None => adding.file(b"", &one.path, &one.stat),
            Some(listings) => adding.listing(listings, 0, b""),
        }
    }
}

/// All regular files of a selection, with their paths in the tree.
fn each_file<'s>(one: &'s Selected, mut each: impl FnMut(&[u8], &'s FileStat)) {
    match &one.listings {
        None if one.stat.kind() == FileType::RegularFile => each(&one.path, &one.stat),
        None => {}
        Some(listings) => {
            for listing in &listings.0 {
                for found in &listing.entries {
                    if found.stat.kind() == FileType::RegularFile {
                        each(&listing.path_of(&found.name), &found.stat);
                    }
                }
            }
        }
    }
}

struct Adding<'a> {
    all: &'a Contents,
    content: &'a mut ContentHasher,
    tree: &'a Tree<'a>,
    source: Source<'a>,
    keep_owner: bool,
    /// The first path of each file with several names.
    links: HashMap<(u64, u64), Vec<u8>>,
}

impl Adding<'_> {
    fn listing(&mut self, listings: &Listings, at: usize, below: &[u8]) -> Result<(), Error> {
        let listing = &listings.0[at];
        for found in &listing.entries {
            let below = path::join(below, &found.name);
            self.file(&below, &listing.path_of(&found.name), &found.stat)?;
            if let Some(child) = found.listing {
                self.listing(listings, child as usize, &below)?;
            }
        }
        Ok(())
    }

    /// Adds the file `at` of the tree, which goes to `below` the destination.
    fn file(&mut self, below: &[u8], at: &[u8], stat: &FileStat) -> Result<(), Error> {
        let mut xattrs = Xattrs::new();
        let target;
        let what = match stat.kind() {
            FileType::Directory => {
                xattrs = self.source.dir_xattrs(at)?;
                Described::Directory
            }
            FileType::RegularFile => {
                let first = (stat.links > 1).then(|| {
                    self.links.entry((stat.dev, stat.ino)).or_insert_with(|| below.to_vec()).clone()
                });
                match first {
                    Some(first) if first != below => {
                        target = first;
                        Described::Again(&target)
                    }
                    _ => {
                        let (digest, own) = self.content(at, stat)?;
                        xattrs = own;
                        Described::File(digest)
                    }
                }
            }
            FileType::Symlink => {
                target = self.source.read_link(at)?;
                Described::Symlink(&target)
            }
            FileType::Fifo => Described::Fifo,
            FileType::CharacterDevice => Described::CharDevice(stat.rdev.0, stat.rdev.1),
            FileType::BlockDevice => Described::BlockDevice(stat.rdev.0, stat.rdev.1),
            // No image has sockets.
            _ => return Ok(()),
        };
        let owner = self.keep_owner.then_some(Owner { uid: stat.uid, gid: stat.gid });
        let file = File { path: below, what, mode: stat.mode & 0o7777, owner, xattrs: &xattrs };
        self.content.file(&file, at);
        Ok(())
    }

    fn content(&self, at: &[u8], stat: &FileStat) -> Result<([u8; 32], Xattrs), Error> {
        if let Some(known) = self.all.get(at, stat) {
            return Ok((known.digest, known.xattrs.clone()));
        }
        let Tree::Context(context) = self.tree else {
            unreachable!("because contents are complete before they are added")
        };
        let (digest, has_xattrs) = context.known(at, stat).expect("because contents are complete");
        let xattrs = if has_xattrs { self.source.file_xattrs(at)? } else { Xattrs::new() };
        Ok((digest, xattrs))
    }
}

/// The digests of files, read by as many threads as there are cores.
fn read_all(
    source: &Source<'_>,
    files: &[Unknown<'_>],
    stop: &[&AtomicBool],
) -> Result<(Vec<Read>, bool), Error> {
    let next = AtomicUsize::new(0);
    let failed: Mutex<Option<copy::Error>> = Mutex::default();
    let work = || {
        let mut buffer = vec![0; CHUNK];
        let mut read = Vec::new();
        let mut certain = true;
        loop {
            let Some(file) = files.get(next.fetch_add(1, Ordering::Relaxed)) else { return (read, certain) };
            match read_one(source, file, &mut buffer, stop) {
                Ok(Some(one)) => read.push(one),
                Ok(None) => certain = false,
                Err(error) => {
                    failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                    next.store(files.len(), Ordering::Relaxed);
                }
            }
        }
    };
    let (read, certain) = std::thread::scope(|scope| {
        let threads = std::thread::available_parallelism().map_or(2, usize::from).clamp(1, 4);
        let others: Vec<_> = (1..threads.min(files.len())).map(|_| scope.spawn(work)).collect();
        let (mut read, mut certain) = work();
        for other in others {
            match other.join() {
                Ok((more, also)) => {
                    read.extend(more);
                    certain &= also;
                }
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        (read, certain)
    });
    match failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(error) => Err(error.into()),
        None => Ok((read, certain)),
    }
}

/// Reads one file; `None` if it changed from when it was listed to after its last byte was read.
fn read_one(
    source: &Source<'_>,
    file: &Unknown<'_>,
    buffer: &mut [u8],
    stop: &[&AtomicBool],
) -> Result<Option<Read>, copy::Error> {
    let open = source.open_file(&file.path)?;
    let mut hasher = Hasher::new();
    loop {
        if stop.iter().any(|stop| stop.load(Ordering::Relaxed)) {
            return Err(copy::Error::Interrupted);
        }
        match rustix::io::read(&open, &mut *buffer) {
            Ok(0) => break,
            Ok(n) => hasher.update(&buffer[..n]),
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(source.failed("reading", &file.path, errno).into()),
        }
    }
    let xattrs = source.file_xattrs(&file.path)?;
    let after = source.lstat(&file.path)?;
    if !after.is_some_and(|after| after.is_same(file.stat)) {
        return Ok(None);
    }
    Ok(Some(Read {
        source: 0,
        path: file.path.as_slice().into(),
        stat: *file.stat,
        digest: hasher.finish_bytes(),
        xattrs,
    }))
}
