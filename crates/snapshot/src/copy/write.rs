//! Writes a planned layer to its directory, and hashes its tar in the same pass.
//!
//! Workers take the files in the order of the tar. Each reads its file whole (a large one in chunks), hashes and
//! writes it, and hands the bytes on to the one tar that is hashed in order. Directories are made by whoever needs
//! them first, and get their owner, permissions and time when nothing is put into them any more.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::attributes::{self, Xattrs};
use super::finish::{self, Ids, Unfinished};
use super::flat::{DirIndex, Flat, Item, What};
use super::ordered::{Ordered, Piece, Stopped};
use super::plan::{From, LeafKind, Meta, Plan, clamped};
use super::previous::Previous;
use super::walk::{FileStat, open_dir, threads};
use super::{Error, path};
use crate::error::Doing as _;
use crate::owners::Record;
use crate::{Entry, Kind, LayerStat, Mtime, Search};

/// How a plan is written.
#[derive(Clone, Copy, Debug)]
pub struct Writing<'a> {
    /// The layer directory: empty, or as an earlier call left it.
    pub out: &'a Path,
    /// How ids map in this process.
    pub mode: runtime::Mode,
    /// The layer directory that the same step made before. Files that are the same are linked from there.
    pub previous: Option<&'a Path>,
    /// What is looked for in what is written.
    pub search: Option<&'a Search>,
    /// Whether the files' digests are left beside the layer directory, for the time when this is `previous`.
    pub keep_digests: bool,
    /// Any of them is set from outside to give up.
    pub stop: &'a [&'a AtomicBool],
}

/// What writing a plan gave.
#[derive(Debug)]
pub struct Written {
    /// The layer; `None` where part of it had been written before and was not read again.
    pub stat: Option<LayerStat>,
    /// The files that were read.
    pub read: Vec<Read>,
    /// Whether what was looked for may be in the layer: [`Search::locate`] is sure.
    pub found: bool,
    /// How many files were linked from the earlier layer.
    pub linked: usize,
    /// Whether a file changed while it was read, so that nobody can say which of its versions is in the layer.
    pub uncertain: bool,
}

/// A file that was read, and did not change while it was.
#[derive(Clone, Debug)]
pub struct Read {
    /// Number of its source.
    pub source: u16,
    /// Path in the source.
    pub path: Box<[u8]>,
    /// What it was.
    pub stat: FileStat,
    /// SHA-256 of its content.
    pub digest: [u8; 32],
    /// Its xattrs that images keep.
    pub xattrs: Xattrs,
}

impl Plan<'_> {
    /// Writes the plan.
    pub fn write(&self, how: &Writing<'_>) -> Result<Written, Error> {
        let flat = Flat::of(self);
        let root = runtime::beneath::open_root(how.out).doing("opening", how.out)?;
        let writer = Writer {
            plan: self,
            flat: &flat,
            how,
            root,
            ids: Ids::of(how.mode),
            precision: finish::precision(how.out).doing("setting the time of", how.out)?,
            previous: how.previous.and_then(Previous::open),
            tar: (!flat.written).then(|| Ordered::new(flat.items.len(), how.search)),
            next: AtomicUsize::new(0),
            linked: AtomicUsize::new(0),
            uncertain: AtomicBool::new(false),
            devices: Mutex::default(),
            failed: Mutex::default(),
        };
        let work = || writer.work();
        let done = std::thread::scope(|scope| {
            let others: Vec<_> = (1..threads()).map(|_| scope.spawn(work)).collect();
            let mut done = work();
            for other in others {
                match other.join() {
                    Ok(more) => {
                        done.read.extend(more.read);
                        done.digests.extend(more.digests);
                    }
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
            done
        });
        writer.finish(done)
    }
}

pub(super) struct Writer<'w> {
    pub plan: &'w Plan<'w>,
    pub flat: &'w Flat<'w>,
    pub how: &'w Writing<'w>,
    /// The layer directory.
    pub root: OwnedFd,
    pub ids: Ids,
    /// Nanoseconds between two times that the file system can tell apart.
    precision: u32,
    pub previous: Option<Previous>,
    pub tar: Option<Ordered<'w>>,
    next: AtomicUsize,
    pub linked: AtomicUsize,
    pub uncertain: AtomicBool,
    /// Devices that could only be recorded.
    pub devices: Mutex<Vec<(Vec<u8>, Record)>>,
    pub failed: Mutex<Option<Error>>,
}

/// Why a worker ends early.
pub(super) enum Halt {
    Stopped,
    Failed(Error),
}

/// What one worker holds on to.
#[derive(Default)]
pub(super) struct Worker {
    /// The directory of the layer that was written to last.
    pub to: Option<(DirIndex, OwnedFd)>,
    /// The directory that was read from last, by source and path.
    from: Option<(u16, Box<[u8]>, OwnedFd)>,
    /// The directory of the earlier layer that was looked at last; `None` where there is none such.
    pub before: Option<(DirIndex, Option<OwnedFd>)>,
    /// For comparing.
    pub other: Vec<u8>,
    pub read: Vec<Read>,
    /// Digests of what was written or linked, by number of the item.
    pub digests: Vec<(usize, [u8; 32])>,
}

impl Writer<'_> {
    fn work(&self) -> Worker {
        let _watch = StopOnPanic(self.tar.as_ref());
        let mut worker = Worker::default();
        while let Some(portion) = self.flat.portions.get(self.next.fetch_add(1, Ordering::Relaxed)) {
            for at in portion.clone() {
                match self.item(&mut worker, at, &self.flat.items[at]) {
                    Ok(()) => continue,
                    Err(Halt::Stopped) => {}
                    Err(Halt::Failed(error)) => {
                        self.failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                        self.next.store(self.flat.portions.len(), Ordering::Relaxed);
                        if let Some(tar) = &self.tar {
                            tar.stop();
                        }
                    }
                }
                return worker;
            }
        }
        if let Some(tar) = &self.tar {
            tar.help();
        }
        worker
    }

    /// Fails where somebody asked to give up.
    pub fn go_on(&self) -> Result<(), Halt> {
        match self.how.stop.iter().any(|stop| stop.load(Ordering::Relaxed)) {
            true => Err(Halt::Failed(Error::Interrupted)),
            false => Ok(()),
        }
    }

    fn item(&self, worker: &mut Worker, at: usize, item: &Item<'_>) -> Result<(), Halt> {
        self.go_on()?;
        let leaf = match item.what {
            What::Dir(index) => {
                let xattrs = self.make_dir(index)?.clone();
                let meta = &self.flat.dirs[index].dir.meta;
                return self.bare(at, item, Kind::Directory, meta, xattrs);
            }
            What::Link(leaf, first) => {
                // The name itself is made when its file is sure to be there.
                self.make_dir(item.parent)?;
                let first = self.flat.items[first].path.clone();
                // What a further name says of the file is of no consequence: say what its first name says.
                return self.bare(at, item, Kind::HardLink(first), &leaf.meta, Xattrs::new());
            }
            What::Leaf(leaf) => leaf,
        };
        match &leaf.kind {
            LeafKind::Written { .. } => Ok(()),
            LeafKind::Copied(from) => self.copy_file(worker, at, item, leaf, from),
            LeafKind::Made(data) => {
                let dir = self.dir(worker, item.parent)?;
                let (file, xattrs) = self.create(dir, item, &leaf.meta.xattrs)?;
                let mut content = self.buffer();
                content.extend_from_slice(data);
                self.fill(&file, item, &content)?;
                self.finish_file(&file, item, &leaf.meta, &xattrs)?;
                self.whole(at, item, &leaf.meta, xattrs, content)
            }
            LeafKind::Symlink(_) | LeafKind::Fifo | LeafKind::CharDevice(..) | LeafKind::BlockDevice(..) => {
                let kind = self.special(worker, item, leaf)?;
                self.bare(at, item, kind, &leaf.meta, Xattrs::new())
            }
        }
    }

    /// Makes a directory of the layer and those above it, unless somebody did; the xattrs that it got.
    fn make_dir(&self, index: DirIndex) -> Result<&Xattrs, Halt> {
        let flat = &self.flat.dirs[index];
        if index == 0 {
            return Ok(flat
                .made
                .get_or_init(|| Some(Xattrs::new()))
                .as_ref()
                .expect("because it was just set"));
        }
        if flat.made.get().is_none() {
            self.make_dir(flat.parent)?;
        }
        let mut failure = None;
        let made = flat.made.get_or_init(|| match self.new_dir(index) {
            Ok(xattrs) => Some(xattrs),
            Err(halt) => {
                failure = Some(halt);
                None
            }
        });
        match (failure, made) {
            (Some(halt), _) => Err(halt),
            (None, Some(xattrs)) => Ok(xattrs),
            (None, None) => Err(Halt::Stopped),
        }
    }

    fn new_dir(&self, index: DirIndex) -> Result<Xattrs, Halt> {
        let flat = &self.flat.dirs[index];
        let failed = |e: io::Error| self.failed("creating", &flat.path, e);
        let (parent, name) = path::split(&flat.path);
        let parent = open_dir(self.root.as_fd(), parent, OFlags::PATH).map_err(failed)?;
        let make = || rustix::fs::mkdirat(&parent, name, Mode::RWXU);
        match make() {
            // Left by an archive; or the file that was there before.
            Err(Errno::EXIST) => {
                let stat = rustix::fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW)
                    .map_err(|e| failed(e.into()))?;
                if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
                    replacing(parent.as_fd(), name, make).map_err(|e| failed(e.into()))?;
                }
            }
            done => done.map_err(|e| failed(e.into()))?,
        }
        if flat.dir.meta.xattrs.is_empty() && !flat.dir.opaque {
            return Ok(Xattrs::new());
        }
        let dir = open_dir(parent.as_fd(), name, OFlags::RDONLY).map_err(failed)?;
        if flat.dir.opaque {
            attributes::make_opaque(dir.as_fd()).map_err(failed)?;
        }
        attributes::write(dir.as_fd(), &flat.dir.meta.xattrs).map_err(failed)
    }

    /// The directory of the layer that an item is put into, opened; made if it was not.
    pub fn dir<'k>(&self, worker: &'k mut Worker, index: DirIndex) -> Result<BorrowedFd<'k>, Halt> {
        if worker.to.as_ref().is_none_or(|(held, _)| *held != index) {
            self.make_dir(index)?;
            let path = &self.flat.dirs[index].path;
            let dir = open_dir(self.root.as_fd(), path, OFlags::PATH)
                .map_err(|e| self.failed("opening", path, e))?;
            worker.to = Some((index, dir));
        }
        Ok(worker.to.as_ref().expect("because it was just set").1.as_fd())
    }

    /// The directory that a file is read from, opened.
    pub fn source_dir<'k>(&self, worker: &'k mut Worker, from: &From) -> Result<BorrowedFd<'k>, Halt> {
        let (dir, _) = path::split(&from.path);
        if worker.from.as_ref().is_none_or(|(source, held, _)| *source != from.source || **held != *dir) {
            let source = &self.plan.sources[usize::from(from.source)];
            let open = open_dir(source.root(), dir, OFlags::PATH)
                .map_err(|e| Halt::Failed(source.failed("opening", dir, e).into()))?;
            worker.from = Some((from.source, dir.into(), open));
        }
        Ok(worker.from.as_ref().expect("because it was just set").2.as_fd())
    }

    /// The directory of the earlier layer in which an item would be, opened.
    pub fn previous_dir<'k>(
        &self,
        worker: &'k mut Worker,
        index: DirIndex,
    ) -> Option<(&Previous, BorrowedFd<'k>)> {
        let previous = self.previous.as_ref()?;
        if worker.before.as_ref().is_none_or(|(held, _)| *held != index) {
            worker.before = Some((index, previous.dir(&self.flat.dirs[index].path)));
        }
        let (_, dir) = worker.before.as_ref().expect("because it was just set");
        Some((previous, dir.as_ref()?.as_fd()))
    }

    /// Creates an item's file, and sets the xattrs that the file system takes; these are returned.
    pub fn create(
        &self,
        dir: BorrowedFd<'_>,
        item: &Item<'_>,
        xattrs: &Xattrs,
    ) -> Result<(OwnedFd, Xattrs), Halt> {
        let name = path::base(&item.path);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let open = || rustix::fs::openat(dir, name, flags, Mode::RUSR | Mode::WUSR);
        let file = replacing(dir, name, open).map_err(|e| self.failed("creating", &item.path, e))?;
        let xattrs = attributes::write(file.as_fd(), xattrs)
            .map_err(|e| self.failed("setting xattrs of", &item.path, e))?;
        Ok((file, xattrs))
    }

    /// Writes `bytes` at the end of what was written.
    pub fn fill(&self, file: &OwnedFd, item: &Item<'_>, bytes: &[u8]) -> Result<(), Halt> {
        let mut left = bytes;
        while !left.is_empty() {
            match rustix::io::write(file, left) {
                Ok(0) => return Err(self.failed("writing", &item.path, Errno::NOSPC)),
                Ok(n) => left = &left[n..],
                Err(Errno::INTR) => {}
                Err(errno) => return Err(self.failed("writing", &item.path, errno)),
            }
        }
        Ok(())
    }

    /// Sets owner, permissions and time of a file that is written.
    pub fn finish_file(
        &self,
        file: &OwnedFd,
        item: &Item<'_>,
        meta: &Meta,
        xattrs: &Xattrs,
    ) -> Result<(), Halt> {
        finish::open_file(file.as_fd(), meta, xattrs, self.ids)
            .map_err(|e| self.unfinished(&item.path, meta, e))
    }

    pub fn buffer(&self) -> Vec<u8> {
        self.tar.as_ref().map(Ordered::buffer).unwrap_or_default()
    }

    pub fn bare(
        &self,
        at: usize,
        item: &Item<'_>,
        kind: Kind,
        meta: &Meta,
        xattrs: Xattrs,
    ) -> Result<(), Halt> {
        let Some(tar) = &self.tar else { return Ok(()) };
        let piece = Piece::bare(self.entry(item, kind, meta, xattrs))
            .map_err(|e| self.failed("adding", &item.path, e))?;
        Ok(tar.push(at, piece, true)?)
    }

    pub fn whole(
        &self,
        at: usize,
        item: &Item<'_>,
        meta: &Meta,
        xattrs: Xattrs,
        content: Vec<u8>,
    ) -> Result<(), Halt> {
        let Some(tar) = &self.tar else { return Ok(()) };
        let kind = Kind::File { size: content.len() as u64 };
        let piece = Piece::whole(self.entry(item, kind, meta, xattrs), content)
            .map_err(|e| self.failed("adding", &item.path, e))?;
        Ok(tar.push(at, piece, true)?)
    }

    /// An item as the tar has it.
    pub fn entry(&self, item: &Item<'_>, kind: Kind, meta: &Meta, xattrs: Xattrs) -> Entry {
        let Meta { mode, owner, mtime, .. } = *meta;
        Entry { path: item.path.clone(), kind, mode, owner, mtime: self.held(mtime), xattrs }
    }

    /// `mtime` as the layer is to have it.
    pub fn clamp(&self, mtime: Mtime) -> Mtime {
        clamped(mtime, self.plan.epoch())
    }

    /// The error of an owner, of permissions or a time that could not be set.
    pub fn unfinished(&self, path: &[u8], meta: &Meta, why: Unfinished) -> Halt {
        match why {
            Unfinished::Owner(errno) => {
                Halt::Failed(Error::Tree(crate::apply::explain_chown(errno, meta.owner, path)))
            }
            Unfinished::Other(source) => self.failed("setting permissions or time of", path, source),
        }
    }

    /// `mtime` as the file system holds it.
    pub fn held(&self, mtime: Mtime) -> Mtime {
        Mtime { nsec: mtime.nsec - mtime.nsec % self.precision, ..mtime }
    }

    /// The error of a system call on a path of the layer.
    pub fn failed(&self, doing: &str, path: &[u8], source: impl Into<io::Error>) -> Halt {
        use std::os::unix::ffi::OsStrExt as _;
        let full = self.how.out.join(std::ffi::OsStr::from_bytes(path));
        Halt::Failed(Error::Tree(crate::Error::io(format!("{doing} {}", full.display()), source)))
    }
}

/// Lets nobody wait for a worker that panicked.
struct StopOnPanic<'t, 's>(Option<&'t Ordered<'s>>);

impl Drop for StopOnPanic<'_, '_> {
    fn drop(&mut self) {
        if let Some(tar) = self.0.filter(|_| std::thread::panicking()) {
            tar.stop();
        }
    }
}

/// Makes a name; what is there already and no directory is removed first.
pub(super) fn replacing<T>(
    dir: BorrowedFd<'_>,
    name: &[u8],
    make: impl Fn() -> Result<T, Errno>,
) -> Result<T, Errno> {
    match make() {
        Err(Errno::EXIST) => {
            rustix::fs::unlinkat(dir, name, AtFlags::empty())?;
            make()
        }
        done => done,
    }
}

impl std::convert::From<Stopped> for Halt {
    fn from(_: Stopped) -> Halt {
        Halt::Stopped
    }
}
