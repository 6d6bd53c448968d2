//! Snapshots: unpacked layers by ChainID, each in a directory that overlayfs takes as a lower.
//!
//! A snapshot's `fs/` holds its own layer only; its parents are other snapshots. How a layer gets into the
//! directory (unpacking, running a step) is not known here. Nothing writes into a committed snapshot.

use std::path::{Path, PathBuf};

use oci::{ChainId, DiffId, Digest};

use crate::{Error, Result, Store};

/// A committed snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The stack of layers up to this one.
    pub chain_id: ChainId,
    /// The stack below; `None` at the bottom.
    pub parent: Option<ChainId>,
    /// This layer.
    pub diff_id: DiffId,
    /// Size in bytes of the layer's uncompressed tar.
    pub tar_size: u64,
    /// Bytes of the regular files in this layer alone.
    pub usage: u64,
    /// Files, directories and the rest in this layer alone.
    pub inodes: u64,
    /// Digest of the tree as recorded at commit, where the maker gave one.
    pub tree_digest: Option<Digest>,
    /// When it was committed, in nanoseconds since the Unix epoch.
    pub created: i64,
    /// Whether a sync covered it since: it survives a power cut.
    pub synced: bool,
}

/// What the maker of a snapshot knows of its layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotStat {
    /// Digest of the layer's uncompressed tar.
    pub diff_id: DiffId,
    /// Size in bytes of that tar.
    pub tar_size: u64,
    /// Bytes of regular files.
    pub usage: u64,
    /// Files, directories and the rest.
    pub inodes: u64,
    /// Digest of the tree, by which `check` re-verifies it, for layers whose tar was not made here and so cannot be
    /// made again byte for byte. `None`: `check` derives the DiffID again.
    pub tree_digest: Option<Digest>,
}

/// A snapshot being made. Dropped without a commit, it is removed.
#[derive(Debug)]
pub struct PendingSnapshot {
    dir: PathBuf,
    fs: PathBuf,
    work: PathBuf,
}

impl Store {
    /// The snapshot, if it is here. Under a lease it and its parents then stay.
    pub fn snapshot(&self, _chain_id: &ChainId) -> Result<Option<Snapshot>> {
        Ok(None)
    }

    /// All snapshots, in no order.
    pub fn snapshots(&self) -> Result<Vec<Snapshot>> {
        Ok(Vec::new())
    }

    /// Where the snapshot's layer directory `fs/` is, or would be.
    pub fn snapshot_dir(&self, chain_id: &ChainId) -> PathBuf {
        self.root().join("snapshots").join(chain_id.hex()).join("fs")
    }

    /// The layer directories of a stack given bottom layer first, topmost directory first, as overlayfs wants them.
    /// Under a lease they then stay. [`Error::MissingSnapshot`] names the lowest that is not here.
    pub fn lowers(&self, layers: &[DiffId]) -> Result<Vec<PathBuf>> {
        match ChainId::prefixes(layers).into_iter().next() {
            None => Ok(Vec::new()),
            Some(first) => Err(Error::MissingSnapshot(first)),
        }
    }

    /// The layers of the stack `chain_id`, bottom layer first, from the snapshots' own records.
    pub fn layers_of(&self, chain_id: &ChainId) -> Result<Vec<DiffId>> {
        Err(Error::MissingSnapshot(chain_id.clone()))
    }

    /// Begins a snapshot: an empty layer directory and an empty overlay work directory beside it.
    pub fn begin_snapshot(&self) -> Result<PendingSnapshot> {
        let dir = self.root().join("work");
        Ok(PendingSnapshot { fs: dir.join("fs"), work: dir.join("work"), dir })
    }

    /// Makes `pending` visible as `parent` plus the layer `stat.diff_id`, and returns its ChainID. If another process
    /// was first, ours is dropped. [`Error::MissingSnapshot`] when the parent is not here.
    pub fn commit_snapshot(
        &self,
        _pending: PendingSnapshot,
        parent: Option<&ChainId>,
        stat: &SnapshotStat,
    ) -> Result<ChainId> {
        Ok(ChainId::extend(parent, &stat.diff_id))
    }
}

impl PendingSnapshot {
    /// The directory that becomes `snapshots/HEX`: whatever is put beside `fs/` (an `owners` file) stays with it.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The layer directory (overlay upper), mode 0755.
    pub fn fs(&self) -> &Path {
        &self.fs
    }

    /// The overlay work directory; removed at commit.
    pub fn work(&self) -> &Path {
        &self.work
    }
}
