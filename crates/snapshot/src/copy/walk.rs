//! Lists a tree of files: names and status, directory by directory, with as many threads as help.
//!
//! Nothing is opened but directories, no link is followed, and nothing outside of the root is reached whatever
//! happens to the tree meanwhile. What the listing is for (digests, copies) is not known here.

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use runtime::beneath;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, Stat};
use rustix::io::Errno;

use super::Source;
use crate::view::non_empty;
use crate::{Error, Mtime};

/// Bytes of names read at once.
const NAMES: usize = 32 * 1024;

/// What the kernel says of a file, as far as copies and digests need it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileStat {
    /// Kind and permission bits, as in `st_mode`.
    pub mode: u32,
    /// User id as this process sees it.
    pub uid: u32,
    /// Group id as this process sees it.
    pub gid: u32,
    /// Length in bytes.
    pub size: u64,
    /// Bytes that it takes on disk: less than `size` for a sparse file.
    pub allocated: u64,
    /// Last modification of the content.
    pub mtime: Mtime,
    /// Last change of content or metadata.
    pub ctime: Mtime,
    /// Inode number.
    pub ino: u64,
    /// File system.
    pub dev: u64,
    /// How many names it has.
    pub links: u64,
    /// Major and minor number, for a device.
    pub rdev: (u32, u32),
}

impl FileStat {
    /// Whether it is a directory.
    pub fn is_dir(&self) -> bool {
        self.kind() == FileType::Directory
    }

    /// Whether nothing was done to the file between this status and `other`.
    pub fn is_same(&self, other: &FileStat) -> bool {
        let key = |s: &FileStat| (s.dev, s.ino, s.size, s.mtime, s.ctime, s.mode);
        key(self) == key(other)
    }

    /// What it is.
    pub fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.mode)
    }
}

impl From<&Stat> for FileStat {
    #[allow(clippy::unnecessary_cast, reason = "the fields' types differ between architectures")]
    fn from(stat: &Stat) -> FileStat {
        let time = |sec, nsec: u64| Mtime { sec, nsec: nsec as u32 };
        FileStat {
            mode: stat.st_mode,
            uid: stat.st_uid,
            gid: stat.st_gid,
            size: stat.st_size as u64,
            allocated: stat.st_blocks as u64 * 512,
            mtime: time(stat.st_mtime as i64, stat.st_mtime_nsec as u64),
            ctime: time(stat.st_ctime as i64, stat.st_ctime_nsec as u64),
            ino: stat.st_ino as u64,
            dev: stat.st_dev as u64,
            links: stat.st_nlink as u64,
            rdev: (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev)),
        }
    }
}

/// One file of a [`Listing`].
#[derive(Clone, Debug)]
pub struct Found {
    /// Its name, any bytes but NUL and `/`.
    pub name: Box<[u8]>,
    /// What it is.
    pub stat: FileStat,
    /// Where a directory's own listing is.
    pub listing: Option<u32>,
    /// Whether it was asked for. A directory that was not is there for what is kept below it.
    pub kept: bool,
}

/// The files of one directory, sorted by name.
#[derive(Clone, Debug)]
pub struct Listing {
    /// The directory, relative to the root of its source, without slashes at the ends.
    pub path: Box<[u8]>,
    /// What is in it.
    pub entries: Vec<Found>,
}

impl Listing {
    /// The path of the entry `name` of this directory.
    pub fn path_of(&self, name: &[u8]) -> Vec<u8> {
        super::path::join(&self.path, name)
    }
}

/// What a walk found: listings that refer to each other by index, the start's first.
#[derive(Clone, Debug)]
pub struct Listings(pub Vec<Listing>);

impl Listings {
    /// The listing of the directory where the walk began.
    pub fn start(&self) -> &Listing {
        &self.0[0]
    }

    /// How many files there are, the start not counted.
    pub fn len(&self) -> usize {
        self.0.iter().map(|l| l.entries.len()).sum()
    }

    /// Whether there is no file.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes the directories that are there for what is below them for asked for.
    pub fn keep_all(&mut self) {
        for found in self.0.iter_mut().flat_map(|l| &mut l.entries) {
            found.kept = true;
        }
    }

    /// Keeps only what `check` says, directories also for what is kept below them. It gets paths relative to the
    /// start, whether they are directories, and what it returned for the directory above, `top` at first.
    pub fn narrow<T>(&mut self, top: &T, mut check: impl FnMut(&[u8], bool, &T) -> (bool, T)) {
        self.narrow_below(0, b"", top, &mut check);
        self.prune(0);
    }

    fn narrow_below<T>(
        &mut self,
        at: usize,
        path: &[u8],
        above: &T,
        check: &mut impl FnMut(&[u8], bool, &T) -> (bool, T),
    ) {
        let mut entries = std::mem::take(&mut self.0[at].entries);
        for found in &mut entries {
            let path = super::path::join(path, &found.name);
            let (kept, below) = check(&path, found.stat.is_dir(), above);
            found.kept = kept;
            if let Some(child) = found.listing {
                self.narrow_below(child as usize, &path, &below, check);
            }
        }
        self.0[at].entries = entries;
    }

    /// Drops directories that were not asked for and have nothing below them that was.
    fn prune(&mut self, at: usize) -> bool {
        let mut entries = std::mem::take(&mut self.0[at].entries);
        entries.retain(|found| {
            let below = found.listing.is_some_and(|child| self.prune(child as usize));
            found.kept || below
        });
        self.0[at].entries = entries;
        !self.0[at].entries.is_empty()
    }
}

/// What to do with a file that the walk comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visit {
    /// List it, and what is below it.
    Keep,
    /// Leave it out, but look below it.
    Skip,
    /// Leave it out with all that is below it.
    SkipTree,
}

/// Lists the directory `start` of `source` with all that is below it and `visit` keeps.
///
/// `visit` gets paths relative to the source's root and whether they are directories; it is called from several
/// threads. `start` is taken as it is: it must not lead through links.
///
/// # Errors
/// A directory that cannot be read, by name.
pub fn walk(
    source: &Source<'_>,
    start: &[u8],
    visit: &(dyn Fn(&[u8], bool) -> Visit + Sync),
) -> Result<Listings, Error> {
    let board = Mutex::new(Board {
        listings: vec![None],
        due: vec![(0, start.into())],
        busy: 0,
        error: None,
        skipped: false,
    });
    let turn = Condvar::new();
    let work = || {
        let mut names = vec![MaybeUninit::uninit(); NAMES];
        let mut guard = lock(&board);
        loop {
            if guard.error.is_some() || (guard.due.is_empty() && guard.busy == 0) {
                turn.notify_all();
                return;
            }
            let Some((at, path)) = guard.due.pop() else {
                guard = turn.wait(guard).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            guard.busy += 1;
            drop(guard);
            let listed = list_one(source, &path, visit, &mut names);
            guard = lock(&board);
            guard.busy -= 1;
            match listed {
                Ok((mut listing, skipped)) => {
                    guard.skipped |= skipped;
                    for found in listing.entries.iter_mut().filter(|f| f.stat.is_dir()) {
                        let child = guard.listings.len();
                        found.listing = Some(child as u32);
                        guard.listings.push(None);
                        guard.due.push((child, super::path::join(&path, &found.name).into()));
                    }
                    guard.listings[at] = Some(listing);
                }
                Err(error) => {
                    guard.error.get_or_insert(error);
                }
            }
            turn.notify_all();
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads() {
            scope.spawn(work);
        }
        work();
    });
    let board = board.into_inner().unwrap_or_else(PoisonError::into_inner);
    if let Some(error) = board.error {
        return Err(error);
    }
    let listings = board.listings.into_iter().map(|l| l.expect("because no directory is due any more"));
    let mut listings = Listings(listings.collect());
    if board.skipped {
        listings.prune(0);
    }
    Ok(listings)
}

/// Lists one directory only: as [`walk`], without what is below.
pub fn list(
    source: &Source<'_>,
    dir: &[u8],
    visit: &(dyn Fn(&[u8], bool) -> Visit + Sync),
) -> Result<Listing, Error> {
    let mut names = vec![MaybeUninit::uninit(); NAMES];
    Ok(list_one(source, dir, visit, &mut names)?.0)
}

/// As many threads as there are cores, within reason.
pub(super) fn threads() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from).clamp(2, 4)
}

struct Board {
    listings: Vec<Option<Listing>>,
    due: Vec<(usize, Box<[u8]>)>,
    busy: usize,
    error: Option<Error>,
    /// Whether a directory is listed that was not asked for.
    skipped: bool,
}

fn lock<'a>(board: &'a Mutex<Board>) -> MutexGuard<'a, Board> {
    board.lock().unwrap_or_else(PoisonError::into_inner)
}

fn list_one(
    source: &Source<'_>,
    path: &[u8],
    visit: &(dyn Fn(&[u8], bool) -> Visit + Sync),
    names: &mut [MaybeUninit<u8>],
) -> Result<(Listing, bool), Error> {
    let failed = |errno: Errno| source.failed("reading directory", path, errno);
    let dir = open_dir(source.root(), path, OFlags::RDONLY)
        .map_err(|e| source.failed("reading directory", path, e))?;
    let mut entries = Vec::new();
    let mut skipped = false;
    let mut reader = RawDir::new(&dir, names);
    while let Some(entry) = reader.next() {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        // One call a file: its kind has to be known before it is stat'ed only to skip it.
        let full = super::path::join(path, name.to_bytes());
        let kept = match entry.file_type() {
            FileType::Unknown => None,
            kind => Some(visit(&full, kind == FileType::Directory)),
        };
        if kept == Some(Visit::SkipTree)
            || (kept == Some(Visit::Skip) && entry.file_type() != FileType::Directory)
        {
            continue;
        }
        let stat = stat(dir.as_fd(), name).map_err(|e| source.failed("reading the status of", &full, e))?;
        let Some(mut stat) = stat else { continue };
        if source.is_whiteout(&stat) {
            continue;
        }
        source.amend(&full, &mut stat)?;
        let kept = kept.unwrap_or_else(|| visit(&full, stat.is_dir()));
        if kept == Visit::SkipTree || (kept == Visit::Skip && !stat.is_dir()) {
            continue;
        }
        skipped |= kept == Visit::Skip;
        entries.push(Found { name: name.to_bytes().into(), stat, listing: None, kept: kept == Visit::Keep });
    }
    entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    Ok((Listing { path: path.into(), entries }, skipped))
}

/// The status of a file that may have gone since its name was read.
fn stat(dir: BorrowedFd<'_>, name: &CStr) -> Result<Option<FileStat>, Errno> {
    match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(FileStat::from(&stat))),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// Opens the directory `path` (relative, resolved) of the tree under `root`.
pub(super) fn open_dir(root: BorrowedFd<'_>, path: &[u8], how: OFlags) -> std::io::Result<OwnedFd> {
    beneath::open_without_links(root, non_empty(path), how | OFlags::DIRECTORY, Mode::empty())
}
