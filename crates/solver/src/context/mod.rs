//! Build contexts: directories of the host, read in place, without what their ignore rules leave out.
//!
//! Nothing is sent or copied beforehand, and nothing outside of the directory is reached, whatever links it holds. A
//! cache of file digests by status makes an unchanged context cost its `stat` calls. A context that comes as an
//! archive is unpacked by the caller first.

mod stat_cache;

use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use snapshot::copy::{FileStat, Listings, Read, Source, path, walk};

pub use snapshot::copy::Visit;

use stat_cache::StatCache;

/// Ignore rules.
///
/// Paths are relative to the context's root. The entries of one directory are asked for in a row by the same thread,
/// so that what is known of the directory can be kept from one to the next.
pub trait Filter: Send + Sync {
    /// What is to become of `path`. A directory that is skipped is in the context all the same where something below
    /// it is kept; [`Visit::SkipTree`] says that nothing is.
    fn visit(&self, path: &[u8], is_dir: bool) -> Visit;

    /// The rule that leaves `path` out, as a person would look for it: "line 3 of .dockerignore (*.log)".
    fn explain(&self, path: &[u8]) -> Option<String>;
}

/// No rules: everything is in the context.
#[derive(Debug, Clone, Copy)]
pub struct Everything;

impl Filter for Everything {
    fn visit(&self, _path: &[u8], _is_dir: bool) -> Visit {
        Visit::Keep
    }

    fn explain(&self, _path: &[u8]) -> Option<String> {
        None
    }
}

/// A build context.
pub struct Context {
    root: OwnedFd,
    path: PathBuf,
    label: String,
    filter: Box<dyn Filter>,
    cache: Mutex<Cache>,
}

struct Cache {
    /// Where it is kept; `None`: nowhere.
    file: Option<PathBuf>,
    /// Read when first asked for.
    loaded: Option<StatCache>,
}

impl Context {
    /// The context in the directory `root` of the host, a path without links.
    ///
    /// `cache` is the file for its digests, which need not be there and may vanish: `Store::context_file`. Give none
    /// for a directory that was made for this build.
    ///
    /// # Errors
    /// If `root` is no directory that can be opened.
    pub fn open(
        root: &Path,
        filter: Box<dyn Filter>,
        cache: Option<PathBuf>,
    ) -> Result<Context, snapshot::Error> {
        let label = format!("the build context {}", root.display());
        let open = runtime::beneath::open_root(root)
            .map_err(|e| snapshot::Error::io(format!("opening {label}"), e))?;
        let cache = Mutex::new(Cache { file: cache, loaded: None });
        Ok(Context { root: open, path: root.to_owned(), label, filter, cache })
    }

    /// Its directory on the host.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its files, those that are left out too.
    pub fn source(&self) -> Source<'_> {
        Source::host(self.root.as_fd(), &self.label)
    }

    /// The rule that leaves `path` out.
    pub fn explain(&self, path: &[u8]) -> Option<String> {
        self.filter.explain(path)
    }

    /// What is at `path`, which leads through no links, if it is in the context. Of a directory that is left out but
    /// for something below it, only its listing says whether it is in.
    pub(crate) fn lstat(&self, at: &[u8]) -> Result<Option<FileStat>, snapshot::Error> {
        let mut above = Vec::new();
        let (dir, _) = path::split(at);
        for name in path::names(dir) {
            above = path::join(&above, name);
            if self.filter.visit(&above, true) == Visit::SkipTree {
                return Ok(None);
            }
        }
        let Some(stat) = self.source().lstat(at)? else { return Ok(None) };
        if at.is_empty() {
            return Ok(Some(stat));
        }
        Ok(match self.filter.visit(at, stat.is_dir()) {
            Visit::Keep => Some(stat),
            Visit::Skip if stat.is_dir() => Some(stat),
            Visit::Skip | Visit::SkipTree => None,
        })
    }

    /// The files of the context below the directory `at`, which leads through no links; only those that are `wanted`.
    pub(crate) fn list(
        &self,
        at: &[u8],
        wanted: &(dyn Fn(&[u8]) -> bool + Sync),
    ) -> Result<Listings, snapshot::Error> {
        let mut listings = walk(&self.source(), at, &|path, is_dir| match wanted(path) {
            true => self.filter.visit(path, is_dir),
            false => Visit::SkipTree,
        })?;
        // Directories on the way to what is kept are in the context like any other.
        listings.keep_all();
        Ok(listings)
    }

    /// What the rules say of `path`.
    pub(crate) fn visit(&self, path: &[u8], is_dir: bool) -> Visit {
        self.filter.visit(path, is_dir)
    }

    /// Whether the directory `at` is left out, so that it is in the context only for what is below it.
    pub(crate) fn is_skipped(&self, at: &[u8]) -> bool {
        !at.is_empty() && self.filter.visit(at, true) != Visit::Keep
    }

    /// The SHA-256 of the file `path` and whether it has xattrs, if they are known for this status.
    pub(crate) fn known(&self, path: &[u8], stat: &FileStat) -> Option<([u8; 32], bool)> {
        self.cache().known(path, stat)
    }

    /// Takes in what was read of its files since `started`.
    pub(crate) fn learn<'r>(&self, read: impl Iterator<Item = &'r Read>, started: SystemTime) {
        let mut cache = self.cache();
        for read in read {
            cache.learn(&read.path, &read.stat, read.digest, !read.xattrs.is_empty(), started);
        }
    }

    /// Writes what was learned to the cache's file. Failing to is no loss but of time.
    pub fn save(&self) {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        let Cache { file: Some(file), loaded: Some(loaded) } = &mut *cache else { return };
        let _ = loaded.save(file);
    }

    fn cache(&self) -> Loaded<'_> {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if cache.loaded.is_none() {
            cache.loaded = Some(match &cache.file {
                Some(file) => StatCache::load(file, &self.path),
                None => StatCache::new(&self.path),
            });
        }
        Loaded(cache)
    }
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context").field("path", &self.path).finish_non_exhaustive()
    }
}

/// The cache, loaded.
struct Loaded<'c>(MutexGuard<'c, Cache>);

impl std::ops::Deref for Loaded<'_> {
    type Target = StatCache;

    fn deref(&self) -> &StatCache {
        self.0.loaded.as_ref().expect("because it is loaded before the guard is made")
    }
}

impl std::ops::DerefMut for Loaded<'_> {
    fn deref_mut(&mut self) -> &mut StatCache {
        self.0.loaded.as_mut().expect("because it is loaded before the guard is made")
    }
}
