//! The store: blobs, snapshots, images, names, build-cache records and containers in one directory that any number of
//! processes use at once. Files hold the bytes, one SQLite database says which of them count; there is no daemon and no
//! state that lives only in memory.
//!
//! ```text
//! ROOT/version                    format, "1\n"
//! ROOT/strake.db                  rows (SQLite, WAL)
//! ROOT/blobs/sha256/HEX           a blob
//! ROOT/snapshots/HEX/{fs/,owners} a layer unpacked; HEX is of its ChainID
//! ROOT/containers/ID/             writable layer, lock, log
//! ROOT/contexts/HEX               stat caches of build contexts
//! ROOT/leases/LEASE               flock'd by a live process
//! ROOT/work/LEASE-N/{fs/,work/}   a snapshot being made under that lease
//! ROOT/tmp/LEASE-N                a blob being written, or a tree being removed, under that lease
//! ```
//!
//! What this crate does not do: it neither reads nor writes layers as tars (`snapshot`), mounts nothing (`runtime`), and knows
//! no registry.
#![forbid(unsafe_code)]

mod blob;
mod cache;
mod check;
mod container;
mod context;
mod error;
mod image;
mod layer;
mod lease;
mod prune;
mod reference;
mod resolve;
mod snapshot;
mod sweep;
mod usage;

use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use blob::BlobWriter;
pub use cache::{CacheKind, CacheRecord};
pub use check::{CheckReport, Hooks, Problem, VerifyFn};
pub use container::{ContainerError, ContainerLock, ContainerRecord};
pub use error::{Error, HookError, Result};
pub use image::{Base, Image, ImageMeta, RemovedImage};
pub use layer::LayerBlob;
pub use lease::Lease;
pub use prune::{PruneCache, PruneImages, PruneOptions, PruneReport, Pruned, PrunedItem};
pub use reference::RepoDigest;
pub use resolve::ResolveError;
pub use snapshot::{PendingSnapshot, Snapshot, SnapshotStat};
pub use sweep::SweepReport;
pub use usage::{CacheUsage, ContainerUsage, ImageUsage, Usage};

/// An open store. Cheap to clone; `Send` and `Sync`.
#[derive(Debug, Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    root: PathBuf,
}

impl Store {
    /// Opens the store in `root`, making a new one where there is nothing. Any number of processes may do so at once.
    pub fn open(root: &Path) -> Result<Store> {
        Ok(Store { inner: Arc::new(Inner { root: root.to_owned() }) })
    }

    /// The store's directory, absolute.
    pub fn root(&self) -> &Path {
        &self.inner.root
    }
}
