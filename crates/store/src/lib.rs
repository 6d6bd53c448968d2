//! The store: blobs, snapshots, images, names, build-cache records and containers in one directory that any
//! number of processes use at once. Files hold the bytes, one SQLite database says which of them count; there
//! is no daemon and no state that lives only in memory.
//!
//! ```text
//! ROOT/version                    format, "2\n"
//! ROOT/strake.db                  rows (SQLite, WAL)
//! ROOT/reserve                    space for pruning on a full disk
//! ROOT/blobs/sha256/HEX           a blob
//! ROOT/snapshots/HEX/{fs/,owners} a layer unpacked; HEX is of its ChainID
//! ROOT/containers/ID/             fs/ and work/ (writable layer), lock, and the engine's files
//! ROOT/contexts/HEX               stat caches of build contexts
//! ROOT/mounts/ID/{fs/,lock}       a cache mount; locked while a step uses it
//! ROOT/builds/ID/                 the output of a past build's steps, and what else it has to tell
//! ROOT/partial/HEX                a blob that has come in part, locked by who fetches it
//! ROOT/partial/HEX.unpack         locked by who unpacks the layer of that ChainID
//! ROOT/uploads/ID                 a blob on its way into the registry served from here; locked while it is written
//! ROOT/leases/LEASE               locked by a live process
//! ROOT/work/LEASE.N/{fs/,work/}   a snapshot being made under that lease
//! ROOT/tmp/LEASE.N                a blob or container being made, or a tree being removed, under that lease
//! ```
//!
//! # How a kill at any moment leaves it sound
//!
//! A thing counts when its row is committed. Files get their committed name by one rename, inside the write
//! transaction that adds the row, so a row never stands without its files. Removing goes the other way: the
//! row goes first, by a commit of its own; then, inside another write transaction and only if no row has come
//! back, the files are renamed into `tmp/`; then they are deleted. So whoever holds the write lock and sees
//! files without a row knows that they are left over, and puts them aside. What a dead process left under
//! `work/` and `tmp/` bears the name of its lease, whose lock the kernel freed.
//!
//! # How a power cut leaves it sound
//!
//! Nothing is synced file by file. Rows are added with the boot they were made in, until [`Store::sync`]
//! covers them. After a reboot, what was never synced does not count until a sweep has verified it. Dropping
//! rows is synced before their files go.
//!
//! What this crate does not do: it neither reads nor writes layers as tars (`snapshot`), mounts nothing
//! (`runtime`), and knows no registry.
#![forbid(unsafe_code)]

mod blob;
mod broken;
mod builds;
mod cache;
mod cache_mount;
mod check;
mod collect;
mod compact;
mod container;
mod context;
mod db;
mod error;
mod image;
mod layer;
mod lease;
mod lock;
mod manifest;
mod partial;
mod prune;
mod reference;
mod registry;
mod remove;
mod reserve;
mod resolve;
mod schema;
mod setting;
mod snapshot;
mod step;
mod sweep;
mod sync;
mod usage;

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::{SystemTime, UNIX_EPOCH};

pub use blob::BlobWriter;
pub use cache::{CacheKind, CacheRecord, CacheResult};
pub use cache_mount::{CacheMount, CacheMountLock, NewCacheMount, PendingCacheMount, Taken};
pub use check::{CheckReport, Hooks, Problem, VerifyFn};
pub use container::{ContainerError, ContainerLock, ContainerRecord};
pub use error::{Error, HookError, Result};
pub use image::{Base, Image, ImageMeta, RemovedImage};
pub use layer::{Compressed, LayerBlob};
pub use lease::Lease;
pub use partial::{PartialBlob, SnapshotClaim, StepClaim};
pub use prune::{
    CacheItem, CacheSpace, PruneCache, PruneImages, PruneOptions, PruneReport, Pruned, PrunedItem,
};
pub use reference::RepoDigest;
pub use registry::{HostedBlob, HostedManifest, NewManifest, PutManifest, Upload};
pub use resolve::ResolveError;
pub use snapshot::{PendingSnapshot, Snapshot, SnapshotStat};
pub use step::StepRecord;
pub use sweep::SweepReport;
pub use usage::{CacheMountUsage, CacheUsage, ContainerUsage, ImageUsage, Usage};

/// An open store. Cheap to clone; `Send` and `Sync`.
#[derive(Debug, Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
    /// The lease of this process, while somebody holds it.
    holding: Mutex<Weak<lease::Holding>>,
    /// A lease held for want of one: see `Store::lease`.
    kept: Mutex<Option<Arc<lease::Holding>>>,
}

/// What a lease needs too, and so is apart from what holds leases.
#[derive(Debug)]
struct Shared {
    root: PathBuf,
    db: db::Db,
    boot: OnceLock<String>,
    unverified: OnceLock<bool>,
    /// Whether it was looked for what has long waited for a sync.
    looked_for_old: AtomicBool,
}

impl Store {
    /// Opens the store in `root`, making a new one where there is nothing. Any number of processes may do so
    /// at once. A store of a newer format is refused with [`Error::NewerFormat`], a directory that holds
    /// something else with [`Error::NotAStore`].
    pub fn open(root: &Path) -> Result<Store> {
        Store::open_in_boot(root, None)
    }

    /// As [`Store::open`], in a boot of one's own: tests of what happens after a reboot.
    #[doc(hidden)]
    pub fn open_in_boot(root: &Path, boot: Option<&str>) -> Result<Store> {
        schema::ensure(root)?;
        let root = root.canonicalize().map_err(|e| Error::io("cannot open the store", root, e))?;
        let db = reserve::open_database(&root)?;
        let shared = Shared {
            root,
            db,
            boot: boot.map(|b| OnceLock::from(b.to_owned())).unwrap_or_default(),
            unverified: OnceLock::new(),
            looked_for_old: AtomicBool::new(false),
        };
        let inner = Inner { shared: Arc::new(shared), holding: Mutex::default(), kept: Mutex::default() };
        Ok(Store { inner: Arc::new(inner) })
    }

    /// The store's directory, absolute.
    pub fn root(&self) -> &Path {
        &self.inner.shared.root
    }

    fn db(&self) -> &db::Db {
        &self.inner.shared.db
    }
}

/// Nanoseconds since the Unix epoch.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    #[test]
    fn send_and_sync() {
        fn check<T: Send + Sync>() {}
        check::<super::Store>();
        check::<super::Lease>();
        check::<super::PendingSnapshot>();
    }
}
